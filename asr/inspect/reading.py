"""What the measures need: the encoder out of whatever folder, its states pooled or by frame."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.audio import load
from asr.batches import epoch_batches, padded
from asr.card import model_folder, own_folder, read_card
from asr.config import from_mapping, read_yaml
from asr.encoder import Encoder, build_encoder
from asr.frames import FrameGrid
from asr.manifest import Utterance
from asr.model import CTCModel, load_model
from asr.pretrain.objectives import ObjectiveConfig, PretrainModel
from asr.pretrain.source import source_objective, with_objective
from lm.errors import InputError

Groups = Mapping[str, Sequence[Utterance]]
FRAMES_OF_AN_UTTERANCE = 50
"""Frames drawn of each utterance for a probe by frame: neighbours say the same."""


def open_encoder(source: str | Path) -> Encoder:
    """The encoder of an experiment or model folder of ours, or a published one by name."""
    return build_encoder(_settings(source)).eval()


def open_pretrained(source: str | Path) -> PretrainModel:
    """An encoder with the objective it was pretrained with: as our experiment says, or a published wav2vec 2.0's.

    Raises:
        InputError: there is none, or it is not what the experiment says.
    """
    settings, written = _settings(source), Path(source) / "config.yaml"
    ours = settings["kind"] == "saved"
    stated = read_yaml(written) if ours and written.is_file() else {}
    config = from_mapping(ObjectiveConfig, stated.get("objective", {}), "objective.")
    if (ours and "objective" not in stated) or not source_objective(settings, config.kind):
        raise InputError(
            f"{source} holds no objective. Give the experiment folder of recipes.pretrain, or a published wav2vec 2.0 "
            "that was not fine-tuned."
        )
    return with_objective(open_encoder(source), config, settings).eval()


def _settings(source: str | Path) -> dict[str, Any]:
    """Of the encoder of an experiment or model folder of ours, or a published one by name."""
    return {"kind": "saved" if own_folder(source) else "pretrained", "source": str(source)}


def open_recogniser(source: str | Path) -> CTCModel:
    """A recogniser of ours.

    Raises:
        InputError: the folder holds none.
    """
    folder = model_folder(source)
    if read_card(folder).get("holds", "recogniser") != "recogniser":
        raise InputError(
            f"{source} is no recogniser. Name one with --recogniser: its labels are the classes."
        )
    return load_model(folder)


@dataclass(kw_only=True)
class Heard:
    """Utterances as every analysis hears them, in batches; one whose audio gives nothing is left out of all."""

    groups: Groups
    grid: FrameGrid
    """The encoder's."""
    unheard: set[str] = field(default_factory=set)
    """Ids of what was left out, each told once on stderr."""

    def batches(self, batch_s: float = 40.0) -> Iterator[tuple[str, list[str], Tensor, Tensor]]:
        """Group, ids, padded waveforms (N, S) and samples (N,).

        Raises:
            InputError: the audio of no utterance gives anything.
        """
        silence = True
        for group, members in self.groups.items():
            rows = [row for row in members if row.id not in self.unheard]
            durations_s = [row.duration_s for row in rows]
            for indices in epoch_batches(durations_s, batch_s=batch_s, seed=0, epoch=0, jitter=0.0):
                heard = {rows[index].id: self._waveform(rows[index]) for index in indices}
                waveforms = {name: waveform for name, waveform in heard.items() if waveform is not None}
                if waveforms:
                    silence = False
                    yield group, list(waveforms), *padded(list(waveforms.values()))
        if silence:
            raise InputError("the audio of no utterance can be used. Run `loquela corpus check`.")

    def _waveform(self, row: Utterance) -> NDArray[np.float32] | None:
        """The samples (S,) of an utterance; None, and a line on stderr, where there is nothing to hear."""
        try:
            waveform = load(row.audio, offset_s=row.offset_s, duration_s=row.duration_s)
            if not self.grid.num_frames(len(waveform)):
                raise InputError(f"{row.id}: {row.duration_s} s is too short for one frame. Leave it out.")
        except InputError as error:
            print(f"left out: {error}", file=sys.stderr)
            self.unheard.add(row.id)
            return None
        return waveform


@torch.inference_mode()
def pooled_features(
    encoder: Encoder, heard: Heard
) -> tuple[list[NDArray[np.float64]], NDArray[np.int64], NDArray[np.int64]]:
    """Each layer's mean over an utterance, (K, D) for each layer, with the group and the utterance of each row.

    Raises:
        InputError: there is one group alone, or nothing to hear.
    """
    if len(heard.groups) < 2:
        raise InputError("there is one group alone, and nothing to tell apart.")
    wanted = range(1, encoder.num_layers + 1)
    found: dict[int, list[NDArray[np.float64]]] = {number: [] for number in wanted}
    labels: list[int] = []
    names = sorted(heard.groups)
    for group, ids, waveforms, num_samples in heard.batches():
        out = encoder(waveforms, num_samples, tuple(wanted))
        labels += [names.index(group)] * len(ids)
        for number, hidden in out.layers.items():
            for row, size in zip(hidden, num_samples.tolist(), strict=True):
                frames = max(1, encoder.layer_grid.num_frames(size))
                found[number].append(row[:frames].mean(dim=0).double().numpy())
    return [np.stack(found[number]) for number in wanted], np.array(labels), np.arange(len(labels))


@torch.inference_mode()
def frame_features(
    encoder: Encoder, recogniser: CTCModel, heard: Heard
) -> tuple[list[NDArray[np.float64]], NDArray[np.int64], NDArray[np.int64]]:
    """Each layer at frames where a recogniser is sure of a letter, with the letter and the utterance.

    Letters stand for phones: what a recogniser writes at a frame, blanks and word boundaries left out.

    Raises:
        InputError: there is nothing to hear.
    """
    wanted = range(1, encoder.num_layers + 1)
    found: dict[int, list[NDArray[np.float64]]] = {number: [] for number in wanted}
    labels: list[NDArray[np.int64]] = []
    units: list[NDArray[np.int64]] = []
    generator = np.random.default_rng(0)
    silent = [number for number, surface in enumerate(recogniser.tokenizer.surfaces) if not surface.strip()]
    unit, grid = 0, encoder.layer_grid
    for _, ids, waveforms, num_samples in heard.batches():
        out = encoder(waveforms, num_samples, tuple(wanted))
        said = recogniser(waveforms, num_samples)
        for row in range(len(ids)):
            best = said.values[row, : int(said.num_frames[row])].argmax(dim=-1).numpy()
            at = np.flatnonzero(~np.isin(best, silent))
            at = np.sort(generator.permutation(at)[:FRAMES_OF_AN_UTTERANCE])
            # The nearest, past the ends.
            frames = grid.frames_at(recogniser.grid.middles_s(at))
            frames = frames.clip(0, max(0, grid.num_frames(int(num_samples[row])) - 1))
            labels.append(best[at])
            units.append(np.full(len(at), unit))
            unit += 1
            for number, hidden in out.layers.items():
                found[number].append(hidden[row, frames].double().numpy())
    return [np.concatenate(found[number]) for number in wanted], np.concatenate(labels), np.concatenate(units)

"""Training a CTC model: what a batch is, what it costs, how well the model does on dev."""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asr.audio import load
from asr.augment import AugmentConfig, augment, shortest_factor
from asr.batches import epoch_batches, joined, padded, prefetch
from asr.config import to_mapping
from asr.decode import GreedyDecoder
from asr.edits import Counts, error_counts
from asr.frames import frames_needed, samples_to_seconds, seconds_to_samples
from asr.loss import blank_ratio, consistency_loss, ctc_loss
from asr.manifest import Utterance
from asr.model import CTCModel, save_model
from asr.trainer import StepOutput
from lm.errors import InputError

FloatArray = NDArray[np.float32]

PAUSE_S = 0.4
"""Mean pause between utterances that are laid end to end."""


@dataclass(frozen=True, kw_only=True)
class CtcConfig:
    """The loss and the batches."""

    batch_s: float = 60.0
    """Most seconds of audio in a batch, padding and second views included."""
    inter_weight: float = 0.3
    """Share of the loss that intermediate layers carry (Lee and Watanabe 2021)."""
    inter_layers: tuple[int, ...] = ()
    """Layers that emit too; empty is the middle one."""
    consistency_weight: float = 0.0
    """Weight of the divergence between two masked views (Yao et al. 2025: 0.2); 0 trains on one view."""
    consistency_start: float = 0.0
    """Share of the training after which the second view is added; early on it only costs time."""
    join_probability: float = 0.0
    """Share of the training items that are several utterances in a row, as a segment of a recording is."""
    join_max_s: float = 20.0
    """Longest such row; the detector's longest segment."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    cache_gb: float = 4.0
    """Memory for decoded audio; recordings beyond it are decoded anew in each epoch."""
    loader_threads: int = 1
    dev_batch_s: float = 60.0
    blank_alarm: float = 0.98
    """A share of blank frames on dev above which the model is called collapsed."""
    blank_alarm_after: int = 2
    """Evaluations before the alarm may sound; every CTC model begins by writing blanks."""


@dataclass(frozen=True)
class CtcBatch:
    """Padded waveforms and labels."""

    ids: list[str]
    waveforms: Tensor
    """(N, S)."""
    num_samples: Tensor
    """(N,)."""
    labels: Tensor
    """(N, L), padded with 0."""
    num_labels: Tensor
    """(N,)."""


class AudioCache:
    """Decoded utterances, kept as 16-bit samples while there is room."""

    def __init__(self, limit_bytes: float) -> None:
        self.room = limit_bytes
        self.held: dict[tuple[Path, float, float], NDArray[np.int16]] = {}
        self.lock = Lock()

    def load(self, utterance: Utterance) -> FloatArray:
        """Waveform of an utterance, (S,)."""
        key = (utterance.audio, utterance.offset_s, utterance.duration_s)
        held = self.held.get(key)
        if held is not None:
            return held.astype(np.float32) / np.float32(32768)
        waveform = load(utterance.audio, offset_s=utterance.offset_s, duration_s=utterance.duration_s)
        rounded = np.clip(np.round(waveform * 32768), -32768, 32767).astype(np.int16)
        with self.lock:
            if rounded.nbytes <= self.room:
                self.room -= rounded.nbytes
                self.held[key] = rounded
        # The rounded values are used the first time too: the cache must not change a result.
        return rounded.astype(np.float32) / np.float32(32768)


class CtcTask:
    """Fine-tuning with CTC, on one view of each utterance or on two that must agree."""

    def __init__(
        self,
        model: CTCModel,
        train: Sequence[Utterance],
        dev: Sequence[Utterance],
        config: CtcConfig,
        seed: int,
    ) -> None:
        self.model = model
        self.train = list(train)
        self.dev: list[Utterance] = []
        self.config = config
        self.seed = seed
        self.cache = AudioCache(config.cache_gb * 1e9)
        # Dev is read before training: a bad file there would stop it at the first evaluation.
        for utterance in dev:
            try:
                self.cache.load(utterance)
                self.dev.append(utterance)
            except InputError as error:
                print(f"left out of dev: {error}", file=sys.stderr)
        if not self.dev:
            raise InputError("no dev utterance can be read; see above. Run `loquela corpus check`.")
        self.evaluations = 0
        unknown = [layer for layer in config.inter_layers if not 1 <= layer <= model.encoder.num_layers]
        if unknown:
            raise InputError(
                f"ctc.inter_layers names layer {unknown[0]}; the encoder has 1 to {model.encoder.num_layers}."
            )
        self.inter_layers = config.inter_layers or ((model.encoder.num_layers + 1) // 2,)

    def batches(self, epoch: int, skip: int) -> Iterator[CtcBatch]:
        """Augmented batches of an epoch; each utterance's variant follows from seed, epoch and place."""
        views = 2 if self.config.consistency_weight else 1
        durations = [utterance.duration_s for utterance in self.train]
        rows = joined(
            durations,
            probability=self.config.join_probability,
            max_s=self.config.join_max_s,
            pause_s=PAUSE_S,
            seed=self.seed,
            epoch=epoch,
        )
        order = epoch_batches(
            [sum(durations[index] for index in row) + PAUSE_S * (len(row) - 1) for row in rows],
            batch_s=self.config.batch_s / views,
            seed=self.seed,
            epoch=epoch,
        )

        def make(places: list[int]) -> CtcBatch:
            items = []
            for row in (rows[place] for place in places):
                utterances = [self.train[index] for index in row]
                name = "+".join(utterance.id for utterance in utterances)
                text = " ".join(utterance.text for utterance in utterances)
                generator = np.random.default_rng([self.seed, epoch, row[0]])
                try:
                    waveform = lay_end_to_end([self.cache.load(each) for each in utterances], generator)
                    waveform = augment(waveform, self.config.augment, generator)
                    if reason := shortfall(self.model, self.model.tokenizer.encode(text), len(waveform)):
                        raise InputError(f"{name}: {reason}.")
                    items.append((name, text, waveform))
                except InputError as error:
                    # One bad file must not stop hours of training, and must not pass unseen.
                    print(f"left out of this batch: {error}", file=sys.stderr)
            if not items:
                raise InputError(
                    "no utterance of a batch can be used; see above. Run `loquela corpus check`."
                )
            return self._collate(items)

        return prefetch(iter(order[skip:]), make, threads=self.config.loader_threads)

    def step(self, model: nn.Module, batch: CtcBatch, progress: float) -> StepOutput:
        """CTC on the last and on intermediate layers, per label; with two views, their divergence."""
        device = self.model.head.weight.device
        waveforms, num_samples = batch.waveforms.to(device), batch.num_samples.to(device)
        labels, num_labels = batch.labels.to(device), batch.num_labels.to(device)
        config = self.config
        two_views = config.consistency_weight > 0 and progress >= config.consistency_start
        if two_views:
            waveforms, num_samples = waveforms.repeat(2, 1), num_samples.repeat(2)
            labels, num_labels = labels.repeat(2, 1), num_labels.repeat(2)
        layers = self.inter_layers if config.inter_weight else ()
        out = model(waveforms, num_samples, layers)
        blank = self.model.tokenizer.blank
        total = num_labels.sum()
        loss = ctc = ctc_loss(out.values, out.num_frames, labels, num_labels, blank).sum() / total
        logs = {"ctc": float(ctc.detach())}
        if layers:
            inter = torch.stack(
                [
                    ctc_loss(values, out.num_frames, labels, num_labels, blank).sum() / total
                    for values in out.layers.values()
                ]
            ).mean()
            loss = (1 - config.inter_weight) * ctc + config.inter_weight * inter
            logs["inter_ctc"] = float(inter.detach())
        if two_views:
            consistency = consistency_loss(out.values, out.num_frames).sum() / total
            loss = loss + config.consistency_weight * consistency
            logs["consistency"] = float(consistency.detach())
        return StepOutput(loss, logs, samples_to_seconds(int(batch.num_samples.sum())))

    @torch.inference_mode()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Greedy CER and WER on dev, CTC loss per label, and the share of blank frames."""
        assert isinstance(model, CTCModel)
        tokenizer = model.tokenizer
        decoder = GreedyDecoder(tokenizer.surfaces, tokenizer.blank)
        words, characters = Counts(), Counts()
        texts = {utterance.id: utterance.text for utterance in self.dev}
        losses = labels = 0.0
        blanks = []
        order = epoch_batches(
            [u.duration_s for u in self.dev], batch_s=self.config.dev_batch_s, seed=0, epoch=0
        )
        for batch in prefetch(iter(order), self._dev_batch):
            device = model.head.weight.device
            out = model(batch.waveforms.to(device), batch.num_samples.to(device))
            loss = ctc_loss(
                out.values,
                out.num_frames,
                batch.labels.to(device),
                batch.num_labels.to(device),
                tokenizer.blank,
            )
            fits = torch.isfinite(loss)
            losses += float(loss[fits].sum())
            labels += float(batch.num_labels.to(device)[fits].sum())
            blanks.append(blank_ratio(out.values, out.num_frames, tokenizer.blank))
            values = out.values.float().cpu().numpy()
            for row, frames, name in zip(values, out.num_frames.tolist(), batch.ids, strict=True):
                reference = tokenizer.policy(texts[name])
                hypothesis = tokenizer.policy(decoder.decode(row[:frames])[0].text)
                words = words + error_counts(reference.split(), hypothesis.split())
                characters = characters + error_counts(list(reference), list(hypothesis))
        self._watch_blanks(float(np.mean(blanks)))
        return {
            "score": characters.rate,
            "cer": characters.rate,
            "wer": words.rate,
            "loss": losses / max(1.0, labels),
            "blank_ratio": float(np.mean(blanks)),
        }

    def fingerprint(self) -> dict[str, Any]:
        """Labels, encoder, loss, seed and training utterances."""
        settings = to_mapping(self.config)
        for name in ("cache_gb", "loader_threads", "dev_batch_s", "blank_alarm", "blank_alarm_after"):
            del settings[name]
        return {
            "labels": list(self.model.tokenizer.surfaces),
            "encoder": json.loads(json.dumps(self.model.encoder.config())),
            "ctc": settings,
            "seed": self.seed,
            "utterances": zlib.crc32("\n".join(utterance.id for utterance in self.train).encode()),
        }

    def head_parameters(self) -> list[nn.Parameter]:
        """The output layer."""
        return list(self.model.head.parameters())

    def explain(self, batch: CtcBatch) -> str:
        """Look for what makes a CTC loss infinite or not a number."""
        sizes = zip(batch.num_samples.tolist(), batch.num_labels.tolist(), strict=True)
        for name, row, labels, (samples, count) in zip(
            batch.ids, batch.waveforms, batch.labels.tolist(), sizes, strict=True
        ):
            if not bool(torch.isfinite(row).all()):
                return f"The audio of {name} has samples that are not numbers. Run `loquela corpus check`."
            if reason := shortfall(self.model, labels[:count], samples):
                return f"{name}: {reason}. Leave it out: `loquela corpus check`."
        return (
            "Audio and texts look sound, so training diverged. "
            "Lower trainer.lr, lengthen trainer.warmup, or set trainer.precision=float32."
        )

    def save(self, model: nn.Module, folder: Path, facts: dict[str, Any]) -> None:
        """Write the model folder."""
        assert isinstance(model, CTCModel)
        save_model(model, folder, facts=facts)

    def _watch_blanks(self, ratio: float) -> None:
        self.evaluations += 1
        if ratio > self.config.blank_alarm and self.evaluations > self.config.blank_alarm_after:
            print(
                f"warning: {ratio:.1%} of the dev frames are blank: the model writes next to nothing. "
                "Check that texts and audio belong together, raise trainer.lr or trainer.warmup, "
                "lessen masking (encoder.time_masks_per_s), or lower trainer.freeze_updates.",
                file=sys.stderr,
            )

    def _dev_batch(self, indices: list[int]) -> CtcBatch:
        rows = [self.dev[index] for index in indices]
        return self._collate([(each.id, each.text, self.cache.load(each)) for each in rows])

    def _collate(self, items: Sequence[tuple[str, str, FloatArray]]) -> CtcBatch:
        """Pad (id, text, waveform (S,)) of each utterance to a batch."""
        names, texts, waveforms = zip(*items, strict=True)
        labels = [np.asarray(self.model.tokenizer.encode(text), dtype=np.int64) for text in texts]
        return CtcBatch(list(names), *padded(waveforms), *padded(labels))


def lay_end_to_end(waveforms: Sequence[FloatArray], generator: np.random.Generator) -> FloatArray:
    """Utterances in a row, with pauses of up to twice `PAUSE_S` of faint noise, (S,)."""
    parts = [waveforms[0]]
    for waveform in waveforms[1:]:
        length = seconds_to_samples(generator.uniform(0, 2 * PAUSE_S))
        level = 10 ** generator.uniform(-4, -2.5)
        parts += [(level * generator.standard_normal(length)).astype(np.float32), waveform]
    return np.concatenate(parts)


def shortfall(model: CTCModel, labels: Sequence[int], num_samples: int) -> str:
    """Why CTC cannot write the labels in the frames of that many samples; empty when it can."""
    frames, needed = model.encoder.grid.num_frames(num_samples), frames_needed(labels)
    return f"{frames} frames of speech, its text needs {needed}" if frames < needed else ""


def trainable(
    model: CTCModel, utterances: Sequence[Utterance], config: AugmentConfig
) -> tuple[list[Utterance], list[str]]:
    """The utterances that CTC can learn from, and why each other one cannot be.

    An utterance needs a text, and enough frames to write it in even when played fastest.
    """
    kept, reasons = [], []
    factor = shortest_factor(config)
    for utterance in utterances:
        labels = model.tokenizer.encode(utterance.text)
        fastest = int(seconds_to_samples(utterance.duration_s) * factor)
        if not labels:
            reasons.append(f"{utterance.id}: no text after normalisation")
        elif reason := shortfall(model, labels, fastest):
            reasons.append(f"{utterance.id}: {reason}")
        else:
            kept.append(utterance)
    return kept, reasons

"""Pretraining as a task of the one trainer: batches of audio, the objective's loss, what dev says of it."""

from __future__ import annotations

import math
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asr.augment import AugmentConfig, augment
from asr.batches import epoch_batches, padded, substitutes, unsound, usable
from asr.cache import AudioCache, readable, refuse_silence
from asr.config import as_json, to_mapping
from asr.encoder.saved import save_encoder
from asr.fingerprint import DEV, WHERE, rows_checksum
from asr.frames import seconds_to_samples
from asr.manifest import Utterance
from asr.mixing import Group, MixConfig, Mixed, Mixture, group_of, warn_of_lost_groups
from asr.pretrain.objectives import Outcome, PretrainModel
from asr.task import DIVERGED, StepOutput, Task
from asr.watchdog import Watch
from lm.errors import InputError


@dataclass(frozen=True, kw_only=True)
class PretrainDataConfig:
    """Batches of audio without texts."""

    batch_s: float = 60.0
    """Most seconds of audio in a batch, padding included (wav2vec 2.0 base: 87 s on each of 64 GPUs)."""
    crop_s: float = 15.6
    """Longer utterances give a random stretch of this length (wav2vec 2.0 base: 250,000 samples)."""
    mix: MixConfig = field(default_factory=MixConfig)
    augment: AugmentConfig = field(
        default_factory=lambda: AugmentConfig(speeds=(1.0,), noise_probability=0.0, gain_db=0.0)
    )
    cache_gb: float = 4.0
    """Memory for decoded audio; recordings beyond it are decoded anew in each epoch."""

    def __post_init__(self) -> None:
        for name in ("batch_s", "crop_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"data.{name} is {getattr(self, name)}. Give a number of seconds above 0.")
        if not self.cache_gb >= 0:
            raise InputError(f"data.cache_gb is {self.cache_gb}. Give a number from 0.")


@dataclass(frozen=True)
class AudioBatch:
    """Padded waveforms."""

    ids: list[str]
    waveforms: Tensor
    """(N, S)."""
    num_samples: Tensor
    """(N,)."""


class PretrainTask(Mixed):
    """An encoder and an objective on untranscribed audio."""

    def __init__(
        self,
        model: PretrainModel,
        train: Sequence[Utterance],
        dev: Sequence[Utterance],
        config: PretrainDataConfig,
        seed: int,
    ) -> None:
        """
        Raises:
            InputError: no utterance is long enough to be masked, or all of training or dev is silence.
        """
        self.model = model
        self.config = config
        self.seed = seed
        self.cache = AudioCache(config.cache_gb * 1e9)
        self.train, short = self._long_enough(train)
        dev, _ = self._long_enough(dev)
        warn_of_lost_groups(train, self.train, config.mix.levels)
        if short:
            print(
                f"left out {short} utterances too short for two spans of objective.mask_span_s",
                file=sys.stderr,
            )
        if not self.train or not dev:
            raise InputError(
                f"{len(self.train)} training and {len(dev)} dev utterances are long enough for two spans of "
                f"{model.objective.config.mask_span_s} s, when cut to data.crop_s {config.crop_s}; both are needed. "
                "Lower objective.mask_span_s, raise data.crop_s, or join short stretches when importing."
            )
        self.dev = readable(dev, self.cache)
        refuse_silence("dev", self.dev, self.cache)
        refuse_silence("training", self.train, self.cache)
        self.mixture = Mixture(self.train, config.mix, seed, longest_s=config.crop_s)
        self.mixture.check_dev(self.dev)
        model.objective.prepare(model.encoder, first_audio(self))

    def plan(self, epoch: int) -> list[list[tuple[int, int]]]:
        """Utterances in batches of alike lengths, each with its place in the epoch's draw."""
        rows = self.mixture.draw(epoch)
        order = epoch_batches(
            [min(self.config.crop_s, self.train[row].duration_s) for row in rows],
            batch_s=self.config.batch_s,
            seed=self.seed,
            epoch=epoch,
        )
        return [[(place, rows[place]) for place in places] for places in order]

    def load(self, epoch: int, item: list[tuple[int, int]]) -> AudioBatch:
        """Cropped waveforms; each crop follows from seed, epoch and place."""

        def heard(row: tuple[int, int]) -> tuple[str, NDArray[np.float32]]:
            place, index = row
            generator = np.random.default_rng([self.seed, epoch, place])
            waveform = crop(self.cache.load(self.train[index]), self.config.crop_s, generator)
            return self.train[index].id, augment(waveform, self.config.augment, generator)

        first = item[0][0]
        others = ((first, index) for index in substitutes(len(self.train), [self.seed, epoch, first]))
        return self._collate(usable(item, heard, others))

    def seen(self, items: Sequence[list[tuple[int, int]]]) -> float:
        """Seconds of audio after cropping."""
        return self.mixture.note(row for item in items for _, row in item)

    def step(self, model: nn.Module, batch: AudioBatch, progress: float) -> StepOutput:
        """The objective's loss for each predicted frame."""
        self.model.objective.anneal(progress)
        device = next(self.model.parameters()).device
        out: Outcome = model(batch.waveforms.to(device), batch.num_samples.to(device))
        logs = {name: float(value / out.count) for name, value in out.terms.items()}
        logs |= measures(out)
        return StepOutput(out.loss / out.count, logs)

    @torch.inference_mode()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The loss on dev, in all and by group, with the same masks every time."""
        by_group: dict[Group, list[Utterance]] = {}
        for utterance in self.dev:
            by_group.setdefault(group_of(utterance, self.config.mix.levels), []).append(utterance)
        with same_masks():
            totals = {group: self._outcome(model, utterances) for group, utterances in by_group.items()}
        total = together(totals.values())
        losses = {group: float(out.loss / out.count) for group, out in totals.items()}
        row = {"score": float(total.loss / total.count)}
        row |= {name: float(value / total.count) for name, value in total.terms.items()}
        return row | measures(total) | self.mixture.learn(losses)

    def _outcome(self, model: nn.Module, utterances: Sequence[Utterance]) -> Outcome:
        """The objective on some utterances."""
        order = epoch_batches(
            [min(self.config.crop_s, each.duration_s) for each in utterances],
            batch_s=self.config.batch_s,
            seed=0,
            epoch=0,
        )
        device = next(model.parameters()).device
        outcomes = []
        for indices in order:
            batch = self._collate(
                [
                    (each.id, self.cache.load(each)[: seconds_to_samples(self.config.crop_s)])
                    for each in (utterances[index] for index in indices)
                ]
            )
            outcomes.append(model(batch.waveforms.to(device), batch.num_samples.to(device)))
        return together(outcomes)

    def fingerprint(self) -> dict[str, Any]:
        """Encoder, objective, data settings, seed, training utterances and their places; dev."""
        settings = to_mapping(self.config)
        del settings["cache_gb"]
        return {
            "encoder": as_json(self.model.encoder.config()),
            "objective": to_mapping(self.model.objective.config),
            "data": settings,
            "seed": self.seed,
            "utterances": zlib.crc32("\n".join(utterance.id for utterance in self.train).encode()),
            "recordings": rows_checksum(self.train, *WHERE),
            "dev": rows_checksum(self.dev, *DEV),
        }

    def head_parameters(self) -> list[nn.Parameter]:
        """The objective's own layers."""
        return list(self.model.objective.parameters())

    def watches(self) -> list[Watch]:
        """Those of the objective."""
        return self.model.objective.watches()

    def explain(self, batch: AudioBatch) -> str:
        """Look for audio that is no audio."""
        return unsound(batch.ids, batch.waveforms) or f"The audio looks sound. {DIVERGED}"

    def save(self, model: nn.Module, folder: Path, facts: dict[str, Any]) -> None:
        """Write the encoder, and beside it the objective's layers."""
        assert isinstance(model, PretrainModel)
        save_encoder(model.encoder, folder, facts=facts, objective=dict(model.objective.state_dict()))

    def _long_enough(self, utterances: Sequence[Utterance]) -> tuple[list[Utterance], int]:
        """Utterances in which something can be masked once they are cut, and the number of the others."""
        grid, least = self.model.encoder.grid, self.model.objective.shortest_frames()

        def frames(utterance: Utterance) -> int:
            return grid.num_frames(seconds_to_samples(min(self.config.crop_s, utterance.duration_s)))

        kept = [each for each in utterances if frames(each) >= least]
        return kept, len(utterances) - len(kept)

    def _collate(self, items: Sequence[tuple[str, NDArray[np.float32]]]) -> AudioBatch:
        names, waveforms = zip(*items, strict=True)
        return AudioBatch(list(names), *padded(waveforms))


def first_audio(task: Task[Any]) -> Iterator[tuple[Tensor, Tensor]]:
    """Waveforms (N, S) and valid samples (N,) of the first epoch's batches, each loaded when it is asked for."""
    for item in task.plan(0):
        batch = task.load(0, item)
        yield batch.waveforms, batch.num_samples


def crop(
    waveform: NDArray[np.float32], longest_s: float, generator: np.random.Generator
) -> NDArray[np.float32]:
    """A random stretch of a waveform that is longer than ``longest_s``."""
    longest = seconds_to_samples(longest_s)
    first = int(generator.integers(0, max(1, len(waveform) - longest + 1)))
    return waveform[first : first + longest]


@contextmanager
def same_masks() -> Iterator[None]:
    """Whatever is drawn inside is drawn alike every time, and changes nothing outside."""
    cuda = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(cuda):
        torch.manual_seed(0)
        yield


def together(outcomes: Iterable[Outcome]) -> Outcome:
    """Batches as one; the spread is their mean, weighted by frames.

    A batch in which nothing could be masked has no spread, and is left out where any other is there.
    """
    outcomes = list(outcomes)

    def both(first: Tensor | None, second: Tensor | None) -> Tensor | None:
        return None if first is None or second is None else first + second

    def add(one: Outcome, other: Outcome) -> Outcome:
        count = one.count + other.count
        spread = None
        if one.spread is not None and other.spread is not None:
            spread = (one.spread * one.count + other.spread * other.count) / count
        return Outcome(
            one.loss + other.loss,
            count,
            {name: value + other.terms[name] for name, value in one.terms.items()},
            right=both(one.right, other.right),
            codes=both(one.codes, other.codes),
            spread=spread,
        )

    return reduce(add, [each for each in outcomes if each.count] or outcomes[:1])


def measures(out: Outcome) -> dict[str, float]:
    """What tells whether a model is alive: accuracy, perplexity of the codes, variance of the targets."""
    found: dict[str, float] = {}
    if out.right is not None:
        found["accuracy"] = float(out.right / out.count)
    if out.codes is not None:
        shares = out.codes / out.codes.sum(dim=-1, keepdim=True).clamp(min=1)
        entropy = -(shares * (shares + 1e-9).log()).sum(dim=-1)
        found["code_perplexity"] = float(entropy.exp().sum())
    if out.spread is not None:
        found["target_variance"] = float(out.spread)
    return found

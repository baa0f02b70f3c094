"""Training a CTC model: what a batch is, what it costs, how well the model does on dev."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from asr.arrays import FloatArray
from asr.augment import AugmentConfig, augment, shortest_factor
from asr.batches import epoch_batches, joined, padded, prefetch, substitutes, unsound, usable
from asr.cache import AudioCache, readable, refuse_silence
from asr.config import as_json, to_mapping
from asr.decode import GreedyDecoder
from asr.edits import Counts, error_counts
from asr.fingerprint import DEV, WHERE, rows_checksum
from asr.frames import frames_needed, seconds_to_samples
from asr.loss import blank_ratio, consistency_loss, ctc_loss
from asr.manifest import Utterance, normalised_text
from asr.mixing import Group, GroupLosses, MixConfig, Mixed, Mixture
from asr.model import CTCModel, Emissions, save_model
from asr.task import DIVERGED, StepOutput
from asr.text import WRITTEN
from asr.tokenizer import Tokenizer
from asr.watchdog import Watch
from lm.errors import InputError

Row = tuple[int, list[int]]
"""A place in the epoch's draw, and the utterances that are laid end to end."""

Item = tuple[list[Utterance], FloatArray]
"""Utterances that are laid end to end, and their sound (S,)."""

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
    mask_start: float = 0.0
    """Share of the training without masks; then they come in over as long again. From scratch, a model that
    is masked from the beginning may never leave the plateau on which it writes blanks."""
    join_probability: float = 0.0
    """Share of the training items that are several utterances in a row, as a segment of a recording is; the
    first epoch has none."""
    join_max_s: float = 20.0
    """Longest such row; the detector's longest segment."""
    mix: MixConfig = field(default_factory=MixConfig)
    """Shares of languages, corpora, or gold and pseudo-labels."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    cache_gb: float = 4.0
    """Memory for decoded audio; recordings beyond it are decoded anew in each epoch."""
    dev_batch_s: float = 60.0
    blank_alarm: float = 0.98
    """A share of blank frames on dev above which the model is called collapsed."""
    blank_alarm_after: int = 2
    """Evaluations before the alarm may sound; every CTC model begins by writing blanks."""
    blank_patience: int = 8
    """Evaluations in a row above the alarm at which training stops."""

    def __post_init__(self) -> None:
        for name, what in {
            "inter_weight": "a share of the loss",
            "mask_start": "a share of the training, not a number of updates",
            "consistency_start": "a share of the training, not a number of updates",
            "join_probability": "a share of the training items",
        }.items():
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"ctc.{name} is {getattr(self, name)}. Give {what}, from 0 to 1.")
        for name in ("batch_s", "dev_batch_s", "join_max_s"):
            if not getattr(self, name) > 0:
                raise InputError(f"ctc.{name} is {getattr(self, name)}. Give a number of seconds above 0.")
        for name in ("consistency_weight", "cache_gb"):
            if not getattr(self, name) >= 0:
                raise InputError(f"ctc.{name} is {getattr(self, name)}. Give a number from 0.")


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


class CtcTask(Mixed):
    """Fine-tuning with CTC, on one view of each utterance or on two that must agree."""

    def __init__(
        self,
        model: CTCModel,
        train: Sequence[Utterance],
        dev: Sequence[Utterance],
        config: CtcConfig,
        seed: int,
    ) -> None:
        self.recogniser = model
        self.model: nn.Module = model
        """What is trained: the recogniser, and in `asr.joint` more."""
        self.train = list(train)
        self.config = config
        self.seed = seed
        self.cache = AudioCache(config.cache_gb * 1e9)
        self.dev = readable(dev, self.cache)
        refuse_silence("dev", self.dev, self.cache)
        refuse_silence("training", self.train, self.cache)
        self.mixture = Mixture(self.train, config.mix, seed)
        self.mixture.check_dev(self.dev)
        self._too_long: set[str] = set()
        """Dev utterances that have no loss, each told once on stderr."""
        unknown = [layer for layer in config.inter_layers if not 1 <= layer <= model.encoder.num_layers]
        if unknown:
            raise InputError(
                f"ctc.inter_layers names layer {unknown[0]}; the encoder has 1 to {model.encoder.num_layers}."
            )
        self.inter_layers = config.inter_layers or ((model.encoder.num_layers + 1) // 2,)

    def plan(self, epoch: int) -> list[list[Row]]:
        """Rows of utterances, in batches of alike lengths."""
        views = 2 if self.config.consistency_weight else 1
        drawn = self.mixture.draw(epoch)
        durations = [self.train[index].duration_s for index in drawn]
        rows = joined(
            durations,
            probability=self.config.join_probability if epoch else 0.0,
            max_s=self.config.join_max_s,
            pause_s=PAUSE_S,
            seed=self.seed,
            epoch=epoch,
        )
        order = epoch_batches(
            [sum(durations[place] for place in row) + PAUSE_S * (len(row) - 1) for row in rows],
            batch_s=self.config.batch_s / views,
            seed=self.seed,
            epoch=epoch,
        )
        return [
            [(rows[number][0], [drawn[place] for place in rows[number]]) for number in numbers]
            for numbers in order
        ]

    def load(self, epoch: int, item: list[Row]) -> CtcBatch:
        """An augmented batch; each row's variant follows from seed, epoch and its place in the draw."""

        def heard(row: Row) -> Item:
            place, indices = row
            utterances = [self.train[index] for index in indices]
            generator = np.random.default_rng([self.seed, epoch, place])
            waveform = lay_end_to_end([self.cache.load(each) for each in utterances], generator)
            waveform = augment(waveform, self.config.augment, generator)
            if reason := self._refused(utterances, len(waveform)):
                raise InputError(f"{named(utterances)}: {reason}.")
            return utterances, waveform

        first = item[0][0]
        others = ((first, [index]) for index in substitutes(len(self.train), [self.seed, epoch, first]))
        return self._collate(usable(item, heard, others))

    def seen(self, items: Sequence[list[Row]]) -> float:
        """Seconds of audio, at its own speed."""
        return self.mixture.note(index for item in items for _, row in item for index in row)

    def step(self, model: nn.Module, batch: CtcBatch, progress: float) -> StepOutput:
        """CTC on the last and on intermediate layers, per label; with two views, their divergence."""
        device = self.recogniser.head.weight.device
        waveforms, num_samples = batch.waveforms.to(device), batch.num_samples.to(device)
        labels, num_labels = batch.labels.to(device), batch.num_labels.to(device)
        config = self.config
        two_views = config.consistency_weight > 0 and progress >= config.consistency_start
        if two_views:
            waveforms, num_samples = waveforms.repeat(2, 1), num_samples.repeat(2)
            labels, num_labels = labels.repeat(2, 1), num_labels.repeat(2)
        self._set_masks(progress)
        layers = self.inter_layers if config.inter_weight else ()
        if layers and self.recogniser.encoder.shortened:
            raise InputError(
                f"ctc.inter_weight is {config.inter_weight}: this encoder's adapter makes frames fewer after its "
                "layers, which cannot emit at that rate. Set ctc.inter_weight=0."
            )
        out, also = self._forward(model, waveforms, num_samples, labels, num_labels, layers)
        blank = self.recogniser.tokenizer.blank
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
        if also is not None:
            loss = loss + also
            logs["objective"] = float(also.detach())
        return StepOutput(loss, logs)

    def _forward(
        self,
        model: nn.Module,
        waveforms: Tensor,
        num_samples: Tensor,
        labels: Tensor,
        num_labels: Tensor,
        layers: Collection[int],
    ) -> tuple[Emissions, Tensor | None]:
        """Emissions, and a loss beside CTC where there is one."""
        return model(waveforms, num_samples, layers), None

    def _dev_emissions(self, model: nn.Module, waveforms: Tensor, num_samples: Tensor) -> Emissions:
        """Emissions of a batch of dev."""
        emissions: Emissions = self.recogniser_of(model)(waveforms, num_samples)
        return emissions

    def recogniser_of(self, model: nn.Module) -> CTCModel:
        """The recogniser in what is trained."""
        assert isinstance(model, CTCModel)
        return model

    @torch.inference_mode()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Greedy CER and WER on dev, CTC loss per label, and the share of blank frames."""
        recogniser = self.recogniser_of(model)
        tokenizer = recogniser.tokenizer
        decoder = GreedyDecoder(tokenizer.surfaces, tokenizer.blank)
        words, characters = Counts(), Counts()
        texts = {each.id: normalised_text(each, tokenizer.policy) for each in self.dev}
        of_output = tokenizer.policy.of_output()
        losses = GroupLosses(self.dev, self.config.mix.levels)
        by_group: dict[Group, Counts] = dict.fromkeys(losses.by_group(), Counts())
        blanks = []
        for batch in self.dev_batches():
            device = recogniser.head.weight.device
            out = self._dev_emissions(model, batch.waveforms.to(device), batch.num_samples.to(device))
            loss = ctc_loss(
                out.values,
                out.num_frames,
                batch.labels.to(device),
                batch.num_labels.to(device),
                tokenizer.blank,
            )
            losses.add(batch.ids, loss.tolist(), batch.num_labels.tolist())
            self._tell_too_long(batch)
            blanks.append(blank_ratio(out.values, out.num_frames, tokenizer.blank))
            values = out.values.float().cpu().numpy()
            for row, frames, name in zip(values, out.num_frames.tolist(), batch.ids, strict=True):
                reference = texts[name]
                hypothesis = of_output(decoder.decode(row[:frames])[0].text)
                words = words + error_counts(reference.split(), hypothesis.split())
                edits = error_counts(list(reference), list(hypothesis))
                characters = characters + edits
                group = losses.group[name]
                by_group[group] = by_group[group] + edits
        row = {
            "score": characters.rate,
            "cer": characters.rate,
            "wer": words.rate,
            "loss": losses.per_label(),
            "blank_ratio": float(np.mean(blanks)),
        }
        if len(by_group) > 1:
            row |= {f"cer/{'/'.join(group)}": counts.rate for group, counts in by_group.items()}
        return row | self.mixture.learn(losses.by_group())

    def fingerprint(self) -> dict[str, Any]:
        """Labels, encoder, loss, seed, training utterances, their places and texts; dev."""
        settings = to_mapping(self.config)
        for name in ("cache_gb", "dev_batch_s"):
            del settings[name]
        settings = {name: value for name, value in settings.items() if not name.startswith("blank_")}
        return {
            "labels": list(self.recogniser.tokenizer.surfaces),
            "languages": self.recogniser.tokenizer.languages,
            "emissions_per_frame": self.recogniser.per_frame,
            "encoder": as_json(self.recogniser.encoder.config()),
            "ctc": settings,
            "seed": self.seed,
            "utterances": zlib.crc32("\n".join(utterance.id for utterance in self.train).encode()),
            "recordings": rows_checksum(self.train, *WHERE),
            "texts": rows_checksum(self.train, "id", "language", "text"),
            "dev": rows_checksum(self.dev, *DEV),
        }

    def head_parameters(self) -> list[nn.Parameter]:
        """The output layer."""
        return list(self.recogniser.head.parameters())

    def watches(self) -> list[Watch]:
        """A model that writes blanks alone."""
        return [
            Watch(
                value="blank_ratio",
                high=self.config.blank_alarm,
                meaning="the model writes next to nothing",
                remedy="Check that texts and audio belong together, raise trainer.lr or trainer.warmup, lessen "
                "masking (ctc.mask_start, encoder.time_masks_per_s), or lower trainer.freeze_updates.",
                grace=self.config.blank_alarm_after,
                patience=self.config.blank_patience,
            )
        ]

    def explain(self, batch: CtcBatch) -> str:
        """Look for what makes a CTC loss infinite or not a number."""
        sizes = zip(batch.num_samples.tolist(), batch.num_labels.tolist(), strict=True)
        for name, row, labels, (samples, count) in zip(
            batch.ids, batch.waveforms, batch.labels.tolist(), sizes, strict=True
        ):
            if reason := unsound([name], row[None]):
                return reason
            if reason := shortfall(self.recogniser, labels[:count], samples):
                return f"{name}: {reason}. Leave it out: `loquela corpus check`."
        return f"Audio and texts look sound. {DIVERGED}"

    def save(self, model: nn.Module, folder: Path, facts: dict[str, Any]) -> None:
        """Write the model folder."""
        save_model(self.recogniser_of(model), folder, facts=facts)

    def dev_batches(self) -> Iterator[CtcBatch]:
        """Dev in batches of alike lengths, the same every time."""
        order = epoch_batches(
            [u.duration_s for u in self.dev], batch_s=self.config.dev_batch_s, seed=0, epoch=0
        )
        return prefetch(iter(order), self._dev_batch)

    def _dev_batch(self, indices: list[int]) -> CtcBatch:
        rows = [self.dev[index] for index in indices]
        return self._collate([([each], self.cache.load(each)) for each in rows])

    def _tell_too_long(self, batch: CtcBatch) -> None:
        """Name, the first time, the dev utterances whose loss is infinite whatever the model."""
        for name, labels, count, samples in zip(
            batch.ids,
            batch.labels.tolist(),
            batch.num_labels.tolist(),
            batch.num_samples.tolist(),
            strict=True,
        ):
            reason = shortfall(self.recogniser, labels[:count], samples)
            if reason and name not in self._too_long:
                self._too_long.add(name)
                print(f"left out of the loss on dev: {name}: {reason}", file=sys.stderr)

    def _labels(self, utterances: Sequence[Utterance]) -> list[int]:
        """Labels of what is said one after the other."""
        labels: list[int] = []
        for utterance in utterances:
            if labels:
                labels += self.recogniser.tokenizer.between
            labels += encoded(self.recogniser.tokenizer, utterance)
        return labels

    def _set_masks(self, progress: float) -> None:
        start = self.config.mask_start
        self.recogniser.encoder.mask_scale = min(1.0, max(0.0, progress / start - 1)) if start else 1.0

    def _refused(self, utterances: Sequence[Utterance], num_samples: int) -> str:
        """Why these cannot be learned from in that many samples; empty when they can."""
        return shortfall(self.recogniser, self._labels(utterances), num_samples)

    def _collate(self, items: Sequence[Item]) -> CtcBatch:
        """Pad to a batch."""
        labels = [np.asarray(self._labels(utterances), dtype=np.int64) for utterances, _ in items]
        names = [named(utterances) for utterances, _ in items]
        return CtcBatch(names, *padded([waveform for _, waveform in items]), *padded(labels))


def encoded(tokenizer: Tokenizer, utterance: Utterance) -> list[int]:
    """Labels of an utterance's text, which a model may have written (`asr.pseudo`)."""
    return tokenizer.encode(utterance.text, utterance.language, written=utterance.extra.get(WRITTEN, ""))


def named(utterances: Sequence[Utterance]) -> str:
    """The ids of utterances that are laid end to end."""
    return "+".join(utterance.id for utterance in utterances)


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
    frames, needed = model.grid.num_frames(num_samples), frames_needed(labels)
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
        labels = encoded(model.tokenizer, utterance)
        fastest = int(seconds_to_samples(utterance.duration_s) * factor)
        if not labels:
            reasons.append(f"{utterance.id}: no text after normalisation")
        elif reason := shortfall(model, labels, fastest):
            reasons.append(f"{utterance.id}: {reason}")
        else:
            kept.append(utterance)
    return kept, reasons

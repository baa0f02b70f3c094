"""Training a speech translator: what a batch is, what it costs, how well the model does on dev."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from asr.batches import unsound
from asr.config import to_mapping
from asr.ctc import CtcBatch, CtcConfig, CtcTask, Item
from asr.fingerprint import rows_checksum
from asr.frames import frames_needed
from asr.loss import ctc_loss
from asr.manifest import Utterance
from asr.model import CTCModel, Emissions
from asr.task import DIVERGED, StepOutput
from asr.watchdog import Watch
from lm.errors import InputError
from st.dev import DevScores
from st.distil import Teaching
from st.loss import distillation, framed, smoothed_cross_entropy
from st.model import END, SpeechTranslator, save_translator

UNUSED = (
    *("inter_weight", "inter_layers", "consistency_weight", "consistency_start"),
    *("blank_alarm", "blank_alarm_after", "blank_patience"),
)
"""What `CtcConfig` says of losses and of blanks."""


@dataclass(frozen=True, kw_only=True)
class TranslationConfig:
    """The loss of translation."""

    label_smoothing: float = 0.1
    source_ctc_weight: float = 0.3
    """Weight of CTC on the transcript beside the decoder's loss, both per label; 0 needs no transcripts."""
    target_ctc_weight: float = 0.0
    """Weight of CTC on the translation (Yan et al. 2023), which the search can then use; 0 trains none."""

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise InputError(f"st.label_smoothing is {self.label_smoothing}. Give a share below 1.")
        for name in ("source_ctc_weight", "target_ctc_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(
                    f"st.{name} is {getattr(self, name)}. Give a number from 0, which trains none."
                )


@dataclass(frozen=True)
class TranslationBatch(CtcBatch):
    """A batch with its translations."""

    read: Tensor
    """What the decoder reads, (N, M)."""
    wanted: Tensor
    """What it is to write, (N, M)."""
    num_wanted: Tensor
    """(N,)."""
    taught: tuple[Tensor, Tensor] | None = None
    """The teacher's labels and shares, (N, M, K) each."""


class TranslationTask(CtcTask):
    """Speech to translated text, with CTC on the transcript beside it."""

    def __init__(
        self,
        model: SpeechTranslator,
        train: Sequence[Utterance],
        dev: Sequence[Utterance],
        config: TranslationConfig,
        batches: CtcConfig,
        seed: int,
        teaching: Teaching | None = None,
    ) -> None:
        """
        Args:
            batches: their size, mixing and augmentation.
        Raises:
            InputError: ``batches`` asks for a loss or an alarm that CTC alone has.
        """
        asked, usual = to_mapping(batches), to_mapping(CtcConfig())
        for name in UNUSED:
            if asked[name] and asked[name] != usual[name]:
                raise InputError(
                    f"ctc.{name} is {asked[name]}, and speech translation takes batches, mixing and augmentation alone "
                    "from ctc; its losses are st's. Leave it out."
                )
        super().__init__(model.recogniser, train, dev, batches, seed)
        self.translator = model
        self.model = model
        self.loss = config
        self.teaching = teaching

    def step(self, model: nn.Module, batch: CtcBatch, progress: float) -> StepOutput:
        """Cross-entropy of the translation per label, and CTC per label."""
        assert isinstance(batch, TranslationBatch)
        config, device = self.loss, self.recogniser.head.weight.device
        self._set_masks(progress)
        wanted, num_wanted = batch.wanted.to(device), batch.num_wanted.to(device)
        total = num_wanted.sum()
        logits, memory = model(
            batch.waveforms.to(device), batch.num_samples.to(device), batch.read.to(device)
        )
        loss = smoothed_cross_entropy(logits, wanted, num_wanted, config.label_smoothing).sum() / total
        logs = {"translation": float(loss.detach())}
        if self.teaching and batch.taught is not None:
            labels, shares = (each.to(device) for each in batch.taught)
            taught = (
                distillation(logits / self.teaching.temperature, labels, shares, num_wanted).sum() / total
            )
            loss = (1 - self.teaching.weight) * loss + self.teaching.weight * taught
            logs["distillation"] = float(taught.detach())
        if config.source_ctc_weight:
            blank = self.recogniser.tokenizer.blank
            ctc = _ctc_per_label(memory.emissions, batch.labels, batch.num_labels, blank)
            loss = loss + config.source_ctc_weight * ctc
            logs["ctc"] = float(ctc.detach())
        if config.target_ctc_weight:
            ctc = _ctc_per_label(memory.target_emissions, batch.wanted, batch.num_wanted - 1, END)
            loss = loss + config.target_ctc_weight * ctc
            logs["target_ctc"] = float(ctc.detach())
        return StepOutput(loss, logs)

    @torch.inference_mode()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """BLEU and chrF of greedy translations of dev, and the loss per label; selected by chrF."""
        assert isinstance(model, SpeechTranslator)
        device = model.recogniser.head.weight.device
        scores = DevScores(model, self.dev, self.config.mix.levels)
        for batch in self.dev_batches():
            assert isinstance(batch, TranslationBatch)
            memory = model.memory(batch.waveforms.to(device), batch.num_samples.to(device))
            scores.add(batch.ids, memory, batch.read, batch.wanted, batch.num_wanted)
        return scores.row() | self.mixture.learn(scores.losses.by_group())

    def fingerprint(self) -> dict[str, Any]:
        """That of the batches; the translations, the decoder, its labels, its loss and its teacher."""
        return {
            **super().fingerprint(),
            "targets": list(self.translator.tokenizer.surfaces),
            "decoder": to_mapping(self.translator.decoder.config),
            "st": to_mapping(self.loss),
            "teacher": [self.teaching.name, self.teaching.weight] if self.teaching else [],
            "translations": rows_checksum(self.train, "id", "translation"),
        }

    def head_parameters(self) -> list[nn.Parameter]:
        """All but the encoder: what is new, where the encoder is not."""
        encoder = {id(parameter) for parameter in self.recogniser.encoder.parameters()}
        return [parameter for parameter in self.model.parameters() if id(parameter) not in encoder]

    def recogniser_of(self, model: nn.Module) -> CTCModel:
        """The recogniser in what is trained."""
        assert isinstance(model, SpeechTranslator)
        return model.recogniser

    def watches(self) -> list[Watch]:
        """None: a decoder that writes nothing has a chrF of 0, which is seen."""
        return []

    def explain(self, batch: CtcBatch) -> str:
        """Samples that are no numbers, or a diverged training."""
        return unsound(batch.ids, batch.waveforms) or DIVERGED

    def save(self, model: nn.Module, folder: Path, facts: dict[str, Any]) -> None:
        """Write the model folder."""
        assert isinstance(model, SpeechTranslator)
        save_translator(model, folder, facts=facts)

    def _refused(self, utterances: Sequence[Utterance], num_samples: int) -> str:
        if not self.recogniser.grid.num_frames(num_samples):
            return "no frame of speech"
        if self.loss.target_ctc_weight:
            targets = self._targets(utterances)
            frames, needed = self.recogniser.encoder.grid.num_frames(num_samples), frames_needed(targets)
            if frames < needed:
                return f"{frames} frames of speech, its translation needs {needed}"
        return ""

    def _labels(self, utterances: Sequence[Utterance]) -> list[int]:
        """None for a row that lacks a transcript anywhere: CTC would learn that what is said there is silence."""
        whole = all(super(TranslationTask, self)._labels([each]) for each in utterances)
        return super()._labels(utterances) if whole else []

    def _targets(self, utterances: Sequence[Utterance]) -> list[int]:
        tokenizer = self.translator.tokenizer
        targets: list[int] = []
        for utterance in utterances:
            if targets:
                targets += tokenizer.between
            targets += tokenizer.encode(utterance.translation)
        return targets

    def _collate(self, items: Sequence[Item]) -> TranslationBatch:
        plain = super()._collate(items)
        read, wanted, num_wanted = framed([self._targets(utterances) for utterances, _ in items])
        taught = self.teaching.rows([utterances for utterances, _ in items]) if self.teaching else None
        assert taught is None or taught[0].shape[:2] == wanted.shape
        values = {each.name: getattr(plain, each.name) for each in fields(plain)}
        return TranslationBatch(**values, read=read, wanted=wanted, num_wanted=num_wanted, taught=taught)


def _ctc_per_label(out: Emissions, labels: Tensor, num_labels: Tensor, blank: int) -> Tensor:
    """CTC's loss for each label; a recording that lacks its text, or is too short for it, teaches nothing."""
    texts = zip(labels.tolist(), num_labels.tolist(), strict=True)
    needed = torch.tensor([frames_needed(row[:size]) for row, size in texts])
    device = out.values.device
    labels, num_labels, needed = labels.to(device), num_labels.to(device), needed.to(device)
    each = ctc_loss(out.values, out.num_frames, labels, num_labels, blank, zero_infinity=True)
    sound = (num_labels > 0) & (out.num_frames >= needed)
    return each.where(sound, 0).sum() / num_labels.where(sound, 0).sum().clamp(min=1)

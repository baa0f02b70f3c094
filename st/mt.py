"""Training a text translator on the texts of a manifest: the small case, thousands of sentences."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from asr.batches import epoch_batches, padded
from asr.config import to_mapping
from asr.ctc import encoded
from asr.fingerprint import DEV, rows_checksum
from asr.manifest import Utterance
from asr.task import DIVERGED, StepOutput
from asr.watchdog import Watch
from lm.errors import InputError
from st.dev import DevScores
from st.loss import framed, smoothed_cross_entropy
from st.model import TextTranslator, save_translator

SMOOTHING = 0.1
"""Exponent of a segmentation's probability when one of several is drawn (Kudo 2018, for 64 of them)."""


@dataclass(frozen=True, kw_only=True)
class MtConfig:
    """The loss and the batches."""

    label_smoothing: float = 0.1
    batch_labels: int = 2000
    """Most labels in a batch, source or target, padding included; of translations in their likeliest segmentation."""
    label_dropout: float = 0.0
    """Share of the source labels that are left out in training (Sennrich and Zhang 2019: helps small corpora)."""
    subword_nbest: int = 1
    """Segmentations of a translation from which training draws another in every epoch (Kudo 2018); 1 draws none."""

    def __post_init__(self) -> None:
        if not (0 <= self.label_smoothing < 1 and 0 <= self.label_dropout < 1):
            raise InputError(
                "mt.label_smoothing and mt.label_dropout are shares. Give numbers from 0 to below 1."
            )
        for name in ("batch_labels", "subword_nbest"):
            if getattr(self, name) < 1:
                raise InputError(f"mt.{name} is {getattr(self, name)}. Give a number from 1.")


@dataclass(frozen=True)
class TextBatch:
    """Padded sources, and translations to read and to write."""

    ids: list[str]
    labels: Tensor
    """(N, L)."""
    num_labels: Tensor
    """(N,)."""
    read: Tensor
    wanted: Tensor
    """(N, M) each."""
    num_wanted: Tensor
    """(N,)."""


class TextTranslationTask:
    """Text to translated text."""

    def __init__(
        self,
        model: TextTranslator,
        train: Sequence[Utterance],
        dev: Sequence[Utterance],
        config: MtConfig,
        seed: int,
    ) -> None:
        """
        Raises:
            InputError: segmentations are to be drawn, and the translation's labels are letters.
        """
        if config.subword_nbest > 1 and model.tokenizer.sentencepiece is None:
            raise InputError(
                f"mt.subword_nbest is {config.subword_nbest}, and letters write a translation in one way only. "
                "Set target_tokenizer.unit=piece, or leave mt.subword_nbest out."
            )
        self.translator = model
        self.model: nn.Module = model
        self.train = list(train)
        self.dev = list(dev)
        self.config = config
        self.seed = seed
        self.pairs = [self._pair(utterance) for utterance in self.train]

    def plan(self, epoch: int) -> list[list[int]]:
        """Pairs in batches of alike lengths."""
        sizes = [float(max(len(source), len(target) + 1)) for source, target in self.pairs]
        return epoch_batches(sizes, batch_s=self.config.batch_labels, seed=self.seed, epoch=epoch)

    def load(self, epoch: int, item: list[int]) -> TextBatch:
        """A batch; labels left out of the source and pieces of the target follow from seed, epoch and pair."""
        pairs = []
        for index in item:
            source, target = self.pairs[index]
            draws = np.random.default_rng([self.seed, epoch, index])
            if self.config.label_dropout:
                kept = draws.random(len(source))
                source = [
                    label
                    for label, draw in zip(source, kept, strict=True)
                    if draw >= self.config.label_dropout
                ]
            if self.config.subword_nbest > 1:
                ways, scores = self.translator.tokenizer.segmentations(
                    self.train[index].translation, self.config.subword_nbest
                )
                shares = np.exp(SMOOTHING * (np.array(scores) - scores[0]))
                target = ways[draws.choice(len(ways), p=shares / shares.sum())]
            pairs.append((source or self.pairs[index][0], target))
        return _collate([self.train[index].id for index in item], pairs)

    def seen(self, items: Sequence[list[int]]) -> float:
        """Seconds of audio: none."""
        return 0.0

    def step(self, model: nn.Module, batch: TextBatch, progress: float) -> StepOutput:
        """Cross-entropy per label."""
        device = next(model.parameters()).device
        logits, _ = model(batch.labels.to(device), batch.num_labels.to(device), batch.read.to(device))
        num_wanted = batch.num_wanted.to(device)
        loss = smoothed_cross_entropy(
            logits, batch.wanted.to(device), num_wanted, self.config.label_smoothing
        )
        return StepOutput(loss.sum() / num_wanted.sum())

    @torch.inference_mode()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """BLEU and chrF of greedy translations of dev, and the loss per label; selected by chrF."""
        assert isinstance(model, TextTranslator)
        device = next(model.parameters()).device
        scores = DevScores(model, self.dev)
        pairs = [self._pair(utterance) for utterance in self.dev]
        sizes = [float(max(len(source), len(target) + 1)) for source, target in pairs]
        for indices in epoch_batches(sizes, batch_s=self.config.batch_labels, seed=0, epoch=0):
            batch = _collate([self.dev[index].id for index in indices], [pairs[index] for index in indices])
            memory = model.memory(batch.labels.to(device), batch.num_labels.to(device))
            scores.add(batch.ids, memory, batch.read, batch.wanted, batch.num_wanted)
        return scores.row()

    def tables(self) -> dict[str, str]:
        """None."""
        return {}

    def state(self) -> dict[str, Any]:
        """Nothing changes."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Nothing changes."""

    def fingerprint(self) -> dict[str, Any]:
        """Labels, sizes, loss, seed, training pairs and what they say; dev."""
        return {
            "labels": list(self.translator.source.surfaces),
            "targets": list(self.translator.tokenizer.surfaces),
            "encoder": to_mapping(self.translator.encoder.config),
            "decoder": to_mapping(self.translator.decoder.config),
            "mt": to_mapping(self.config),
            "seed": self.seed,
            "utterances": zlib.crc32("\n".join(utterance.id for utterance in self.train).encode()),
            "texts": rows_checksum(self.train, "id", "language", "text", "translation"),
            "dev": rows_checksum(self.dev, *DEV),
        }

    def head_parameters(self) -> list[nn.Parameter]:
        """The decoder."""
        return list(self.translator.decoder.parameters())

    def watches(self) -> list[Watch]:
        """None: a decoder that writes nothing has a chrF of 0, which is seen."""
        return []

    def explain(self, batch: TextBatch) -> str:
        """Text cannot be broken as audio can, so training diverged."""
        return DIVERGED

    def save(self, model: nn.Module, folder: Path, facts: dict[str, Any]) -> None:
        """Write the model folder."""
        assert isinstance(model, TextTranslator)
        save_translator(model, folder, facts=facts)

    def _pair(self, utterance: Utterance) -> tuple[list[int], list[int]]:
        return encoded(self.translator.source, utterance), self.translator.tokenizer.encode(
            utterance.translation
        )


def _collate(names: list[str], pairs: Sequence[tuple[list[int], list[int]]]) -> TextBatch:
    sources, targets = zip(*pairs, strict=True)
    return TextBatch(names, *padded([np.asarray(row, dtype=np.int64) for row in sources]), *framed(targets))

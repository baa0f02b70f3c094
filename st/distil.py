"""A teacher's most probable labels for every translation of the training, made once and kept."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from asr.batches import padded
from asr.checkpoint import write_tensors
from asr.manifest import Utterance
from lm.errors import InputError
from st.loss import framed
from st.model import SpeechTranslator, TextTranslator, load_translator

BATCH = 32
"""Texts that go through the teacher at once."""


class Teaching:
    """What a text translator would have written at each place of each translation."""

    def __init__(
        self, name: str, labels: dict[str, NDArray[np.int64]], shares: dict[str, NDArray[np.float32]]
    ) -> None:
        self.name = name
        """Of the teacher, with a digest of what it taught."""
        self.labels = labels
        """Of each utterance, (L + 1, K): the last place is that of the closing label."""
        self.shares = shares

    def rows(self, rows: Sequence[Sequence[Utterance]]) -> tuple[Tensor, Tensor]:
        """Labels and shares of utterances that are laid end to end, (N, L, K) each; only the last closes."""
        joined = []
        for table in (self.labels, self.shares):
            parts = [[table[each.id] for each in row] for row in rows]
            joined.append([np.concatenate([*(each[:-1] for each in row[:-1]), row[-1]]) for row in parts])
        return padded_rows(joined[0]), padded_rows(joined[1])


def padded_rows(rows: Sequence[NDArray[np.generic]]) -> Tensor:
    """(L, K) each -> (N, L, K), zeros behind."""
    width = rows[0].shape[1]
    flat, _ = padded([row.reshape(-1) for row in rows])
    return flat.view(len(rows), -1, width)


@torch.inference_mode()
def teach(
    teacher: str | Path, student: SpeechTranslator, utterances: Sequence[Utterance], *, top_k: int, path: Path
) -> Teaching:
    """Ask the teacher about every utterance, or read what it said from ``path``.

    Args:
        teacher: folder of a text translator with the student's labels.
        top_k: labels kept for each place.
    Raises:
        InputError: it translates speech, its labels differ from the student's, or transcripts are missing.
    """
    model = load_translator(teacher)
    if not isinstance(model, TextTranslator) or model.tokenizer.surfaces != student.tokenizer.surfaces:
        raise InputError(
            f"teacher {teacher}: it must translate text into the student's labels. "
            "Give the text translator whose decoder and labels the student begins with (`decoder_from`)."
        )
    silent = [utterance.id for utterance in utterances if not utterance.text.strip()]
    if silent:
        raise InputError(
            f"teacher {teacher}: it reads transcripts, and {len(silent)} utterances have none, as {silent[0]}. "
            "Leave them out."
        )
    labels: dict[str, NDArray[np.int64]] = {}
    shares: dict[str, NDArray[np.float32]] = {}
    if path.is_file():
        kept = load_file(path)
        labels = {name[7:]: value.numpy() for name, value in kept.items() if name.startswith("labels.")}
        shares = {name[7:]: value.numpy() for name, value in kept.items() if name.startswith("shares.")}
    missing = [utterance for utterance in utterances if utterance.id not in labels]
    if missing:
        print(f"asking the teacher about {len(missing)} translations", file=sys.stderr)
    for first in range(0, len(missing), BATCH):
        batch = missing[first : first + BATCH]
        sources = [np.asarray(model.source.encode(each.text), dtype=np.int64) for each in batch]
        read, _, lengths = framed([model.tokenizer.encode(each.translation) for each in batch])
        logits, _ = model(*padded(sources), read)
        best = logits.softmax(dim=-1).topk(min(top_k, logits.shape[2]), dim=2)
        best_shares = best.values / best.values.sum(dim=2, keepdim=True)
        for place, (each, length) in enumerate(zip(batch, lengths.tolist(), strict=True)):
            labels[each.id] = best.indices[place, :length].numpy()
            shares[each.id] = best_shares[place, :length].numpy()
    if missing:
        tensors = {f"labels.{name}": torch.from_numpy(value.copy()) for name, value in labels.items()}
        tensors |= {f"shares.{name}": torch.from_numpy(value.copy()) for name, value in shares.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tensors(tensors, path)
    digest = hashlib.sha256(b"".join(shares[each.id].tobytes() for each in utterances)).hexdigest()[:12]
    return Teaching(f"{teacher} {digest}", labels, shares)

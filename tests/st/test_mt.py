"""What a batch of text translation leaves out, draws and teaches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from asr.manifest import Utterance, read_manifest
from asr.model import CTCModel
from asr.text import TextPolicy
from asr.tokenizer import Tokenizer, piece_tokenizer
from st.loss import smoothed_cross_entropy
from st.model import TextTranslator
from st.mt import MtConfig, TextTranslationTask
from tests.st.test_task import SMALL, TEXT


def made(
    source: Tokenizer, target: Tokenizer, rows: Sequence[Utterance], config: MtConfig
) -> TextTranslationTask:
    torch.manual_seed(0)
    return TextTranslationTask(TextTranslator(source, target, TEXT, SMALL).eval(), rows, rows, config, seed=1)


def test_about_the_share_of_source_labels_is_left_out(spoken_numbers: Path, tiny_model: CTCModel) -> None:
    rows, labels = read_manifest(spoken_numbers), tiny_model.tokenizer
    whole, part = (
        made(labels, labels, rows, MtConfig(label_dropout=share)).load(0, list(range(40)))
        for share in (0.0, 0.1)
    )
    assert 0.83 < float(part.num_labels.sum() / whole.num_labels.sum()) < 0.96


@pytest.mark.parametrize("smoothing", [0.0, 0.4])
def test_the_labels_of_a_translation_are_smoothed_as_asked(
    spoken_numbers: Path, tiny_model: CTCModel, smoothing: float
) -> None:
    rows, labels = read_manifest(spoken_numbers)[:3], tiny_model.tokenizer
    task = made(labels, labels, rows, MtConfig(label_smoothing=smoothing))
    batch = task.load(0, [0, 1, 2])
    logits, _ = task.translator(batch.labels, batch.num_labels, batch.read)
    losses = smoothed_cross_entropy(logits, batch.wanted, batch.num_wanted, smoothing)
    wanted = float((losses.sum() / batch.num_wanted.sum()).detach())
    assert float(task.step(task.model, batch, 0.0).loss.detach()) == pytest.approx(wanted, rel=1e-5)


def test_likelier_pieces_of_a_translation_are_drawn_more_often(tiny_model: CTCModel) -> None:
    text = "nab a banana"
    pieces = piece_tokenizer(["banana nab", text, "a banana"] * 3, TextPolicy(), num_pieces=10)
    rows = [Utterance(id="u", audio=Path("u.wav"), duration_s=1.0, text="ab", translation=text)]
    task = made(tiny_model.tokenizer, pieces, rows, MtConfig(subword_nbest=8))
    ways, scores = pieces.segmentations(text, 8)
    counts = np.zeros(len(ways))
    for epoch in range(300):
        batch = task.load(epoch, [0])
        counts[ways.index(batch.wanted[0, : int(batch.num_wanted[0]) - 1].tolist())] += 1
    # Kudo (2018): by their probability to the power of 0.1.
    shares = np.exp(0.1 * np.array(scores))
    expected = counts.sum() * shares / shares.sum()
    chi_squared = float((np.square(counts - expected) / expected).sum())
    assert chi_squared < 24.3  # in one of 1000 draws of 8 ways it is more

"""What a batch of speech translation costs and teaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from asr.ctc import CtcConfig
from asr.manifest import Utterance, read_manifest
from asr.model import CTCModel
from asr.text import TextPolicy
from asr.tokenizer import character_tokenizer
from lm.errors import InputError
from st.decoder import DecoderConfig
from st.model import SpeechTranslator
from st.task import TranslationConfig, TranslationTask

SMALL = DecoderConfig(width=16, layers=1, heads=2, inner=16)


def gradients(
    recogniser: CTCModel, rows: Sequence[Utterance], config: TranslationConfig
) -> dict[str, Tensor]:
    """Of one batch of all rows, by parameter."""
    torch.manual_seed(0)
    tokenizer = character_tokenizer([row.translation for row in rows], TextPolicy())
    model = SpeechTranslator(recogniser, tokenizer, SMALL, target_ctc=True).eval()
    task = TranslationTask(model, rows, rows[:1], config, CtcConfig(), seed=1)
    model.zero_grad()
    out = task.step(model, task.load(0, [(place, [place]) for place in range(len(rows))]), progress=0.5)
    out.loss.backward()
    return {name: each.grad for name, each in model.named_parameters() if each.grad is not None}


def test_a_row_that_lacks_a_transcript_in_part_has_none_for_ctc(
    spoken_numbers: Path, tiny_model: CTCModel
) -> None:
    rows = [
        replace(row, text="" if number % 2 else row.text)
        for number, row in enumerate(read_manifest(spoken_numbers, split="train"))
    ]
    texts = {row.id: row.text for row in rows}
    tokenizer = character_tokenizer([row.translation for row in rows], TextPolicy())
    model = SpeechTranslator(tiny_model, tokenizer, SMALL)
    task = TranslationTask(
        model, rows, rows[:1], TranslationConfig(), CtcConfig(join_probability=1.0), seed=1
    )
    seen = {"whole": 0, "in part": 0, "none": 0}
    labels = tiny_model.tokenizer
    for item in task.plan(1):
        batch = task.load(1, item)
        for name, row, size in zip(batch.ids, batch.labels.tolist(), batch.num_labels.tolist(), strict=True):
            parts = [texts[each] for each in name.split("+")]
            seen["whole" if all(parts) else "in part" if any(parts) else "none"] += 1
            assert row[:size] == (labels.encode(" ".join(parts)) if all(parts) else [])
    assert all(seen.values()), seen


@pytest.mark.parametrize("name", ["source_ctc_weight", "target_ctc_weight"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_weights_that_are_no_weights_are_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"st\.{name} is {value}\. Give a number from 0"):
        TranslationConfig(**{name: value})


def test_a_transcript_too_long_for_its_recording_teaches_no_more_than_none(
    spoken_numbers: Path, tiny_model: CTCModel
) -> None:
    first, second = read_manifest(spoken_numbers)[:2]
    config = TranslationConfig(source_ctc_weight=0.3, target_ctc_weight=0.2)
    without = gradients(tiny_model, [first, replace(second, text="")], config)
    too_long = gradients(tiny_model, [first, replace(second, text="abc " * 100)], config)
    assert too_long.keys() == without.keys()
    for name, gradient in too_long.items():
        assert bool(torch.isfinite(gradient).all()), name
        torch.testing.assert_close(gradient, without[name])
    assert bool(without["recogniser.head.weight"].any())

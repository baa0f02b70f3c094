"""The task of CTC: what the parts of its loss weigh, when masks come in, what a batch holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asr.ctc import CtcConfig, CtcTask
from asr.encoder.conformer import ConformerEncoder
from asr.manifest import read_manifest
from asr.model import CTCModel
from asr.task import StepOutput
from tests.conftest import TINY


def ctc_task(model: CTCModel, manifest: Path, **settings: Any) -> CtcTask:
    """A task on the training rows of the tone corpus."""
    rows = read_manifest(manifest, split="train")
    return CtcTask(model, rows, rows[:2], CtcConfig(**settings), seed=1)


def step(task: CtcTask, progress: float) -> StepOutput:
    """Of a batch of two utterances, that far into the training."""
    return task.step(task.model, task.load(0, [(0, [0]), (1, [1])]), progress)


def test_the_loss_is_its_parts_by_their_weights(tiny_model: CTCModel, tone_corpus: Path) -> None:
    task = ctc_task(
        tiny_model.train(), tone_corpus, inter_weight=0.25, consistency_weight=0.2, consistency_start=0.5
    )
    out = step(task, 0.5)
    parts = out.logs
    assert parts["consistency"] > 0
    assert float(out.loss.detach()) == pytest.approx(
        0.75 * parts["ctc"] + 0.25 * parts["inter_ctc"] + 0.2 * parts["consistency"], rel=1e-5
    )
    assert "consistency" not in step(task, 0.49).logs


def test_the_middle_layer_emits_too(tiny_model: CTCModel, tone_corpus: Path) -> None:
    model = CTCModel(ConformerEncoder(replace(TINY, num_layers=5)), tiny_model.tokenizer)
    assert ctc_task(model, tone_corpus).inter_layers == (3,)


def test_masks_come_in_over_as_long_as_there_were_none(tiny_model: CTCModel, tone_corpus: Path) -> None:
    task = ctc_task(tiny_model, tone_corpus, mask_start=0.2)
    found = []
    for progress in (0.0, 0.2, 0.3, 0.4, 1.0):
        step(task, progress)
        found.append(tiny_model.encoder.mask_scale)
    assert found == pytest.approx([0, 0, 0.5, 1, 1])


def test_batches_of_two_views_hold_half(tiny_model: CTCModel, tone_corpus: Path) -> None:
    task = ctc_task(tiny_model, tone_corpus, batch_s=12.0, consistency_weight=0.2)
    plan = task.plan(0)
    assert max(map(len, plan)) > 1
    for item in plan:
        longest = max(task.train[index].duration_s for _, row in item for index in row)
        assert 2 * len(item) * longest <= 12.0


def test_texts_that_are_laid_end_to_end_have_a_boundary_between_them(
    tiny_model: CTCModel, tone_corpus: Path
) -> None:
    task = ctc_task(tiny_model, tone_corpus)
    wanted = tiny_model.tokenizer.encode(f"{task.train[0].text} {task.train[1].text}")
    assert task.load(1, [(0, [0, 1])]).labels[0].tolist() == wanted

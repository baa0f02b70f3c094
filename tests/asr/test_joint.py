"""CTC and a self-supervised loss on the same batches."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from asr.ctc import CtcConfig
from asr.joint import JointConfig, JointTask
from asr.manifest import read_manifest
from asr.model import CTCModel
from asr.pretrain.objectives import ObjectiveConfig


def test_the_self_supervised_loss_counts_by_its_weight(tiny_model: CTCModel, tone_corpus: Path) -> None:
    rows = read_manifest(tone_corpus)[:4]
    objective = ObjectiveConfig(kind="best-rq", num_codes=16, mask_span_s=0.12)
    found = {}
    for weight in (0.2, 0.4):
        torch.manual_seed(0)
        joint = JointConfig(weight=weight, objective=objective)
        task = JointTask(tiny_model, rows, rows, CtcConfig(inter_weight=0.0), 1, joint, {})
        task.model.eval()
        torch.manual_seed(1)  # the same masks
        out = task.step(task.model, task.load(0, [(place, [place]) for place in range(4)]), progress=0.5)
        found[weight] = out.logs["objective"]
        assert float(out.loss.detach()) == pytest.approx(out.logs["ctc"] + found[weight], rel=1e-5)
    assert found[0.2] > 0
    assert found[0.4] == pytest.approx(2 * found[0.2], rel=1e-4)

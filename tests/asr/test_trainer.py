"""The trainer alone, on a toy task: which model is the best one, and what an average begins with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from asr.checkpoint import whole_checkpoints
from asr.trainer import StepOutput, Trainer, TrainerConfig
from asr.watchdog import Watch
from lm.errors import InputError

SETTINGS: dict[str, Any] = {
    "updates": 4, "evaluate_every": 1, "lr": 0.1, "precision": "float32", "ema_decay": 0.0,
}  # fmt: skip


@dataclass(frozen=True)
class Toy:
    """A batch."""

    ids: Sequence[str] = ("one",)


class ToyTask:
    """A line through a point, whose evaluations are told beforehand: their scores and how many codes are in use."""

    def __init__(self, scores: Sequence[float] = (4, 3, 2, 1), codes: Sequence[int] = (9, 9, 9, 9)) -> None:
        self.model: nn.Module = nn.Linear(1, 1)
        self.scores, self.codes = scores, codes
        self.update = 0
        self.saved: list[int] = []

    def plan(self, epoch: int) -> list[int]:
        return [0, 1, 2, 3]

    def load(self, epoch: int, item: int) -> Toy:
        return Toy()

    def seen(self, items: Sequence[int]) -> float:
        self.update += 1
        return 1.0

    def step(self, model: nn.Module, batch: Toy, progress: float) -> StepOutput:
        return StepOutput((model(torch.ones(1, 1)) - 5).square().sum())

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        return {"score": self.scores[self.update - 1], "codes": self.codes[self.update - 1]}

    def tables(self) -> dict[str, str]:
        return {}

    def state(self) -> dict[str, Any]:
        return {"update": self.update}

    def load_state(self, state: dict[str, Any]) -> None:
        self.update = state["update"]

    def fingerprint(self) -> dict[str, Any]:
        return {}

    def head_parameters(self) -> list[nn.Parameter]:
        return []

    def watches(self) -> list[Watch]:
        return [Watch(value="codes", low=2, meaning="all are alike", remedy="Be calm.", grace=0, patience=2)]

    def explain(self, batch: Toy) -> str:
        return ""

    def save(self, model: nn.Module, folder: Path, facts: dict[str, Any]) -> None:
        self.saved.append(facts["trained"]["update"])


def trainer(task: ToyTask, exp: Path, **changes: Any) -> Trainer:
    return Trainer(task, TrainerConfig(**{**SETTINGS, **changes}), exp)


def test_a_collapsed_model_is_never_the_best(tmp_path: Path) -> None:
    """Codes that are all alike are easily told: the collapsed model has the lowest score."""
    task = ToyTask(codes=(9, 9, 1, 1))
    with pytest.raises(InputError, match="Run again, it goes on from update 2"):
        trainer(task, tmp_path).run()
    assert task.saved == [1, 2]
    # It goes on from the best one, and a sound model takes its place.
    task = ToyTask(codes=(9, 9, 9, 9))
    again = trainer(task, tmp_path)
    assert (again.update, again.best, again.best_update) == (2, 3, 2)
    assert again.run()["update"] == 4
    assert task.saved == [3, 4]


def test_a_training_without_a_sound_model_says_so(tmp_path: Path) -> None:
    task = ToyTask(codes=(1, 9, 1, 1))
    with pytest.raises(InputError, match="model was not written"):
        trainer(task, tmp_path, updates=1).run()
    assert not task.saved


def test_an_average_that_begins_late_begins_with_the_weights(tmp_path: Path) -> None:
    trainer(ToyTask(), tmp_path, updates=3).run()
    folder = whole_checkpoints(tmp_path / "checkpoints")[-1]
    weights, averages = (load_file(folder / f"{name}.safetensors") for name in ("weights", "ema"))
    assert all(torch.equal(value, averages[name]) for name, value in weights.items())
    later = trainer(ToyTask(), tmp_path, ema_decay=0.999)
    later.run()
    for name, value in later._weights().items():
        decay = 5 / 14  # (1 + update) / (10 + update)
        torch.testing.assert_close(later.ema[name], decay * weights[name] + (1 - decay) * value)

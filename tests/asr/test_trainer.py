"""The trainer alone, on a toy task: the best model, averages, what is gone on from, how it is stopped."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from asr import checkpoint
from asr.card import CARD
from asr.checkpoint import whole_checkpoints
from asr.task import StepOutput
from asr.trainer import Trainer
from asr.trainer_config import TrainerConfig
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
        self.settings: dict[str, Any] = {}
        self.before_step: Callable[[], object] = lambda: None

    def plan(self, epoch: int) -> list[int]:
        return [0, 1, 2, 3]

    def load(self, epoch: int, item: int) -> Toy:
        return Toy()

    def seen(self, items: Sequence[int]) -> float:
        self.update += 1
        return 1.0

    def step(self, model: nn.Module, batch: Toy, progress: float) -> StepOutput:
        self.before_step()
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
        return self.settings

    def head_parameters(self) -> list[nn.Parameter]:
        return []

    def watches(self) -> list[Watch]:
        return [Watch(value="codes", low=2, meaning="all are alike", remedy="Be calm.", grace=0, patience=2)]

    def explain(self, batch: Toy) -> str:
        return ""

    def save(self, model: nn.Module, folder: Path, facts: dict[str, Any]) -> None:
        self.saved.append(facts["trained"]["update"])
        folder.mkdir(exist_ok=True)
        (folder / CARD).touch()


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


@pytest.mark.parametrize(("updates", "moved"), [(2, [False, True]), (3, [True, True])])
def test_the_output_layer_alone_learns_while_the_rest_is_frozen(
    tmp_path: Path, updates: int, moved: list[bool]
) -> None:
    encoder, head = nn.Linear(1, 1), nn.Linear(1, 1)
    task = ToyTask()
    task.model = nn.Sequential(encoder, head)
    task.head_parameters = lambda: list(head.parameters())  # type: ignore[method-assign]
    before = [layer.weight.detach().clone() for layer in (encoder, head)]
    trainer(task, tmp_path, updates=updates, freeze_updates=2, weight_decay=0.0).run()
    after = [layer.weight for layer in (encoder, head)]
    assert [not torch.equal(old, new) for old, new in zip(before, after, strict=True)] == moved


@pytest.mark.parametrize(("clip_norm", "norm"), [(0.0, 200**0.5), (20.0, 200**0.5), (1e-3, 1e-3)])
def test_a_gradient_is_scaled_down_to_the_norm_that_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip_norm: float, norm: float
) -> None:
    task = ToyTask()
    for parameter in task.model.parameters():  # at 0 the gradient of each is -10
        nn.init.zeros_(parameter)
    norms: list[float] = []

    def note(*_: object) -> None:
        gradients = [each.grad for each in task.model.parameters() if each.grad is not None]
        norms.append(float(nn.utils.get_total_norm(gradients)))

    made = trainer(task, tmp_path, clip_norm=clip_norm)
    monkeypatch.setattr(torch.optim.AdamW, "step", note)
    made.run()
    assert norms == pytest.approx([norm] * 4, rel=0.01)


def test_damaged_checkpoints_are_not_taken_for_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer(ToyTask(), tmp_path, updates=2).run()
    first, second = whole_checkpoints(tmp_path / "checkpoints")
    (second / "state.json").unlink()
    assert trainer(ToyTask(), tmp_path).update == 1
    assert "checkpoints: update_0000002, of which files are missing" in capsys.readouterr().err
    (first / "weights.safetensors").write_bytes(b"")
    with pytest.raises(
        InputError, match=r"of update_0000001, update_0000002 files .* remove them and .*model"
    ):
        trainer(ToyTask(), tmp_path)


def test_other_settings_are_named_and_some_may_change(tmp_path: Path) -> None:
    task = ToyTask()
    task.settings = {"ctc": {"batch_s": 10.0, "inter_weight": 0.3}, "texts": 1}
    trainer(task, tmp_path, updates=2).run()

    def again(**changes: Any) -> Trainer:
        task = ToyTask()
        # `joined` is younger than the checkpoint.
        task.settings = {"ctc": {"batch_s": 10.0, "inter_weight": 0.3, "joined": 0.0} | changes, "texts": 1}
        return Trainer(task, TrainerConfig(**SETTINGS), tmp_path, usual={"ctc": {"joined": 0.0}})

    same, other = again(), again(batch_s=8.0)
    assert (same.update, same.epoch, same.batch) == (2, 0, 2)
    # Half of an epoch was done in batches of another size: the next one.
    assert (other.update, other.epoch, other.batch) == (2, 1, 0)
    assert other.run()["update"] == 4
    for change, said in (
        ({"inter_weight": 0.5}, r"ctc\.inter_weight: 0\.3 -> 0\.5\. Give another exp"),
        ({"joined": 0.5}, r"ctc\.joined: 0\.0 -> 0\.5\. Give"),
    ):
        with pytest.raises(InputError, match=rf"with other settings: {said}"):
            again(batch_s=8.0, **change)


def test_another_loss_has_other_scores(tmp_path: Path) -> None:
    task = ToyTask(scores=(1, 1))
    task.settings = {"objective": {"diversity_weight": 0.1}}
    trainer(task, tmp_path, updates=2).run()
    task = ToyTask()
    task.settings = {"objective": {"diversity_weight": 0.5}}
    assert trainer(task, tmp_path).run()["update"] == 4


def test_scores_on_another_dev_set_begin_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def on_dev(dev: int | None, scores: Sequence[float], **changes: Any) -> tuple[ToyTask, Trainer]:
        task = ToyTask(scores, codes=[9] * 8)
        task.settings = {} if dev is None else {"dev": dev}
        return task, trainer(task, tmp_path, patience=2, **changes)

    # An earlier version did not note what dev was.
    on_dev(None, (1, 2), updates=2)[1].run()
    assert on_dev(1, (), updates=3)[1].best == 1
    task, again = on_dev(1, (1, 2, 1.5), updates=3)
    assert (again.best, again.run()["update"], task.saved) == (1, 1, [])
    assert "dev" not in capsys.readouterr().err.replace("dev:", "")
    # Patience was at its end, and scores of one dev set cannot be told from those of another.
    task, again = on_dev(2, (1, 2, 1.5, 9, 8, 9, 9, 0), updates=8)
    assert (again.update, again.epoch, again.batch) == (3, 0, 3)
    assert "dev is another one than before: scores begin anew" in capsys.readouterr().err
    assert again.run()["update"] == 5
    assert (task.saved, again.update) == ([4, 5], 7)
    # A training that is at its end keeps its choice.
    assert on_dev(3, (), updates=7)[1].best_update == 5


def test_scores_begin_anew_once(tmp_path: Path) -> None:
    """Stopped before the first evaluation on the other dev set, patience still has to wait for those to come."""
    trainer(ToyTask(scores=(1, 2, 3)), tmp_path, updates=3).run()

    def again(scores: Sequence[float] = ()) -> Trainer:
        task = ToyTask(scores)
        task.settings = {"dev": 2}
        return trainer(task, tmp_path, patience=2, evaluate_every=2)

    state = tmp_path / "checkpoints" / "update_0000003" / "state.json"
    saved = json.loads(state.read_text())
    saved["fingerprint"]["dev"] = 1
    state.write_text(json.dumps(saved))
    sums = state.with_name(checkpoint.SUMS)
    sums.write_text(json.dumps(json.loads(sums.read_text()) | {"state.json": checkpoint.sha256(state)}))
    again()._save()
    assert again((9, 9, 9, 9)).run()["update"] == 4


def test_a_model_that_is_gone_is_written_by_the_next_evaluation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer(ToyTask(scores=(1, 2)), tmp_path, updates=2).run()
    model = tmp_path / "model"
    model.rename(tmp_path / "model.old")  # where a crash falls between the two moves of a write
    assert trainer(ToyTask(), tmp_path).best == 1
    (model / CARD).unlink()
    with pytest.raises(InputError, match=r"model is not there, and training is at its end\. Copy it again"):
        trainer(ToyTask(scores=(1, 2)), tmp_path, updates=2).run()
    task = ToyTask(scores=(1, 2, 9, 8))
    assert trainer(task, tmp_path).run()["update"] == 4
    assert task.saved == [3, 4]
    assert f"{model} is not there: scores begin anew" in capsys.readouterr().err


def test_checkpoints_are_not_read_again_while_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    original = checkpoint.sha256
    monkeypatch.setattr(checkpoint, "sha256", lambda path: read.append(path) or original(path))
    trainer(ToyTask(), tmp_path, updates=2, keep_checkpoints=3).run()
    again = trainer(ToyTask(), tmp_path, keep_checkpoints=3)
    assert again.kept == whole_checkpoints(tmp_path / "checkpoints")
    read.clear()
    again.run()
    assert {path.parent.name for path in read} == {f"update_000000{n}.partial" for n in (3, 4)}
    assert [path.name[-1] for path in whole_checkpoints(tmp_path / "checkpoints")] == ["2", "3", "4"]


def test_a_lack_of_memory_names_the_utterances_and_the_setting(tmp_path: Path) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Heard(Toy):
        waveforms: torch.Tensor

    def full() -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB.")

    task = ToyTask()
    task.settings = {"data": {}}
    task.before_step = full
    task.load = lambda epoch, item: Heard(waveforms=torch.zeros(2, 24_000))  # type: ignore[method-assign]
    wanted = (
        r"update 0: out of memory on the utterances one \(3 s with padding\)\. Lower data\.batch_s and raise"
    )
    with pytest.raises(InputError, match=wanted):
        trainer(task, tmp_path).run()


def test_an_evaluation_that_lacks_memory_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: ToyTask, model: nn.Module) -> dict[str, float]:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB.")

    changes: dict[str, Any] = {"evaluate_every": 2, "ema_decay": 0.9, "updates": 2}
    task = ToyTask()
    task.settings = {"ctc": {}}
    with monkeypatch.context() as patch:
        patch.setattr(ToyTask, "evaluate", full)
        with pytest.raises(
            InputError, match=r"update 2: .* on dev\. Lower ctc\.dev_batch_s.* Update 2 is saved"
        ):
            trainer(task, tmp_path, **changes).run()
    # It goes on with the evaluation, also where that was the last.
    again = ToyTask()
    again.settings = task.settings
    resumed = trainer(again, tmp_path, **changes)
    assert torch.equal(resumed._weights()["weight"], task.model.weight)  # and not their average
    assert resumed.run()["update"] == 2
    assert again.saved == [2]


def test_an_evaluation_that_is_left_is_compared_with_none_of_another_dev(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: ToyTask, model: nn.Module) -> dict[str, float]:
        raise MemoryError

    changes: dict[str, Any] = {"evaluate_every": 2}
    tasks = [ToyTask(), ToyTask(), ToyTask()]
    for task, dev in zip(tasks, (1, 1, 2), strict=True):
        task.settings = {"ctc": {}, "dev": dev}
    trainer(tasks[0], tmp_path, updates=2, **changes).run()
    with monkeypatch.context() as patch:
        patch.setattr(ToyTask, "evaluate", full)
        with pytest.raises(InputError, match="Update 4 is saved"):
            trainer(tasks[1], tmp_path, updates=4, **changes).run()
    resumed = trainer(tasks[2], tmp_path, updates=4, **changes)
    assert resumed.unfinished
    assert (resumed.begun, resumed.best) == (4, math.inf)
    assert resumed.run()["update"] == 4
    assert not resumed.unfinished
    assert not trainer(tasks[2], tmp_path, updates=4, **changes).unfinished


@pytest.mark.parametrize(
    ("signals", "said", "saved"),
    [
        ([signal.SIGINT], "update 2 is saved", 2),
        # A closed terminal may say so twice.
        ([signal.SIGHUP, signal.SIGHUP], "update 2 is saved", 2),
        ([signal.SIGTERM, signal.SIGINT], "what came after update 1 is lost", 1),
    ],
)
def test_the_first_signal_saves_and_the_second_stops_at_once(
    tmp_path: Path,
    signals: Sequence[signal.Signals],
    said: str,
    saved: int,
    capfd: pytest.CaptureFixture[str],
) -> None:
    trainer(ToyTask(), tmp_path, updates=1).run()
    task = ToyTask()
    task.before_step = lambda: [signal.raise_signal(number) for number in signals]
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as nohup has it, it would be ignored
    try:
        with pytest.raises(KeyboardInterrupt, match=said):
            trainer(task, tmp_path, evaluate_every=4).run()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)
    assert "lose what came after update 1\n" in capfd.readouterr().err
    assert whole_checkpoints(tmp_path / "checkpoints")[-1].name == f"update_000000{saved}"


def test_under_nohup_a_closed_terminal_stops_nothing(tmp_path: Path) -> None:
    task = ToyTask()
    task.before_step = lambda: signal.raise_signal(signal.SIGHUP)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert trainer(task, tmp_path).run()["update"] == 4
    finally:
        signal.signal(signal.SIGHUP, before)

"""What the trainer asks of a task: recognition, pretraining, translation, segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from torch import Tensor, nn

from asr.watchdog import Watch

DIVERGED = "Training diverged. Lower trainer.lr, lengthen trainer.warmup, or set trainer.precision=float32."
"""What a task's `explain` says where the batch is not to blame."""


@dataclass(frozen=True)
class StepOutput:
    """What one batch gave."""

    loss: Tensor
    """Scalar to minimise."""
    logs: dict[str, float] = field(default_factory=dict)


class Batch(Protocol):
    """Anything with the ids of its utterances."""

    @property
    def ids(self) -> Sequence[str]: ...


BatchT = TypeVar("BatchT", bound=Batch)


class Task(Protocol[BatchT]):
    """What differs between recognition, pretraining and translation."""

    @property
    def model(self) -> nn.Module: ...

    def plan(self, epoch: int) -> Sequence[Any]:
        """What each batch of an epoch holds, the same whenever it is asked for; epochs come in order."""

    def load(self, epoch: int, item: Any) -> BatchT:
        """The batch that an item of the plan stands for; called from threads."""

    def seen(self, items: Sequence[Any]) -> float:
        """Note what an update took of the plan, in all processes; returns its seconds of audio."""

    def step(self, model: nn.Module, batch: BatchT, progress: float) -> StepOutput:
        """Loss of a batch; ``progress`` is the share of the training that is done."""

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Scores on dev; ``score`` is the one to select on, lower is better."""

    def tables(self) -> dict[str, str]:
        """What stands in the experiment folder beside the history, by file name."""

    def state(self) -> dict[str, Any]:
        """What of the task changes in training, for a checkpoint; JSON values."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""

    def fingerprint(self) -> dict[str, Any]:
        """What a checkpoint must have been trained with to be gone on from; JSON values."""

    def head_parameters(self) -> list[nn.Parameter]:
        """Parameters that learn while the rest is frozen."""

    def watches(self) -> Sequence[Watch]:
        """What tells, in the evaluations, that the model has collapsed."""

    def explain(self, batch: BatchT) -> str:
        """The likely cause of a loss on this batch that is not a number, and the remedy."""

    def save(self, model: nn.Module, folder: Path, facts: dict[str, Any]) -> None:
        """Write the model folder."""


@runtime_checkable
class Adaptive(Protocol):
    """A task whose plan may follow from the evaluations."""

    def plan_is_stale(self) -> bool:
        """Whether the last evaluation has changed it, so that what is left of the epoch gives way to the next."""

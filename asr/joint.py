"""CTC on pseudo-labels and a self-supervised loss on the same audio, before the last fine-tuning on gold.

An analogue, in speech, of prompt-based continued pretraining (Shi and Lipani 2023), which goes on
pretraining on pseudo-labelled text in the form of the task; the paper is about text, and this is
not its method.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from asr.config import to_mapping
from asr.ctc import CtcBatch, CtcConfig, CtcTask
from asr.manifest import Utterance
from asr.model import CTCModel, Emissions
from asr.pretrain.objectives import Objective, ObjectiveConfig, Outcome
from asr.pretrain.source import with_objective
from asr.pretrain.task import first_audio, measures, same_masks, together
from asr.task import StepOutput
from asr.watchdog import Watch
from lm.errors import InputError


@dataclass(frozen=True, kw_only=True)
class JointConfig:
    """The self-supervised part."""

    weight: float = 0.0
    """Of the objective's loss per frame beside CTC's per label; 0 is CTC alone."""
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    fresh_objective: bool = False
    """Begin with new heads and quantiser even where the encoder's source brings its own."""

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf:
            raise InputError(f"joint.weight is {self.weight}. Give a number from 0, which is CTC alone.")


class JointModel(nn.Module):
    """A recogniser and an objective on its encoder."""

    def __init__(self, recogniser: CTCModel, objective: Objective) -> None:
        super().__init__()
        self.recogniser = recogniser
        self.objective = objective

    def forward(
        self, waveforms: Tensor, num_samples: Tensor, layers: Collection[int] = ()
    ) -> tuple[Emissions, Outcome]:
        """Both ways through the encoder: `CTCModel.forward` and `Objective.forward`."""
        emissions: Emissions = self.recogniser(waveforms, num_samples, layers)
        return emissions, self.objective(self.recogniser.encoder, waveforms, num_samples)


class JointTask(CtcTask):
    """`CtcTask` with a self-supervised loss on the same batches; what is saved is the recogniser."""

    def __init__(
        self,
        model: CTCModel,
        train: Sequence[Utterance],
        dev: Sequence[Utterance],
        config: CtcConfig,
        seed: int,
        joint: JointConfig,
        source: Mapping[str, Any],
    ) -> None:
        """
        Args:
            source: the settings that the encoder was built of, whose objective is gone on with.
        """
        super().__init__(model, train, dev, config, seed)
        self.joint = joint
        source = {} if joint.fresh_objective else source
        self.model: JointModel = JointModel(
            model, with_objective(model.encoder, joint.objective, source, "joint.").objective
        )
        self.model.objective.prepare(model.encoder, first_audio(self))
        self._outcomes: list[Outcome] = []
        """The objective's, of the dev batches that an evaluation has come to."""

    def _forward(
        self,
        model: nn.Module,
        waveforms: Tensor,
        num_samples: Tensor,
        labels: Tensor,
        num_labels: Tensor,
        layers: Collection[int],
    ) -> tuple[Emissions, Tensor | None]:
        emissions, outcome = model(waveforms, num_samples, layers)
        return emissions, self.joint.weight * outcome.loss / outcome.count.clamp(min=1)

    def step(self, model: nn.Module, batch: CtcBatch, progress: float) -> StepOutput:
        """CTC's, and the objective's loss for each predicted frame."""
        self.model.objective.anneal(progress)
        return super().step(model, batch, progress)

    def _dev_emissions(self, model: nn.Module, waveforms: Tensor, num_samples: Tensor) -> Emissions:
        # By way of the whole model: where it is divided among processes, its parts cannot be asked alone.
        emissions: Emissions
        emissions, outcome = model(waveforms, num_samples)
        self._outcomes.append(outcome)
        return emissions

    @torch.inference_mode()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """CTC's, and what tells whether the objective is alive; utterances too short for a mask say nothing of it."""
        self._outcomes.clear()
        with same_masks():
            row = super().evaluate(model)
        out = together(self._outcomes)
        return {**row, "objective": float(out.loss / out.count), **measures(out)} if out.count else row

    def head_parameters(self) -> list[nn.Parameter]:
        """The output layer, and the objective's own layers."""
        return [*super().head_parameters(), *self.model.objective.parameters()]

    def watches(self) -> list[Watch]:
        """Of blanks, and those of the objective."""
        return [*super().watches(), *self.model.objective.watches()]

    def recogniser_of(self, model: nn.Module) -> CTCModel:
        """The recogniser in what is trained."""
        assert isinstance(model, JointModel)
        return model.recogniser

    def fingerprint(self) -> dict[str, Any]:
        """That of CTC, and the objective."""
        return {**super().fingerprint(), "joint": to_mapping(self.joint)}

"""CTC on pseudo-labels and a self-supervised loss on the same audio, before the last fine-tuning on gold.

An analogue, in speech, of prompt-based continued pretraining (Shi and Lipani 2023), which goes on
pretraining on pseudo-labelled text in the form of the task; the paper is about text, and this is
not its method.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from asr.config import to_mapping
from asr.ctc import CtcConfig, CtcTask
from asr.manifest import Utterance
from asr.model import CTCModel, Emissions
from asr.pretrain.objectives import ObjectiveConfig, Outcome, PretrainModel
from asr.pretrain.task import first_audio
from lm.errors import InputError


@dataclass(frozen=True, kw_only=True)
class JointConfig:
    """The self-supervised part."""

    weight: float = 0.0
    """Of the objective's loss per frame beside CTC's per label; 0 is CTC alone."""
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise InputError(f"joint.weight is {self.weight}. Give a number from 0, which is CTC alone.")


class JointModel(nn.Module):
    """A recogniser and an objective on its encoder."""

    def __init__(self, recogniser: CTCModel, config: ObjectiveConfig) -> None:
        super().__init__()
        self.recogniser = recogniser
        self.objective = PretrainModel(recogniser.encoder, config).objective

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
    ) -> None:
        super().__init__(model, train, dev, config, seed)
        self.joint = joint
        self.model = JointModel(model, joint.objective)
        self.model.objective.prepare(model.encoder, first_audio(self))

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

    def recogniser_of(self, model: nn.Module) -> CTCModel:
        """The recogniser in what is trained."""
        assert isinstance(model, JointModel)
        return model.recogniser

    def fingerprint(self) -> dict[str, Any]:
        """That of CTC, and the objective."""
        return {**super().fingerprint(), "joint": json.loads(json.dumps(to_mapping(self.joint)))}

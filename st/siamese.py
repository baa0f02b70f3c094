"""Siamese pre-training: CTC, and the distance between what speech and text encoders make of one sentence.

Le et al. 2023, "Pre-training for speech translation: CTC meets optimal transport". The text encoder is
dropped afterwards; the speech encoder has then learned to sound like the text, which the decoder
of a translation model expects.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from asr.config import to_mapping
from asr.ctc import CtcConfig, CtcTask
from asr.manifest import Utterance
from asr.model import CTCModel, Emissions
from lm.errors import InputError
from st.model import TextTranslator, load_translator
from st.text_encoder import TextEncoder, TextEncoderConfig
from st.transport import TransportConfig, sinkhorn_divergence


@dataclass(frozen=True, kw_only=True)
class SiameseConfig:
    """The optimal transport beside CTC."""

    weight: float = 0.1
    """Of the distance, per label, beside CTC's loss per label (Le et al. 2023: 0.1); 0 is CTC alone."""
    layer: int = 0
    """Of the speech encoder, whose states are compared; 0 is the last."""
    transport: TransportConfig = field(default_factory=TransportConfig)
    text: TextEncoderConfig = field(default_factory=TextEncoderConfig)
    """The text encoder, where none is taken from an MT model; its width is the speech encoder's."""
    text_from: str = ""
    """Folder of a text translator whose encoder (and labels) to begin with."""
    freeze_text: bool = False
    """Keep the text encoder as it is."""

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise InputError(f"siamese.weight is {self.weight}. Give a number from 0, which is CTC alone.")


class SiameseModel(nn.Module):
    """A recogniser, and a text encoder for its labels."""

    def __init__(self, recogniser: CTCModel, config: SiameseConfig) -> None:
        super().__init__()
        width, depth = recogniser.encoder.width, recogniser.encoder.num_layers
        if not 0 <= config.layer <= depth:
            raise InputError(
                f"siamese.layer is {config.layer}; the encoder has layers 1 to {depth}, 0 is the last."
            )
        self.recogniser = recogniser
        self.layer = config.layer if config.layer < depth else 0
        self.transport = config.transport
        if config.text_from:
            self.text = text_encoder_of(config.text_from, recogniser)
        else:
            self.text = TextEncoder(len(recogniser.tokenizer), config.text)
        # Only states of one width can be compared; where they are, nothing stands between them.
        self.bridge = nn.Identity() if self.text.width == width else nn.Linear(self.text.width, width)
        if config.freeze_text:
            self.text.requires_grad_(False)

    def forward(
        self,
        waveforms: Tensor,
        num_samples: Tensor,
        labels: Tensor,
        num_labels: Tensor,
        layers: Collection[int],
    ) -> tuple[Emissions, Tensor]:
        """Emissions as `CTCModel.forward`'s, and the distance of each utterance's speech and text, (N,)."""
        wanted = {*layers, self.layer} - {0}
        encoded = self.recogniser.encoder(waveforms, num_samples, wanted)
        speech = encoded.layers[self.layer] if self.layer else encoded.hidden
        emissions = self.recogniser.emit(encoded)
        emissions.layers.pop(self.layer if self.layer not in layers else -1, None)
        text = self.bridge(self.text(labels, num_labels).hidden)
        with torch.autocast(speech.device.type, enabled=False):
            distance = sinkhorn_divergence(
                speech.float(), text.float(), encoded.num_frames, num_labels, self.transport
            )
        return emissions, distance


class SiameseTask(CtcTask):
    """`CtcTask` with the distance of speech and text; what is saved is the recogniser."""

    def __init__(
        self,
        model: CTCModel,
        train: Sequence[Utterance],
        dev: Sequence[Utterance],
        config: CtcConfig,
        seed: int,
        siamese: SiameseConfig,
    ) -> None:
        super().__init__(model, train, dev, config, seed)
        self.siamese = siamese
        self.model = SiameseModel(model, siamese)

    def _forward(
        self,
        model: nn.Module,
        waveforms: Tensor,
        num_samples: Tensor,
        labels: Tensor,
        num_labels: Tensor,
        layers: Collection[int],
    ) -> tuple[Emissions, Tensor | None]:
        emissions, distance = model(waveforms, num_samples, labels, num_labels, layers)
        return emissions, self.siamese.weight * distance.sum() / num_labels.sum()

    def recogniser_of(self, model: nn.Module) -> CTCModel:
        """The recogniser in what is trained."""
        assert isinstance(model, SiameseModel)
        return model.recogniser

    def fingerprint(self) -> dict[str, Any]:
        """That of CTC, and of the text encoder and the distance."""
        return {**super().fingerprint(), "siamese": json.loads(json.dumps(to_mapping(self.siamese)))}


def text_encoder_of(source: str | Path, recogniser: CTCModel) -> TextEncoder:
    """The encoder of a text translator, for the labels of a recogniser.

    Raises:
        InputError: it translates speech, or reads other labels.
    """
    model = load_translator(source)
    if not isinstance(model, TextTranslator) or model.source.surfaces != recogniser.tokenizer.surfaces:
        raise InputError(
            f"siamese.text_from {source}: it must be a text translator that reads the recogniser's labels. "
            "Train one with recipes.train_mt on the same manifest, with source.unit as the tokenizer's."
        )
    return model.encoder.train()

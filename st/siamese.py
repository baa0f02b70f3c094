"""Siamese pre-training: CTC, and the distance between what speech and text encoders make of one sentence.

Le et al. 2023, "Pre-training for speech translation: CTC meets optimal transport". The text encoder is
dropped afterwards; the speech encoder has then learned to sound like the text, which the decoder
of a translation model expects.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from asr.card import model_folder, read_card
from asr.config import from_mapping, to_mapping
from asr.ctc import CtcConfig, CtcTask
from asr.manifest import Utterance
from asr.model import CTCModel, Emissions, load_model, save_model
from lm.errors import InputError
from st.model import TextTranslator, load_translator
from st.text_encoder import TextEncoder, TextEncoderConfig
from st.transport import TransportConfig, sinkhorn_divergence

SIAMESE = "siamese.safetensors"


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
    shuffled: bool = False
    """Compare each utterance with the text of another: a control, which has nothing to learn from."""

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
        self.weight = config.weight
        self.layer = config.layer if config.layer < depth else 0
        self.transport = config.transport
        if config.text_from:
            self.text = text_encoder_of(config.text_from, recogniser)
        else:
            self.text = TextEncoder(len(recogniser.tokenizer), config.text)
        # Only states of one width can be compared; where they are, nothing stands between them.
        self.bridge = nn.Identity() if self.text.width == width else nn.Linear(self.text.width, width)
        if config.freeze_text or not self.weight:
            self.text.requires_grad_(False)
        if not self.weight:
            self.bridge.requires_grad_(False)

    def forward(
        self,
        waveforms: Tensor,
        num_samples: Tensor,
        labels: Tensor,
        num_labels: Tensor,
        layers: Collection[int],
    ) -> tuple[Emissions, Tensor | None]:
        """Emissions as `CTCModel.forward`'s, and the distance of each utterance's speech and text, (N,).

        Where it has no weight, there is no distance, and the text encoder is left alone.
        """
        if not self.weight:
            return self.recogniser(waveforms, num_samples, layers), None
        wanted = {*layers, self.layer} - {0}
        encoded = self.recogniser.encoder(waveforms, num_samples, wanted)
        speech = encoded.layers[self.layer] if self.layer else encoded.hidden
        asked = {number: encoded.layers[number] for number in layers}
        emissions = self.recogniser.emit(replace(encoded, layers=asked))
        text = self.texts(labels, num_labels)
        with torch.autocast(speech.device.type, enabled=False):
            try:
                distance = sinkhorn_divergence(
                    speech.float(), text.float(), encoded.num_frames, num_labels, self.transport
                )
            except ValueError as error:  # states that are no numbers
                raise InputError(f"the distance of speech and text: {error}") from error
        return emissions, distance

    def speech(self, waveforms: Tensor, num_samples: Tensor) -> tuple[Tensor, Tensor]:
        """States of speech that are compared, (N, T, D), and how many are real, (N,)."""
        encoded = self.recogniser.encoder(waveforms, num_samples, {self.layer} - {0})
        return encoded.layers[self.layer] if self.layer else encoded.hidden, encoded.num_frames

    def texts(self, labels: Tensor, num_labels: Tensor) -> Tensor:
        """States of texts that are compared, (N, L, D)."""
        states: Tensor = self.bridge(self.text(labels, num_labels).hidden)
        return states


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
        """
        Raises:
            InputError: there is a control, and nothing that it controls.
        """
        if siamese.shuffled and not siamese.weight:
            raise InputError(
                "siamese.shuffled is on, and siamese.weight is 0, with which nothing is compared. Leave out one."
            )
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
        if self.siamese.shuffled:
            labels, num_labels = labels.roll(1, dims=0), num_labels.roll(1, dims=0)
        emissions, distance = model(waveforms, num_samples, labels, num_labels, layers)
        if distance is None:
            return emissions, None
        return emissions, self.siamese.weight * distance.sum() / num_labels.sum()

    def recogniser_of(self, model: nn.Module) -> CTCModel:
        """The recogniser in what is trained."""
        assert isinstance(model, SiameseModel)
        return model.recogniser

    def save(self, model: nn.Module, folder: Path, facts: dict[str, Any]) -> None:
        """Write the recogniser's folder, with the text encoder beside it."""
        assert isinstance(model, SiameseModel)
        text = {f"text.{name}": value for name, value in model.text.state_dict().items()}
        text |= {f"bridge.{name}": value for name, value in model.bridge.state_dict().items()}
        facts = {**facts, "siamese": to_mapping(self.siamese), "text": to_mapping(model.text.config)}
        save_model(model.recogniser, folder, facts=facts, beside={SIAMESE: text})

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


def load_siamese(source: str | Path, text_from: str = "") -> SiameseModel:
    """A recogniser with the text encoder that it was pre-trained beside, to compare speech with text.

    Args:
        text_from: a text translator whose encoder to take instead, for recognisers that have none.
    Raises:
        InputError: it has none and ``text_from`` is empty, or a file is missing or altered.
    """
    folder = model_folder(source)
    recogniser = load_model(folder)
    if text_from:
        return SiameseModel(recogniser, SiameseConfig(text_from=text_from)).eval()
    facts = read_card(folder)["facts"]
    if "siamese" not in facts:
        raise InputError(f"model {folder} was not pre-trained beside a text encoder. Give --text-from.")
    config = from_mapping(SiameseConfig, {**facts["siamese"], "text": facts["text"], "text_from": ""})
    model = SiameseModel(recogniser, config)
    kept = load_file(folder / SIAMESE)
    model.load_state_dict({**model.state_dict(), **kept})
    return model.eval()

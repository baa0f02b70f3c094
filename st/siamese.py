"""Siamese pre-training: CTC, and the distance between what speech and text encoders make of one sentence.

Le et al. 2023, "Pre-training for speech translation: CTC meets optimal transport". The text encoder is
dropped afterwards; the speech encoder has then learned to sound like the text, which the decoder
of a translation model expects.

Going on from a recogniser with few hours, the paper's settings match the means of both sides and no more: the
distance falls as far with the texts of others. Speech finds its text where four things are otherwise: the text
encoder stands still, a linear layer carries speech to it, only frames that write something are compared, and
states have unit length, so that the position counts (egs/mboshi_fr/RESULTS.md).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from asr.card import model_folder, own_folder, read_card
from asr.config import from_mapping, to_mapping
from asr.ctc import CtcConfig, CtcTask
from asr.encoder import EncoderOutput
from asr.fingerprint import identity
from asr.manifest import Utterance
from asr.model import CTCModel, Emissions, load_model, save_model
from lm.errors import InputError
from st.compress import written_frames
from st.hub.encoder import HubTextEncoder
from st.model import SpeechTranslator, TextTranslator, TranslationModel, load_translator
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
    """Folder of a text translator whose encoder (and labels) to begin with; or a published MT model by hub name or
    folder (NLLB-200, M2M-100, mBART-50), whose encoder reads what the recogniser's labels write."""
    language: str = ""
    """Of the transcripts, by the published model's own code, as ``quy_Latn``."""
    freeze_text: bool = False
    """Keep the text encoder as it is, and without dropout: where it may move too, both sides can meet in one point."""
    bridge: bool = False
    """Let a linear layer carry the speech's states to the text's; without, only where their widths differ or the text
    encoder is published.
    recipes.train_st builds it into the decoder, so that the translation model stays what it was."""
    compress: bool = False
    """Compare only the frames in which the recogniser writes (`st.compress`): the text has nothing for the others."""
    shuffled: bool = False
    """Compare each utterance with the text of another: a control, which has nothing to learn from."""

    def __post_init__(self) -> None:
        if not 0 <= self.weight < math.inf:
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
        self.text = text_encoder(config, recogniser)
        self.compress = config.compress
        self.bridge: nn.Module = nn.Identity()
        # The decoder of a published model looks through a bridge in any case: it begins with this one.
        bridged = config.bridge or isinstance(self.text, HubTextEncoder)
        if self.text.width != width or (bridged and config.weight):
            self.bridge = nn.Linear(width, self.text.width)
            nn.init.eye_(self.bridge.weight)
            nn.init.zeros_(self.bridge.bias)
        self.frozen = config.freeze_text or not self.weight
        if self.frozen:
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
        asked = {number: encoded.layers[number] for number in layers}
        emissions = self.recogniser.emit(replace(encoded, layers=asked))
        speech, num_frames = self._compared(encoded, emissions)
        text, num_states = self.texts(labels, num_labels)
        with torch.autocast(speech.device.type, enabled=False):
            try:
                distance = sinkhorn_divergence(
                    speech.float(), text.float(), num_frames, num_states, self.transport
                )
            except ValueError as error:  # states that are no numbers
                raise InputError(f"the distance of speech and text: {error}") from error
        return emissions, distance

    def train(self, mode: bool = True) -> SiameseModel:
        """As torch's; a frozen text encoder says the same of a text every time, so it drops nothing."""
        super().train(mode)
        if self.frozen:
            self.text.eval()
        return self

    def speech(self, waveforms: Tensor, num_samples: Tensor) -> tuple[Tensor, Tensor]:
        """States of speech that are compared, (N, T, D), and how many are real, (N,)."""
        encoded = self.recogniser.encoder(waveforms, num_samples, {self.layer} - {0})
        return self._compared(encoded, self.recogniser.emit(encoded))

    def texts(self, labels: Tensor, num_labels: Tensor) -> tuple[Tensor, Tensor]:
        """States of texts that are compared, (N, P, D), and how many are real, (N,): those of the labels, or of a
        published model's pieces."""
        encoded: EncoderOutput = self.text(labels, num_labels)
        return encoded.hidden, encoded.num_frames

    def _compared(self, encoded: EncoderOutput, emissions: Emissions) -> tuple[Tensor, Tensor]:
        states = self.bridge(encoded.layers[self.layer] if self.layer else encoded.hidden)
        if not self.compress:
            return states, encoded.num_frames
        return written_frames(states, encoded.num_frames, emissions, self.recogniser.tokenizer.blank)


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
        counted = torch.ones_like(num_labels)
        if self.siamese.shuffled:
            own, labels, num_labels = labels, labels.roll(1, dims=0), num_labels.roll(1, dims=0)
            # Alone, or beside one of the same text, an utterance would be compared with its own.
            counted = (labels != own).any(dim=1).to(num_labels)
        emissions, distance = model(waveforms, num_samples, labels, num_labels, layers)
        if distance is None:
            return emissions, None
        total = (num_labels * counted).sum().clamp(min=1)
        return emissions, self.siamese.weight * (distance * counted).sum() / total

    def recogniser_of(self, model: nn.Module) -> CTCModel:
        """The recogniser in what is trained."""
        assert isinstance(model, SiameseModel)
        return model.recogniser

    def save(self, model: nn.Module, folder: Path, facts: dict[str, Any]) -> None:
        """Write the recogniser's folder, with the text encoder beside it."""
        assert isinstance(model, SiameseModel)
        text = {f"text.{name}": value for name, value in model.text.state_dict().items()}
        text |= {f"bridge.{name}": value for name, value in model.bridge.state_dict().items()}
        facts = {**facts, "siamese": to_mapping(self.siamese)}
        if isinstance(model.text, TextEncoder):
            facts["text"] = to_mapping(model.text.config)
        save_model(model.recogniser, folder, facts=facts, beside={SIAMESE: text})

    def fingerprint(self) -> dict[str, Any]:
        """That of CTC, and of the text encoder and the distance."""
        settings = {**to_mapping(self.siamese), "text_from": identity(self.siamese.text_from)}
        return {**super().fingerprint(), "siamese": settings}


def text_encoder(config: SiameseConfig, recogniser: CTCModel) -> TextEncoder | HubTextEncoder:
    """The text encoder beside a recogniser: new, a text translator's of ours, or a published model's.

    Raises:
        InputError: a model of ours translates speech or reads other labels; or a published one cannot be had, is of
            another kind, does not know the language, or is to be trained.
    """
    source = config.text_from
    published = bool(source) and own_folder(source) is None
    if config.language and not published:
        raise InputError(
            f"siamese.language is {config.language}, and siamese.text_from names no published MT model that it would "
            "be for. Give one, or leave it out."
        )
    if not source:
        return TextEncoder(len(recogniser.tokenizer), config.text)
    if published:
        if not config.freeze_text:
            raise InputError(
                f"siamese.text_from {source}: no folder of ours, so a published model, which stands still. Set "
                "siamese.freeze_text=true, or give the folder of a text translator of recipes.train_mt."
            )
        return HubTextEncoder(source, config.language, recogniser.tokenizer)
    model = load_translator(source)
    if not isinstance(model, TextTranslator) or model.source.surfaces != recogniser.tokenizer.surfaces:
        raise InputError(
            f"siamese.text_from {source}: it must be a text translator that reads the recogniser's labels. "
            "Train one with recipes.train_mt on the same manifest, with source_from=RECOGNISER."
        )
    return model.encoder.train()


def load_siamese(source: str | Path, text_from: str = "") -> SiameseModel:
    """A recogniser with the text encoder that it was pre-trained beside, to compare speech with text.

    Args:
        text_from: a text translator whose encoder to take instead, for recognisers that have none. The states that
            are compared are those of the recogniser's training, where it had an optimal transport.
    Raises:
        InputError: it has none and ``text_from`` is empty, none of its parts was trained, nothing that was trained
            stands between states of different widths, or a file is missing or altered.
    """
    folder = model_folder(source)
    if text_from:
        model_folder(text_from)  # one of ours: a published one would need a language
    recogniser = load_model(folder)
    facts = read_card(folder)["facts"]
    if not text_from and "siamese" not in facts:
        raise InputError(f"model {folder} was not pre-trained beside a text encoder. Give --text-from.")
    stored = from_mapping(
        SiameseConfig, {**facts.get("siamese", {"weight": 0.0}), "text": facts.get("text", {})}
    )
    if not text_from and not stored.weight and not stored.text_from:
        raise InputError(
            f"model {folder} was trained with siamese.weight=0, and the text encoder beside it is as it was made: at "
            "random. Give --text-from."
        )
    if text_from or "text" in facts:  # and what is not published lies beside the recogniser
        stored = replace(stored, text_from=text_from, language="")
    model = SiameseModel(recogniser, stored)
    if not text_from and not (folder / SIAMESE).is_file():
        raise InputError(
            f"model {folder} is a copy without the text encoder that it was pre-trained beside ({SIAMESE}). Give the "
            "experiment folder, or --text-from."
        )
    kept = _beside(folder)
    if text_from:
        kept = {name: value for name, value in kept.items() if name.startswith("bridge.")}
    own = model.state_dict()
    if isinstance(model.bridge, nn.Linear) and (
        "bridge.weight" not in kept or kept["bridge.weight"].shape != own["bridge.weight"].shape
    ):
        raise InputError(
            f"model {folder}: its states have width {recogniser.encoder.width}, those of the text encoder "
            f"{text_from or stored.text_from} {model.text.width}, and nothing was trained that compares the two. Give "
            "a text translator of the first width, or pre-train beside this one with siamese.weight above 0."
        )
    model.load_state_dict({**own, **{name: value for name, value in kept.items() if name in own}})
    return model.eval()


def look_through_bridge(model: SpeechTranslator, other: TranslationModel | None, source: str | Path) -> None:
    """Show a decoder speech as the recogniser's pre-training showed it to texts, if that left a bridge.

    Says on stderr whether it does.

    Args:
        model: the one with the decoder.
        other: whose decoder was copied; None where it is a published model's.
        source: folder of the recogniser.
    """
    bridge = trained_bridge(source, model.recogniser.encoder.num_layers)
    if bridge is None:
        return
    what = "the bridge of the recogniser's pre-training"
    own = other.decoder.bridge if other else None
    width, wanted = bridge.out_features, model.decoder.config.width
    if layers := len(model.adaptor.layers):
        said = f"without {what}: it begins at states that adaptor_layers={layers} shortens"
    elif isinstance(own, nn.Linear):
        said = f"without {what}: it ends at width {width}, and the decoder's own begins at {own.in_features}"
    elif width != wanted:
        said = f"without {what}: it ends at width {width}, and the decoder looks at {wanted}"
    else:
        model.decoder.look_through(bridge)
        said = f"with {what}"
    print(f"decoder: begins {said}", file=sys.stderr)


def trained_bridge(source: str | Path, num_layers: int) -> nn.Linear | None:
    """What carries a recogniser's last states to those of the text encoder it was pre-trained beside, if anything does.

    Args:
        num_layers: of its encoder; a bridge that begins at an earlier one is none, which is said on stderr.
    """
    folder = model_folder(source)
    kept = _beside(folder)
    if "bridge.weight" not in kept:
        return None
    layer = read_card(folder)["facts"]["siamese"].get("layer", 0)
    if layer not in (0, num_layers):
        print(
            f"recogniser {folder}: the bridge of its pre-training begins at layer {layer} of {num_layers}, and a "
            "decoder looks at the last",
            file=sys.stderr,
        )
        return None
    width, inner = kept["bridge.weight"].shape
    bridge = nn.Linear(inner, width)
    bridge.load_state_dict({name: kept[f"bridge.{name}"] for name in ("weight", "bias")})
    return bridge


def _beside(folder: Path) -> dict[str, Tensor]:
    """What was kept beside a recogniser, if anything was; without a bridge that nothing has trained."""
    if not (folder / SIAMESE).is_file():
        return {}
    kept = load_file(folder / SIAMESE)
    if not read_card(folder)["facts"].get("siamese", {}).get("weight"):
        kept = {name: value for name, value in kept.items() if not name.startswith("bridge.")}
    return kept

"""Translation models: of speech, and of text; the folders they are kept in."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from asr.card import WEIGHTS, check_files, model_folder, read_card, write_card, write_model_folder
from asr.checkpoint import write_tensors
from asr.config import from_mapping
from asr.encoder import build_encoder
from asr.features import frame_mask
from asr.model import CTCModel, Emissions, check_apart, copy_beside, stored_state
from asr.text import TOKENIZER
from asr.tokenizer import Tokenizer
from lm.errors import InputError
from st.compress import written_frames
from st.decoder import DecoderConfig, TextDecoder
from st.text_encoder import TextEncoder, TextEncoderConfig

if TYPE_CHECKING:
    from st.hub.decoder import HubDecoderConfig

TARGET = "target.json"
BRIDGE = {"bridge.weight", "bridge.bias"}
"""Of a decoder, what carries memories of another width to its own."""
END = 0
"""The label that opens and closes a text: the blank of a tokenizer, which writes nothing."""


@dataclass(frozen=True)
class Memory:
    """What a decoder looks at."""

    states: Tensor
    """(N, T, D)."""
    num_frames: Tensor
    """(N,)."""
    emissions: Emissions | None = None
    """Of the speech encoder: log-probabilities of the transcript's labels."""
    target_emissions: Emissions | None = None
    """Log-probabilities of the translation's labels, where a CTC layer for them was trained."""

    def apart(self) -> list[Memory]:
        """What the decoder looks at of each utterance, N = 1, without padding."""
        found = []
        for number, size in enumerate(self.num_frames.tolist()):
            row = slice(number, number + 1)
            target = self.target_emissions
            if target is not None:
                frames = target.num_frames[row]
                target = Emissions(target.values[row, : int(frames)], frames)
            found.append(Memory(self.states[row, :size], self.num_frames[row], None, target))
        return found

    @staticmethod
    def together(memories: Sequence[Memory]) -> Memory:
        """One of several that came `apart`."""
        targets = [each.target_emissions for each in memories if each.target_emissions is not None]
        return Memory(
            pad_sequence([each.states[0] for each in memories], batch_first=True),
            torch.cat([each.num_frames for each in memories]),
            None,
            Emissions(
                pad_sequence([each.values[0] for each in targets], batch_first=True),
                torch.cat([each.num_frames for each in targets]),
            )
            if targets
            else None,
        )


class LengthAdaptor(nn.Module):
    """Shortens the encoder's states by strided convolutions with gates (Gaido et al. 2021); padding is zero."""

    def __init__(self, width: int, layers: int) -> None:
        """
        Args:
            layers: each halves the length; none changes nothing.
        """
        if layers < 0:
            raise InputError(f"adaptor_layers is {layers}. Give a number from 0, which shortens nothing.")
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv1d(width, 2 * width, 3, stride=2, padding=1) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width) if layers else nn.Identity()

    def forward(self, states: Tensor, num_frames: Tensor) -> tuple[Tensor, Tensor]:
        """(N, T, D) and (N,) -> (N, T', D) and (N,)."""
        for layer in self.layers:
            real = states * frame_mask(num_frames, states.shape[1])[..., None]
            states = F.glu(layer(real.mT), dim=1).mT
            num_frames = (num_frames + 1) // 2
        return self.norm(states), num_frames


class TranslatorBase(nn.Module):
    """What translators of speech and of text share: a memory of what was said, and a decoder that looks at it."""

    languages = ("", "")
    """Source and target, by the codes of the manifest that it was trained on."""
    tokenizer: Tokenizer
    decoder: TextDecoder

    def memory(self, inputs: Tensor, lengths: Tensor) -> Memory:
        """What the decoder looks at, of waveforms or labels (N, S) and how much of each row is real, (N,)."""
        raise NotImplementedError

    def forward(self, inputs: Tensor, lengths: Tensor, written: Tensor) -> tuple[Tensor, Memory]:
        """Logits of the label after each of ``written`` (N, L), (N, L, C), and what was looked at."""
        memory = self.memory(inputs, lengths)
        return self.decoder(written, memory.states, memory.num_frames), memory


class SpeechTranslator(TranslatorBase):
    """Speech encoder, length adaptor, decoder; with the recogniser's output layer it transcribes too."""

    holds = "speech translator"

    def __init__(
        self,
        recogniser: CTCModel,
        tokenizer: Tokenizer,
        decoder: DecoderConfig | HubDecoderConfig,
        *,
        adaptor_layers: int = 1,
        compress: bool = False,
        target_ctc: bool = False,
    ) -> None:
        """
        Args:
            tokenizer: of the translations; its blank is 0.
            decoder: of our own, or of a published MT model.
            adaptor_layers: halvings between encoder and decoder.
            compress: let the decoder see only frames in which the recogniser writes.
            target_ctc: a CTC layer for the translation on the encoder too, for joint training and search.
        """
        super().__init__()
        width = recogniser.encoder.width
        self.recogniser = recogniser
        self.tokenizer = tokenizer
        self.compress = compress
        self.adaptor = LengthAdaptor(width, adaptor_layers)
        self.decoder = build_decoder(len(tokenizer), width, decoder)
        self.target_head = nn.Linear(width, len(tokenizer)) if target_ctc else None

    def memory(self, waveforms: Tensor, num_samples: Tensor) -> Memory:
        """What the decoder looks at; arguments as `CTCModel.forward`'s."""
        encoded = self.recogniser.encoder(waveforms, num_samples)
        emissions = self.recogniser.emit(encoded)
        states, num_frames = encoded.hidden, encoded.num_frames
        if self.compress:
            states, num_frames = written_frames(
                states, num_frames, emissions, self.recogniser.tokenizer.blank
            )
        states, num_frames = self.adaptor(states, num_frames)
        target = None
        if self.target_head is not None:
            target = Emissions(self.target_head(encoded.hidden).float().log_softmax(-1), encoded.num_frames)
        return Memory(states, num_frames, emissions, target)


class TextTranslator(TranslatorBase):
    """Text encoder and decoder: machine translation, for cascades and as a beginning for the speech decoder."""

    holds = "text translator"

    def __init__(
        self, source: Tokenizer, tokenizer: Tokenizer, encoder: TextEncoderConfig, decoder: DecoderConfig
    ) -> None:
        super().__init__()
        self.source = source
        self.tokenizer = tokenizer
        self.encoder = TextEncoder(len(source), encoder)
        self.decoder = TextDecoder(len(tokenizer), encoder.width, decoder)

    def memory(self, labels: Tensor, num_labels: Tensor) -> Memory:
        """What the decoder looks at; arguments as `TextEncoder.forward`'s."""
        encoded = self.encoder(labels, num_labels)
        return Memory(encoded.hidden, encoded.num_frames)


TranslationModel = SpeechTranslator | TextTranslator


def build_decoder(
    num_labels: int, memory_width: int, config: DecoderConfig | HubDecoderConfig
) -> TextDecoder:
    """The decoder that a configuration describes, its weights at random; arguments as `TextDecoder`'s."""
    if isinstance(config, DecoderConfig):
        return TextDecoder(num_labels, memory_width, config)
    # transformers takes seconds to import; a model of our own does not need it.
    from st.hub.decoder import HubDecoder

    # It has the methods of ours, and nobody asks for more.
    return cast(TextDecoder, HubDecoder(num_labels, memory_width, config))


def _decoder_config(values: dict[str, Any]) -> DecoderConfig | HubDecoderConfig:
    """What a card says of its decoder."""
    if "kind" not in values:
        return from_mapping(DecoderConfig, values, "decoder.")
    from st.hub.decoder import HubDecoderConfig

    return from_mapping(HubDecoderConfig, values, "decoder.")


def save_translator(
    model: TranslationModel,
    folder: str | Path,
    *,
    facts: dict[str, Any] | None = None,
    half: bool = False,
    lm: Path | None = None,
    readme: Path | None = None,
) -> None:
    """Write a translation model, whole or not at all; a folder that exists is replaced.

    Args:
        facts: how it came about.
        half: store the weights as float16, for shipping.
        lm: language model folder for the transcripts, to copy into it.
        readme: model card in Markdown to copy into it.
    """
    with write_model_folder(folder) as partial:
        write_tensors(stored_state(model, half=half), partial / WEIGHTS)
        source = model.recogniser.tokenizer if isinstance(model, SpeechTranslator) else model.source
        source.save(partial / TOKENIZER)
        model.tokenizer.save(partial / TARGET)
        if isinstance(model, SpeechTranslator):
            parts: dict[str, Any] = {
                "encoder": model.recogniser.encoder.config(),
                "emissions_per_frame": model.recogniser.per_frame,
                "frames_per_second": model.recogniser.grid.frames_per_second,
                "adaptor_layers": len(model.adaptor.layers),
                "compress": model.compress,
                "target_ctc": model.target_head is not None,
            }
        else:
            parts = {"encoder": dataclasses.asdict(model.encoder.config)}
        copy_beside(partial, lm, readme)
        write_card(
            partial,
            (WEIGHTS, TOKENIZER, TARGET),
            holds=model.holds,
            language_model=lm is not None,
            languages=list(model.languages),
            decoder=dataclasses.asdict(model.decoder.config),
            facts=facts or {},
            **parts,
        )


def is_translator(source: str | Path) -> bool:
    """Whether an experiment or model folder holds a translator, of speech or text."""
    return read_card(model_folder(source)).get("holds") in (SpeechTranslator.holds, TextTranslator.holds)


def pack_translator(
    source: str | Path, out: Path, *, lm: Path | None = None, readme: Path | None = None
) -> None:
    """Copy a translator for shipping, as `asr.model.pack_model` copies a recogniser."""
    folder = model_folder(source)
    check_apart(out, folder, lm, readme)
    facts = read_card(folder)["facts"]
    save_translator(load_translator(folder), out, facts=facts, half=True, lm=lm, readme=readme)


def load_translator(source: str | Path, device: str | torch.device = "cpu") -> TranslationModel:
    """Read an experiment or model folder, checking every file.

    Raises:
        InputError: it holds no translation model, or a file is missing or altered.
    """
    folder = model_folder(source)
    card = read_card(folder)
    if not is_translator(folder):
        raise InputError(
            f"model {folder}: it holds a {card.get('holds', 'recogniser')}, not a translator. "
            "Give the folder that recipes.train_st or recipes.train_mt wrote."
        )
    check_files(folder, card)
    tokenizer, target = Tokenizer.load(folder / TOKENIZER), Tokenizer.load(folder / TARGET)
    decoder = _decoder_config(card["decoder"])
    model: TranslationModel
    if card["holds"] == SpeechTranslator.holds:
        recogniser = CTCModel(
            build_encoder(card["encoder"]), tokenizer, per_frame=card["emissions_per_frame"]
        )
        model = SpeechTranslator(
            recogniser,
            target,
            decoder,
            adaptor_layers=card["adaptor_layers"],
            compress=card.get("compress", False),  # older models have none
            target_ctc=card["target_ctc"],
        )
    else:
        encoder = from_mapping(TextEncoderConfig, card["encoder"], "encoder.")
        assert isinstance(decoder, DecoderConfig)
        model = TextTranslator(tokenizer, target, encoder, decoder)
    source_language, target_language = card.get("languages", ("", ""))
    model.languages = (source_language, target_language)
    tensors = {name: value.float() for name, value in load_file(folder / WEIGHTS).items()}
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(f"model {folder}: the weights do not fit the card. Copy it again, whole.") from error
    return model.to(device).eval()


def copy_decoder(model: TranslationModel, other: TranslationModel, name: str | Path) -> None:
    """Begin with the decoder of another model; a bridge to memories of another width stays as it is.

    Raises:
        InputError: it has other sizes or labels.
    """
    if other.tokenizer.surfaces != model.tokenizer.surfaces:
        raise InputError(f"{name}: its translations have other labels. Take its tokenizer, too.")
    own, theirs = model.decoder.state_dict(), other.decoder.state_dict()
    shared = own.keys() & theirs.keys()
    odd = (own.keys() | theirs.keys()) - {key for key in shared if own[key].shape == theirs[key].shape}
    if odd - BRIDGE:
        raise InputError(
            f"{name}: its decoder has another size than the configuration's: {other.decoder.config} and "
            f"{model.decoder.config}. Give the same."
        )
    # A bias is worth nothing without the weight that it was learned with.
    left = BRIDGE if odd else set()
    model.decoder.load_state_dict({**own, **{key: theirs[key] for key in theirs.keys() - left}})

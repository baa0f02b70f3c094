"""A CTC model: an encoder, an output layer, a tokenizer, and the folder they are kept in."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from asr.batches import padded
from asr.card import CARD, WEIGHTS, check_files, model_folder, read_card, write_card, write_model_folder
from asr.checkpoint import write_tensors
from asr.dropout import Dropout
from asr.encoder import Encoder, EncoderOutput, build_encoder
from asr.encoder.lora import plain_state
from asr.text import TOKENIZER, TextPolicy
from asr.tokenizer import Tokenizer
from lm.errors import InputError
from lm.folder import copy_folder

if TYPE_CHECKING:
    from asr.encoder.published import PublishedLanguageModel

LANGUAGE_MODEL = "lm"


@dataclass(frozen=True)
class Emissions:
    """What the encoder says of a batch: log-probabilities of each label at each frame."""

    values: Tensor
    """(N, T, C) float32."""
    num_frames: Tensor
    """(N,)."""
    layers: dict[int, Tensor] = field(default_factory=dict)
    """The same from intermediate layers that were asked for."""


class CTCModel(nn.Module):
    """Encoder, dropout and one linear layer; its output is normalised in float32.

    The layer may emit several times for each frame of the encoder: CTC needs a frame for every label and
    one between equal labels, and at 25 frames a second fast speech leaves it none to choose from.
    """

    def __init__(
        self, encoder: Encoder, tokenizer: Tokenizer, *, dropout: float = 0.1, per_frame: int = 1
    ) -> None:
        """
        Args:
            dropout: in front of the output layer.
            per_frame: emissions for each frame of the encoder.
        """
        super().__init__()
        self.per_frame = per_frame
        self.grid = encoder.grid.split(per_frame)
        self.encoder = encoder
        self.tokenizer = tokenizer
        self.languages: tuple[str, ...] = ()
        """Of the texts that it was trained on; empty where that is not known."""
        self.dropout = Dropout(dropout)
        self.head = nn.Linear(encoder.width, per_frame * len(tokenizer))

    def forward(self, waveforms: Tensor, num_samples: Tensor, layers: Collection[int] = ()) -> Emissions:
        """Emissions of a batch.

        Args:
            waveforms: 16 kHz, zero-padded at the end, (N, S).
            num_samples: valid samples, (N,).
            layers: intermediate layers to emit from too, through the same output layer
                (Lee and Watanabe 2021).
        """
        return self.emit(self.encoder(waveforms, num_samples, layers))

    def emit(self, encoded: EncoderOutput) -> Emissions:
        """Emissions of what the encoder gave."""
        return Emissions(
            self._emit(encoded.hidden),
            encoded.num_frames * self.per_frame,
            {number: self._emit(hidden) for number, hidden in encoded.layers.items()},
        )

    def batch_seconds(self, wanted: float = 0.0) -> float:
        """Most seconds of audio, padding included, to encode at once: ``wanted``, or what suits the device.

        8 on a CPU, where larger batches only cost padding and cache; 120 on a GPU.
        """
        return wanted or (8.0 if self.on_cpu else 120.0)

    @property
    def on_cpu(self) -> bool:
        """Whether it computes on a CPU."""
        return self.head.weight.device.type == "cpu"

    @property
    def threads_beside(self) -> int:
        """Threads for other work meanwhile: on a CPU the encoder keeps all cores busy."""
        return 1 if self.on_cpu else torch.get_num_threads()

    @torch.inference_mode()
    def emissions(self, waveforms: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Log-probabilities (T, C) of each waveform, without its padding."""
        batch, num_samples = padded(waveforms)
        device = self.head.weight.device
        out = self(batch.to(device), num_samples.to(device))
        values, num_frames = out.values.cpu().numpy(), out.num_frames.tolist()
        return [row[:frames] for row, frames in zip(values, num_frames, strict=True)]

    def _emit(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(hidden))  # (N, T, D) -> (N, T, K C)
        batch, frames, _ = logits.shape
        logits = logits.reshape(batch, frames * self.per_frame, len(self.tokenizer))  # (N, T K, C)
        return logits.float().log_softmax(dim=-1)


def save_model(
    model: CTCModel,
    folder: str | Path,
    *,
    facts: dict[str, Any] | None = None,
    half: bool = False,
    lm: Path | None = None,
    readme: Path | None = None,
    beside: Mapping[str, Mapping[str, Tensor]] | None = None,
) -> None:
    """Write a model folder, whole or not at all; a folder that exists is replaced.

    Args:
        facts: how the model came about; kept in ``loquela.json``.
        half: store the weights as float16, for shipping.
        lm: language model folder to copy into it; the card then says that there is one.
        readme: model card in Markdown to copy into it.
        beside: weights that the training needed and the recogniser does without, by file name.
    """
    with write_model_folder(folder) as partial:
        write_tensors(stored_state(model, half=half), partial / WEIGHTS)
        model.tokenizer.save(partial / TOKENIZER)
        for name, weights in (beside or {}).items():
            write_tensors(weights, partial / name)
        copy_beside(partial, lm, readme)
        write_card(
            partial,
            (WEIGHTS, TOKENIZER, *(beside or {})),
            holds="recogniser",
            encoder=model.encoder.config(),
            emissions_per_frame=model.per_frame,
            frames_per_second=model.grid.frames_per_second,
            languages=list(model.languages),
            facts=facts or {},
            language_model=lm is not None,
        )


def stored_state(model: nn.Module, *, half: bool) -> dict[str, Tensor]:
    """Weights as a model folder has them: adapters merged, and float16 where ``half``."""
    return {
        name: value.half() if half and value.is_floating_point() else value
        for name, value in plain_state(model).items()
    }


def copy_beside(folder: Path, lm: Path | None, readme: Path | None) -> None:
    """Put a language model and a model card into a folder that is being written."""
    if lm:
        copy_folder(lm, folder / LANGUAGE_MODEL)
    if readme:
        shutil.copyfile(readme, folder / "README.md")


def own_language_model(folder: Path) -> Path | None:
    """The language model that belongs to a model folder.

    One that the card tells of and that got lost is missed when it is opened, not passed over.
    """
    own = folder / LANGUAGE_MODEL
    return own if own.is_dir() or read_card(folder).get("language_model") else None


def check_apart(out: Path, *sources: Path | None) -> None:
    """Refuse to replace a folder by what is made of it.

    Raises:
        InputError: ``out`` holds one of the sources.
    """
    for path in filter(None, sources):
        if path.resolve().is_relative_to(out.resolve()):
            raise InputError(f"{out} holds {path}, which goes into it. Give another folder to write.")


def pack_model(source: str | Path, out: Path, *, lm: Path | None = None, readme: Path | None = None) -> None:
    """Copy a model folder for shipping: float16 weights, and perhaps a language model and a model card inside.

    Args:
        source: experiment or model folder.
    """
    folder = model_folder(source)
    check_apart(Path(out), folder, lm, readme)
    save_model(load_model(folder), out, facts=read_card(folder)["facts"], half=True, lm=lm, readme=readme)


def load_model(folder: str | Path, device: str | torch.device = "cpu") -> CTCModel:
    """Read a model folder, checking every file.

    Raises:
        InputError: not a model folder, or a file is missing or altered.
    """
    folder = Path(folder)
    card = read_card(folder)
    holds = card.get("holds", "recogniser")
    if holds == "encoder":
        raise InputError(
            f"model {folder}: it holds an encoder without an output layer. Fine-tune it first: "
            f"python -m recipes.finetune_ctc CONFIG encoder.kind=saved encoder.source={folder}."
        )
    if holds != "recogniser":
        remedy = "Give it as --segmenter-model" if holds == "segmenter" else "Use `loquela translate`"
        raise InputError(f"model {folder}: it holds a {holds}, not a recogniser. {remedy}.")
    check_files(folder, card)
    model = CTCModel(
        build_encoder(card["encoder"]),
        Tokenizer.load(folder / TOKENIZER),
        per_frame=card.get("emissions_per_frame", 1),
    )
    model.languages = tuple(card.get("languages", ()))
    tensors = {name: value.float() for name, value in load_file(folder / WEIGHTS).items()}
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(
            f"model {folder}: {WEIGHTS} does not fit {CARD}. Copy the folder again, whole."
        ) from error
    return model.to(device).eval()


def published_model(source: str | Path, language: str = "") -> tuple[CTCModel, PublishedLanguageModel | None]:
    """A published CTC checkpoint as it is, with its own labels, and the language model beside it.

    Args:
        source: hub name, folder of transformers', or fairseq's ``.pt``.
        language: for models with adapters or a vocabulary for each (MMS).
    Raises:
        InputError: it cannot be had or read, or needs a language.
    """
    # transformers takes seconds to import; a model of our own does not need it.
    from asr.encoder.published import load_published

    parts = load_published(source, language=language)
    # What it writes is taken as it comes: its own normalisation is in its labels.
    policy = TextPolicy(case="keep", punctuation="keep")
    model = CTCModel(parts.encoder, Tokenizer(surfaces=parts.surfaces, policy=policy, blank=parts.blank))
    model.head = parts.head
    return model.eval(), parts.language_model

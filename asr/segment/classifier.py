"""A classifier of frames: how probable is it that a frame lies inside a segment (SHAS, Tsiamas et al. 2022).

A layer of a speech encoder, perhaps some transformer layers, and one output. The encoder is either a published
one that stays as it is, or a small one that learns along.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from asr.card import CARD, WEIGHTS, check_files, model_folder, read_card, write_card, write_model_folder
from asr.checkpoint import write_tensors
from asr.dropout import Dropout
from asr.encoder import Encoder, build_encoder
from asr.features import frame_mask
from asr.model import check_apart, copy_beside, stored_state
from lm.errors import InputError

PACKAGED = Path(__file__).with_name("model")
"""The classifier that comes with the package; its README says what it has heard."""


class FrameClassifier(nn.Module):
    """Encoder, transformer layers, layer norm, one output for each frame."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        num_layers: int = 1,
        num_heads: int = 8,
        dropout: float = 0.1,
        frozen: bool = True,
    ) -> None:
        """
        Args:
            encoder: what is above the layer that is wanted has been taken off (`Encoder.keep_layers`).
            num_layers: transformer layers on top (SHAS: 1 for one language, 2 for several); 0 for none.
            num_heads: attention heads of each.
            frozen: leave the encoder as it is; it then neither learns nor drops nor masks.
        Raises:
            InputError: the heads do not divide the encoder's width.
        """
        super().__init__()
        if num_layers and encoder.width % num_heads:
            raise InputError(
                f"classifier.num_heads is {num_heads}, and the encoder's width {encoder.width} is no multiple of it. "
                "Change one."
            )
        self.settings = {"num_layers": num_layers, "num_heads": num_heads}
        self.encoder = encoder
        self.grid = encoder.grid
        self.frozen = frozen
        if frozen:
            encoder.requires_grad_(False)
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                encoder.width,
                num_heads,
                4 * encoder.width,
                dropout,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(encoder.width)
        self.head = nn.Linear(encoder.width, 1)

    def train(self, mode: bool = True) -> FrameClassifier:
        """A frozen encoder is never in training."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def forward(self, waveforms: Tensor, num_samples: Tensor) -> tuple[Tensor, Tensor]:
        """Log-odds of lying inside a segment (N, T), and the valid frames (N,).

        Args:
            waveforms: 16 kHz, zero-padded at the end, (N, S).
            num_samples: valid samples, (N,).
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            # The layer's own output, before a normalisation that belongs to the last layer.
            last = self.encoder.num_layers
            encoded = self.encoder(waveforms, num_samples, (last,))
        unseen = ~frame_mask(encoded.num_frames, encoded.hidden.shape[1])
        x = self.dropout(encoded.layers[last])
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=unseen)
        return self.head(self.norm(x))[..., 0].float(), encoded.num_frames


def save_classifier(
    model: FrameClassifier,
    folder: Path,
    *,
    facts: dict[str, Any] | None = None,
    half: bool = False,
    readme: Path | None = None,
) -> None:
    """Write a classifier's folder, whole or not at all; see `asr.model.save_model`."""
    with write_model_folder(folder) as partial:
        write_tensors(stored_state(model, half=half), partial / WEIGHTS)
        copy_beside(partial, None, readme)
        write_card(
            partial,
            (WEIGHTS,),
            holds="segmenter",
            encoder=model.encoder.config(),
            classifier=model.settings,
            facts=facts or {},
        )


def load_classifier(source: str | Path, device: str | torch.device = "cpu") -> FrameClassifier:
    """Read an experiment or model folder of `recipes.train_segmenter`, checking every file.

    Raises:
        InputError: it is none, or a file is missing or altered.
    """
    folder = model_folder(source)
    card = read_card(folder)
    if card.get("holds") != "segmenter":
        raise InputError(
            f"{source} holds no segmenter. Train one with python -m recipes.train_segmenter, or leave the option out: "
            "one comes with the package."
        )
    check_files(folder, card)
    model = FrameClassifier(build_encoder(card["encoder"]), **card["classifier"])
    try:
        model.load_state_dict({name: value.float() for name, value in load_file(folder / WEIGHTS).items()})
    except RuntimeError as error:
        raise InputError(
            f"segmenter {folder}: {WEIGHTS} does not fit {CARD}. Copy the folder again, whole."
        ) from error
    return model.to(device).eval()


def is_classifier(source: str | Path) -> bool:
    """Whether a folder holds a classifier of frames."""
    return read_card(model_folder(source)).get("holds") == "segmenter"


def pack_classifier(source: str | Path, out: Path, *, readme: Path | None = None) -> None:
    """Copy a classifier for shipping, with float16 weights and perhaps a model card."""
    folder = model_folder(source)
    check_apart(out, folder, readme)
    save_classifier(load_classifier(folder), out, facts=read_card(folder)["facts"], half=True, readme=readme)

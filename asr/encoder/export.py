"""Writing a model for transformers: a folder that its `AutoModelForCTC` and ASR pipeline open."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import save_file
from torch import nn

from asr.encoder.base import Encoder
from asr.encoder.transformers_encoder import FAMILIES, TransformersEncoder
from lm.errors import InputError


def export_transformers(
    encoder: Encoder, head: nn.Linear, surfaces: Sequence[str], blank: int, folder: str | Path
) -> Path:
    """Write encoder, CTC head and vocabulary as transformers' own files.

    Args:
        head: hidden states to logits, D to C.
        surfaces: the text each label writes; " " is the word boundary, "" the blank and every special.
        blank: number of the blank label.
        folder: must not exist yet.
    Raises:
        InputError: the encoder is none of transformers', two labels write the same, or ``folder`` exists.
    """
    folder = Path(folder)
    if not isinstance(encoder, TransformersEncoder):
        raise InputError(
            "only encoders of transformers' families can be exported; this one is loquela's own."
        )
    if folder.exists():
        raise InputError(f"{folder} exists already. Give a folder that does not.")
    labels, delimiter, unknown = _labels(surfaces, blank)
    config = {
        **encoder.model.config.to_dict(),
        "architectures": [f"{FAMILIES[encoder.kind]}ForCTC"],
        "vocab_size": len(labels),
        "pad_token_id": blank,
        "dtype": "float32",
    }
    tokenizer = {
        "tokenizer_class": "Wav2Vec2CTCTokenizer",
        "pad_token": labels[blank],
        "unk_token": unknown,
        "bos_token": None,
        "eos_token": None,
        "word_delimiter_token": delimiter,
        "replace_word_delimiter_char": " ",
        "do_lower_case": False,
    }
    files = {
        "config.json": config,
        "vocab.json": {label: number for number, label in enumerate(labels)},
        "tokenizer_config.json": tokenizer,
        "preprocessor_config.json": _preprocessor(encoder),
    }
    prefix = encoder.model.base_model_prefix
    weights = {
        f"{prefix}.{name}": value.detach().cpu().contiguous()
        for name, value in encoder.model.state_dict().items()
    }
    weights |= {
        f"lm_head.{name}": value.detach().cpu().contiguous() for name, value in head.state_dict().items()
    }
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Made beside its place and renamed, so that what stops halfway leaves no half model.
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}. Choose a folder that can be written.") from error
    try:
        for name, value in files.items():
            (made / name).write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        save_file(weights, made / "model.safetensors", metadata={"format": "pt"})
        made.chmod(0o755)
        os.replace(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def _labels(surfaces: Sequence[str], blank: int) -> tuple[list[str], str, str]:
    """A distinct token for each label, the word delimiter, and the token for what is unknown."""
    written = [surface for surface in surfaces if surface]
    repeated = sorted({surface for surface in written if written.count(surface) > 1})
    if repeated:
        raise InputError(
            f"labels {repeated[:4]} appear twice, which vocab.json cannot hold. Give each its own text."
        )
    delimiter = next(token for token in ("|", "▁", "<space>") if token not in written)
    free = iter(f"<unused{number}>" for number in range(len(surfaces)))
    labels = [delimiter if surface == " " else surface or next(free) for surface in surfaces]
    labels[blank] = "<pad>"
    specials = [number for number, surface in enumerate(surfaces) if not surface and number != blank]
    if specials:
        labels[specials[0]] = "<unk>"
    # Without an entry of its own the unknown falls to the blank rather than to a row the head lacks.
    return labels, delimiter, "<unk>" if specials else "<pad>"


def _preprocessor(encoder: TransformersEncoder) -> dict[str, object]:
    if encoder.filterbanks is None:
        return {
            "feature_extractor_type": "Wav2Vec2FeatureExtractor",
            "feature_size": 1,
            "sampling_rate": 16000,
            "padding_side": "right",
            "padding_value": 0.0,
            # transformers pads models with group normalisation without a mask, as they were trained.
            "return_attention_mask": getattr(encoder.model.config, "feat_extract_norm", "layer") == "layer",
            **encoder.preprocessor,
        }
    return {
        "feature_extractor_type": "SeamlessM4TFeatureExtractor",
        "feature_size": encoder.preprocessor["num_mel_bins"],
        "sampling_rate": 16000,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": True,
        **encoder.preprocessor,
    }

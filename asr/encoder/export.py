"""Writing a model for transformers: a folder that its `AutoModelForCTC` and ASR pipeline, or `AutoModel`, open."""

from __future__ import annotations

import copy
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import torch
from torch import nn

from asr.checkpoint import write_tensors
from asr.encoder.base import Encoder
from asr.encoder.transformers_encoder import FAMILIES, TransformersEncoder
from lm.errors import InputError

NEVER = -1e4
"""Logit of a label that is never written; finite, so that differences are."""


@dataclass(frozen=True)
class CtcHead:
    """The CTC layer of a recogniser, and what its labels write."""

    layer: nn.Linear
    """Hidden states (N, T, D) to logits (N, T, C)."""
    surfaces: tuple[str, ...] = ()
    """The text each label writes; " " is the word boundary, "" the blank and every special. Empty: not known."""
    blank: int = 0

    def without(self, labels: Collection[int]) -> CtcHead:
        """The head in which these labels are never the likeliest, in a copy of its layer.

        Other toolkits write the name of a label that writes nothing; a language's would stand in their texts.
        """
        layer = copy.deepcopy(self.layer)
        with torch.no_grad():
            layer.weight[list(labels)] = 0.0
            layer.bias[list(labels)] = NEVER
        return replace(self, layer=layer)


def export_transformers(encoder: Encoder, head: CtcHead | None, folder: str | Path) -> Path:
    """Write encoder, CTC head and vocabulary, or the encoder alone, as transformers' own files.

    Args:
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
    config = {**encoder.model.config.to_dict(), "dtype": "float32"}
    files: dict[str, object] = {"config.json": config, "preprocessor_config.json": _preprocessor(encoder)}
    weights = dict(encoder.model.state_dict())
    if head is None:
        config["architectures"] = [f"{FAMILIES[encoder.kind]}Model"]
    else:
        labels, delimiter, unknown = _labels(head.surfaces, head.blank)
        config |= {
            "architectures": [f"{FAMILIES[encoder.kind]}ForCTC"],
            "vocab_size": len(labels),
            "pad_token_id": head.blank,
        }
        files["vocab.json"] = {label: number for number, label in enumerate(labels)}
        files["tokenizer_config.json"] = {
            "tokenizer_class": "Wav2Vec2CTCTokenizer",
            "pad_token": labels[head.blank],
            "unk_token": unknown,
            "bos_token": None,
            "eos_token": None,
            "word_delimiter_token": delimiter,
            "replace_word_delimiter_char": " ",
            "do_lower_case": False,
        }
        prefix = encoder.model.base_model_prefix
        weights = {f"{prefix}.{name}": value for name, value in weights.items()}
        weights |= {f"lm_head.{name}": value for name, value in head.layer.state_dict().items()}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Made beside its place and renamed, so that what stops halfway leaves no half model.
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}. Choose a folder that can be written.") from error
    try:
        for name, value in files.items():
            (made / name).write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        write_tensors(weights, made / "model.safetensors", {"format": "pt"})
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
    free = chain(("<unk>", "<s>", "</s>"), (f"<unused{number}>" for number in range(len(surfaces))))
    labels = [delimiter if surface == " " else surface for surface in surfaces]
    labels[blank] = "<pad>"
    labels = [label or next(free) for label in labels]
    # Without an entry of its own the unknown falls to the blank rather than to a row the head lacks.
    return labels, delimiter, "<unk>" if "<unk>" in labels else "<pad>"


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

"""fairseq's and fairseq2's wav2vec 2.0 checkpoints (``.pt``), read without either by mapping their keys."""

from __future__ import annotations

import argparse
import ast
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from asr.encoder.layouts import (
    FAIRSEQ,
    FAIRSEQ2,
    FAIRSEQ2_OBJECTIVE,
    FAIRSEQ_OBJECTIVE,
    Table,
    renamed,
)
from asr.encoder.transformers_encoder import TransformersEncoder, weight_norm_name
from lm.errors import InputError

CTC_PREFIX = "w2v_encoder.w2v_model."
CTC_HEAD = "w2v_encoder.proj."

PRETRAINING_ONLY = re.compile(
    r"(quantizer|vector_quantizer|input_quantizer|project_q|project_inp|final_proj|final_target_proj|target_glu)\."
)

# fairseq's setting of the pre-trained model, transformers' field, fairseq's default.
SETTINGS = (
    ("encoder_layers", "num_hidden_layers", 12),
    ("encoder_embed_dim", "hidden_size", 768),
    ("encoder_ffn_embed_dim", "intermediate_size", 3072),
    ("encoder_attention_heads", "num_attention_heads", 12),
    ("activation_fn", "hidden_act", "gelu"),
    ("conv_bias", "conv_bias", False),
    ("conv_pos", "num_conv_pos_embeddings", 128),
    ("conv_pos_groups", "num_conv_pos_embedding_groups", 16),
    ("layer_norm_first", "do_stable_layer_norm", False),
)

CONV_STRIDES = (5, 2, 2, 2, 2, 2, 2)
"""Of every published wav2vec 2.0; fairseq2's files do not say."""

CONV_LAYERS = "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] + [(512,2,2)]"
"""fairseq's default ``conv_feature_layers``: width, kernel and stride of each."""


class FairseqFile:
    """A ``.pt`` of fairseq's or fairseq2's, read once, whatever is asked of it."""

    def __init__(self, path: str | Path, tokenizer: Path | None = None) -> None:
        """
        Args:
            tokenizer: the sentencepiece model of its labels, where that does not lie beside it.
        Raises:
            InputError: it cannot be read.
        """
        self.path = Path(path)
        self.source = str(path)
        self.tokenizer = tokenizer
        self.checkpoint = _read(self.path)
        self.state = _tensors(self.checkpoint)
        self.is_fairseq2 = any(name.startswith("encoder_frontend.") for name in self.state)
        """Whether weights carry fairseq2's names."""

    @property
    def is_recogniser(self) -> bool:
        """Whether there is a CTC layer."""
        return bool(self._head_prefix)

    def head(self) -> nn.Linear | None:
        """The CTC layer of a fine-tuned checkpoint; None for a pre-trained one."""
        if not self._head_prefix:
            return None
        weight, bias = (self.state[self._head_prefix + name] for name in ("weight", "bias"))  # (C, D), (C,)
        head = nn.Linear(weight.shape[1], weight.shape[0])
        head.load_state_dict({"weight": weight, "bias": bias})
        return head

    def objective(self) -> dict[str, Tensor]:
        """Quantiser and projections of a pre-trained checkpoint, by transformers' names; empty without."""
        found, _ = renamed(self.state, FAIRSEQ2_OBJECTIVE if self.is_fairseq2 else FAIRSEQ_OBJECTIVE)
        return found

    @property
    def _head_prefix(self) -> str:
        if self.is_fairseq2:
            # Pre-training has projections of this name, too, and one of the targets.
            prefix = "" if "final_target_proj.weight" in self.state else "final_proj."
        else:
            prefix = CTC_HEAD if any(name.startswith(CTC_PREFIX) for name in self.state) else ""
        return prefix if f"{prefix}weight" in self.state else ""


@dataclass(frozen=True)
class FairseqCheckpoint:
    """What a fairseq wav2vec 2.0 file holds."""

    encoder: TransformersEncoder
    head: nn.Linear | None
    """The CTC layer of a fine-tuned checkpoint; None for a pre-trained one."""
    fairseq2: bool = False
    """Whether the file carries fairseq2's names; its labels are then a sentencepiece model's."""


def load_fairseq(
    source: str | Path | FairseqFile, *, options: Mapping[str, Any] | None = None, **switches: bool
) -> FairseqCheckpoint:
    """Read a checkpoint, pre-trained (wav2vec_small, xlsr_53_56k, xlsr2_300m) or fine-tuned with CTC.

    Args:
        source: the ``.pt`` file.
        options: fields of transformers' configuration to change: dropout, masking, layerdrop.
        switches: ``gradient_checkpointing`` and ``narrowband`` of `TransformersEncoder`.
    Raises:
        InputError: the file cannot be read, is another kind of model, or its keys do not map.
    """
    file = source if isinstance(source, FairseqFile) else FairseqFile(source)
    path, state = file.path, file.state
    if file.is_fairseq2:
        return _load_fairseq2(file, options or {}, switches)
    if any(name.startswith(CTC_PREFIX) for name in state):
        rest = [name for name in state if not name.startswith((CTC_PREFIX, CTC_HEAD))]
        if rest:
            raise InputError(
                f"{path}: no mapping for {_listed(rest)}. Only wav2vec 2.0 with a CTC layer is read."
            )
        state = {name.removeprefix(CTC_PREFIX): value for name, value in state.items() if name not in rest}
        state = {name: value for name, value in state.items() if not name.startswith(CTC_HEAD)}
    model, normalize = _settings_of(file.checkpoint)
    config = _config(path, model, state)
    encoder = TransformersEncoder(
        "wav2vec2",
        {**config, **(options or {})},
        preprocessor={"do_normalize": normalize},
        **switches,
    )
    encoder.load_weights(_rename(path, state, config, FAIRSEQ), str(path), given=options or ())
    return FairseqCheckpoint(encoder=encoder, head=file.head())


def _tensors(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights, without the prefix that distributed training leaves."""
    return {
        name.removeprefix("module."): value
        for name, value in checkpoint["model"].items()
        if isinstance(value, Tensor)
    }


def _read(path: Path) -> dict[str, Any]:
    """The checkpoint's dictionary; its pickle may hold tensors, plain values and a Namespace."""
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file. Give the path of a fairseq .pt checkpoint.") from error
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise InputError(
            f"{path} holds {found.group(1) if found else 'objects'} besides tensors, which could run code "
            "and is not loaded. Where fairseq is installed and the file is trusted, save it again without: "
            "torch.save({'cfg': OmegaConf.to_container(c['cfg']), 'model': c['model']}, NEW)."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read as a checkpoint ({str(error).splitlines()[0]}). Fetch it again."
        ) from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("model"), dict):
        raise InputError(
            f"{path} is no fairseq checkpoint: it has no `model`. Give a file that fairseq saved."
        )
    return checkpoint


def _settings_of(checkpoint: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """Settings of the pre-trained model, and whether waveforms are normalised.

    Older files keep everything in one Namespace ``args``; newer ones in ``cfg`` with ``model`` and
    ``task``. A fine-tuned model carries its pre-trained model's own settings in ``w2v_args``.
    """
    top = _plain(checkpoint.get("cfg")) or _plain(checkpoint.get("args"))
    model = _plain(top.get("model")) or top
    task = _plain(top.get("task")) or top
    normalize = bool(task.get("normalize", model.get("normalize", False)))
    inner = _plain(model.get("w2v_args"))
    if inner:
        return _plain(inner.get("model")) or inner, normalize
    return model, normalize


def _plain(value: Any) -> dict[str, Any]:
    """Settings as a dictionary, whichever way they were saved; empty where there are none."""
    if isinstance(value, argparse.Namespace):
        return vars(value)
    return dict(value) if isinstance(value, Mapping) else {}


def _config(path: Path, model: dict[str, Any], state: dict[str, Tensor]) -> dict[str, Any]:
    """transformers' configuration for the settings of a fairseq model."""
    if model.get("layer_type", "transformer") != "transformer" or int(model.get("pos_conv_depth", 1)) > 1:
        raise InputError(
            f"{path}: only wav2vec 2.0 with plain transformer layers is read. Convert it to transformers."
        )
    config = {field: model.get(name, default) for name, field, default in SETTINGS}
    layers = _conv_layers(path, model.get("conv_feature_layers") or CONV_LAYERS)
    config["conv_dim"], config["conv_kernel"], config["conv_stride"] = (
        list(column) for column in zip(*layers, strict=True)
    )
    config["feat_extract_norm"] = (
        "layer" if model.get("extractor_mode", "default") == "layer_norm" else "group"
    )
    # A learned vector for hidden frames is made only where frames are to be hidden.
    config["mask_time_prob"] = 0.05 if "mask_emb" in state else 0.0
    return config


def _conv_layers(path: Path, text: str) -> list[tuple[int, int, int]]:
    """Width, kernel and stride of each layer, from fairseq's expression of sums and products of lists."""

    def value(node: ast.expr) -> Any:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return value(node.left) + value(node.right)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            return value(node.left) * value(node.right)
        return ast.literal_eval(node)

    try:
        return [
            (int(width), int(kernel), int(stride))
            for width, kernel, stride in value(ast.parse(text, mode="eval").body)
        ]
    except (ValueError, TypeError, SyntaxError) as error:
        raise InputError(
            f"{path}: cannot read conv_feature_layers {text!r}. Save the checkpoint again."
        ) from error


def _rename(path: Path, state: dict[str, Tensor], config: dict[str, Any], table: Table) -> dict[str, Tensor]:
    """The weights by transformers' names, those of pre-training alone left out."""
    found, unknown = renamed(
        {name: value for name, value in state.items() if not PRETRAINING_ONLY.match(name)}, table
    )
    if unknown:
        raise InputError(f"{path}: no mapping for {_listed(unknown)}. Only wav2vec 2.0 checkpoints are read.")
    found = {weight_norm_name(name): value for name, value in found.items()}
    if (
        "feature_projection.projection.weight" not in found
        and config["conv_dim"][-1] == config["hidden_size"]
    ):
        # fairseq projects only where the widths differ; transformers always.
        found["feature_projection.projection.weight"] = torch.eye(config["hidden_size"])
        found["feature_projection.projection.bias"] = torch.zeros(config["hidden_size"])
    return found


def _load_fairseq2(
    file: FairseqFile, options: Mapping[str, Any], switches: Mapping[str, bool]
) -> FairseqCheckpoint:
    """fairseq2's checkpoint: its file holds no settings, so they are read off the shapes of its weights."""
    config = _config_of_shapes(file.path, file.state) | dict(options)
    encoder = TransformersEncoder(
        "wav2vec2",
        config,
        # Audio is normalised for the models whose convolutions are followed by layer normalisation.
        preprocessor={"do_normalize": config["feat_extract_norm"] == "layer"},
        **switches,
    )
    encoder.load_weights(_rename(file.path, file.state, config, FAIRSEQ2), file.source, given=options)
    return FairseqCheckpoint(encoder=encoder, head=file.head(), fairseq2=True)


HEADS = {768: 12, 1024: 16, 1280: 16, 1920: 16, 2048: 16}
"""Attention heads of fairseq2's architectures by their width: the only setting that leaves no shape."""


def usual_heads(width: int) -> int:
    """Attention heads that a model of fairseq2's names is taken to have: its architecture's, or heads 64 wide."""
    return HEADS.get(width, max(1, width // 64))


def _config_of_shapes(path: Path, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """transformers' configuration for a model whose weights carry fairseq2's names."""
    front = "encoder_frontend.feature_extractor.layers."
    try:
        convs = [state[f"{front}{number}.conv.weight"] for number in range(len(CONV_STRIDES))]
        positions = next(
            value
            for name, value in state.items()
            if name.startswith("encoder_frontend.pos_encoder.conv.")
            and value.ndim == 3
            and value.shape[0] > 1
        )
        inner = state["encoder.layers.0.ffn.inner_proj.weight"]
    except (KeyError, StopIteration) as error:
        raise InputError(
            f"{path}: it has fairseq2's names, but not those of a wav2vec 2.0 on waveforms with one convolution for "
            "positions. Only such models are read."
        ) from error
    width = inner.shape[1]
    layers = 1 + max(int(name.split(".")[2]) for name in state if name.startswith("encoder.layers."))
    by_layer = f"{front}0.layer_norm.weight" in state
    return {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "intermediate_size": inner.shape[0],
        "num_attention_heads": usual_heads(width),
        "conv_dim": [conv.shape[0] for conv in convs],
        "conv_kernel": [conv.shape[2] for conv in convs],
        "conv_stride": list(CONV_STRIDES),
        "conv_bias": f"{front}0.conv.bias" in state,
        "feat_extract_norm": "layer" if by_layer else "group",
        "do_stable_layer_norm": "encoder.layer_norm.weight" in state,
        "num_conv_pos_embeddings": positions.shape[2],
        "num_conv_pos_embedding_groups": width // positions.shape[1],
        "mask_time_prob": 0.05 if "masker.temporal_mask_embed" in state else 0.0,
    }


def _listed(names: list[str]) -> str:
    return ", ".join(sorted(names)[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")

"""fairseq's wav2vec 2.0 checkpoints (``.pt``), read without fairseq by mapping their keys."""

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

from asr.encoder.transformers_encoder import TransformersEncoder, weight_norm_name
from lm.errors import InputError

CTC_PREFIX = "w2v_encoder.w2v_model."
CTC_HEAD = "w2v_encoder.proj."

# fairseq's name, then transformers'. The first that matches counts.
RENAMES = (
    (r"feature_extractor\.conv_layers\.(\d+)\.0\.", r"feature_extractor.conv_layers.\1.conv."),
    (r"feature_extractor\.conv_layers\.(\d+)\.2\.(?:1\.)?", r"feature_extractor.conv_layers.\1.layer_norm."),
    (r"post_extract_proj\.", "feature_projection.projection."),
    (r"layer_norm\.", "feature_projection.layer_norm."),
    (r"mask_emb$", "masked_spec_embed"),
    (r"encoder\.pos_conv\.0\.", "encoder.pos_conv_embed.conv."),
    (r"encoder\.layer_norm\.", "encoder.layer_norm."),
    (r"encoder\.layers\.(\d+)\.self_attn\.([kvq]|out)_proj\.", r"encoder.layers.\1.attention.\2_proj."),
    (r"encoder\.layers\.(\d+)\.self_attn_layer_norm\.", r"encoder.layers.\1.layer_norm."),
    (r"encoder\.layers\.(\d+)\.fc1\.", r"encoder.layers.\1.feed_forward.intermediate_dense."),
    (r"encoder\.layers\.(\d+)\.fc2\.", r"encoder.layers.\1.feed_forward.output_dense."),
    (r"encoder\.layers\.(\d+)\.final_layer_norm\.", r"encoder.layers.\1.final_layer_norm."),
)

PRETRAINING_ONLY = re.compile(r"(quantizer|input_quantizer|project_q|project_inp|final_proj|target_glu)\.")

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

CONV_LAYERS = "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] + [(512,2,2)]"
"""fairseq's default ``conv_feature_layers``: width, kernel and stride of each."""


@dataclass(frozen=True)
class FairseqCheckpoint:
    """What a fairseq wav2vec 2.0 file holds."""

    encoder: TransformersEncoder
    head: nn.Linear | None
    """The CTC layer of a fine-tuned checkpoint; None for a pre-trained one."""


def load_fairseq(
    path: str | Path, *, options: Mapping[str, Any] | None = None, **switches: bool
) -> FairseqCheckpoint:
    """Read a checkpoint, pre-trained (wav2vec_small, xlsr_53_56k, xlsr2_300m) or fine-tuned with CTC.

    Args:
        path: the ``.pt`` file.
        options: fields of transformers' configuration to change: dropout, masking, layerdrop.
        switches: ``gradient_checkpointing`` and ``narrowband`` of `TransformersEncoder`.
    Raises:
        InputError: the file cannot be read, is another kind of model, or its keys do not map.
    """
    path = Path(path)
    checkpoint = _read(path)
    state = {name: value for name, value in checkpoint["model"].items() if isinstance(value, Tensor)}
    head = None
    if any(name.startswith(CTC_PREFIX) for name in state):
        if CTC_HEAD + "weight" in state:
            head = _linear(state[CTC_HEAD + "weight"], state[CTC_HEAD + "bias"])
        rest = [name for name in state if not name.startswith((CTC_PREFIX, CTC_HEAD))]
        if rest:
            raise InputError(
                f"{path}: no mapping for {_listed(rest)}. Only wav2vec 2.0 with a CTC layer is read."
            )
        state = {name.removeprefix(CTC_PREFIX): value for name, value in state.items() if name not in rest}
        state = {name: value for name, value in state.items() if not name.startswith(CTC_HEAD)}
    model, normalize = _settings_of(checkpoint)
    config = _config(path, model, state)
    encoder = TransformersEncoder(
        "wav2vec2",
        {**config, **(options or {})},
        preprocessor={"do_normalize": normalize},
        **switches,
    )
    encoder.load_weights(_rename(path, state, config), str(path))
    return FairseqCheckpoint(encoder=encoder, head=head)


OBJECTIVE_RENAMES = (
    ("quantizer.vars", "quantizer.codevectors"),
    ("quantizer.weight_proj.", "quantizer.weight_proj."),
    ("project_q.", "project_q."),
    ("final_proj.", "project_hid."),
)


def fairseq_objective(path: str | Path) -> dict[str, Tensor]:
    """Quantiser and projections of a pre-trained checkpoint, by transformers' names; empty without."""
    found = {}
    for name, value in _read(Path(path))["model"].items():
        for old, new in OBJECTIVE_RENAMES:
            if name.startswith(old):
                found[name.replace(old, new, 1)] = value
    return found


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


def _rename(path: Path, state: dict[str, Tensor], config: dict[str, Any]) -> dict[str, Tensor]:
    """The weights by transformers' names, those of pre-training alone left out."""
    renamed, unknown = {}, []
    for name, value in state.items():
        if PRETRAINING_ONLY.match(name):
            continue
        for old, new in RENAMES:
            mapped, count = re.subn(f"^{old}", new, name)
            if count:
                renamed[weight_norm_name(mapped)] = value
                break
        else:
            unknown.append(name)
    if unknown:
        raise InputError(f"{path}: no mapping for {_listed(unknown)}. Only wav2vec 2.0 checkpoints are read.")
    if (
        "feature_projection.projection.weight" not in renamed
        and config["conv_dim"][-1] == config["hidden_size"]
    ):
        # fairseq projects only where the widths differ; transformers always.
        renamed["feature_projection.projection.weight"] = torch.eye(config["hidden_size"])
        renamed["feature_projection.projection.bias"] = torch.zeros(config["hidden_size"])
    return renamed


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """A linear layer with these weights, (C, D) and (C,)."""
    head = nn.Linear(weight.shape[1], weight.shape[0])
    head.load_state_dict({"weight": weight, "bias": bias})
    return head


def _listed(names: list[str]) -> str:
    return ", ".join(sorted(names)[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")

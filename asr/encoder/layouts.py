"""How fairseq and fairseq2 name the weights of wav2vec 2.0, beside transformers' names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

Table = Sequence[tuple[str, str]]
"""Beginnings of names, theirs and transformers'; ``#`` stands for a number. The first that fits counts."""

FAIRSEQ: Table = (
    ("feature_extractor.conv_layers.#.0.", "feature_extractor.conv_layers.#.conv."),
    ("feature_extractor.conv_layers.#.2.1.", "feature_extractor.conv_layers.#.layer_norm."),
    ("feature_extractor.conv_layers.#.2.", "feature_extractor.conv_layers.#.layer_norm."),
    ("post_extract_proj.", "feature_projection.projection."),
    ("layer_norm.", "feature_projection.layer_norm."),
    ("mask_emb", "masked_spec_embed"),
    ("encoder.pos_conv.0.", "encoder.pos_conv_embed.conv."),
    ("encoder.layer_norm.", "encoder.layer_norm."),
    ("encoder.layers.#.self_attn.out_proj.", "encoder.layers.#.attention.out_proj."),
    ("encoder.layers.#.self_attn.q_proj.", "encoder.layers.#.attention.q_proj."),
    ("encoder.layers.#.self_attn.k_proj.", "encoder.layers.#.attention.k_proj."),
    ("encoder.layers.#.self_attn.v_proj.", "encoder.layers.#.attention.v_proj."),
    ("encoder.layers.#.self_attn_layer_norm.", "encoder.layers.#.layer_norm."),
    ("encoder.layers.#.fc1.", "encoder.layers.#.feed_forward.intermediate_dense."),
    ("encoder.layers.#.fc2.", "encoder.layers.#.feed_forward.output_dense."),
    ("encoder.layers.#.final_layer_norm.", "encoder.layers.#.final_layer_norm."),
)

FAIRSEQ2: Table = (
    ("encoder_frontend.feature_extractor.layers.#.conv.", "feature_extractor.conv_layers.#.conv."),
    (
        "encoder_frontend.feature_extractor.layers.#.layer_norm.",
        "feature_extractor.conv_layers.#.layer_norm.",
    ),
    (
        "encoder_frontend.feature_extractor.layers.#.group_norm.",
        "feature_extractor.conv_layers.#.layer_norm.",
    ),
    ("encoder_frontend.post_extract_layer_norm.", "feature_projection.layer_norm."),
    ("encoder_frontend.model_dim_proj.", "feature_projection.projection."),
    ("encoder_frontend.pos_encoder.conv.", "encoder.pos_conv_embed.conv."),
    ("encoder.layer_norm.", "encoder.layer_norm."),  # pre-norm models
    ("encoder_frontend.layer_norm.", "encoder.layer_norm."),  # post-norm models
    ("masker.temporal_mask_embed", "masked_spec_embed"),
    ("encoder.layers.#.self_attn.output_proj.", "encoder.layers.#.attention.out_proj."),
    ("encoder.layers.#.self_attn.q_proj.", "encoder.layers.#.attention.q_proj."),
    ("encoder.layers.#.self_attn.k_proj.", "encoder.layers.#.attention.k_proj."),
    ("encoder.layers.#.self_attn.v_proj.", "encoder.layers.#.attention.v_proj."),
    ("encoder.layers.#.self_attn_layer_norm.", "encoder.layers.#.layer_norm."),
    ("encoder.layers.#.ffn.inner_proj.", "encoder.layers.#.feed_forward.intermediate_dense."),
    ("encoder.layers.#.ffn.output_proj.", "encoder.layers.#.feed_forward.output_dense."),
    ("encoder.layers.#.ffn_layer_norm.", "encoder.layers.#.final_layer_norm."),
)

FAIRSEQ_OBJECTIVE: Table = (
    ("quantizer.vars", "quantizer.codevectors"),
    ("quantizer.weight_proj.", "quantizer.weight_proj."),
    ("project_q.", "project_q."),
    ("final_proj.", "project_hid."),
)

FAIRSEQ2_OBJECTIVE: Table = (
    ("quantizer.entries", "quantizer.codevectors"),
    ("quantizer.entry_proj.", "quantizer.weight_proj."),
    ("vector_quantizer.entries", "quantizer.codevectors"),
    ("vector_quantizer.entry_proj.", "quantizer.weight_proj."),
    ("final_target_proj.", "project_q."),
    ("final_proj.", "project_hid."),
)


def renamed(state: Mapping[str, Tensor], table: Table) -> tuple[dict[str, Tensor], list[str]]:
    """Weights by transformers' names, and the names that no row of the table fits."""
    patterns = [
        (re.compile("^" + re.escape(theirs).replace("\\#", r"(\d+)")), ours) for theirs, ours in table
    ]
    found: dict[str, Tensor] = {}
    unknown: list[str] = []
    for name, value in state.items():
        for pattern, ours in patterns:
            if match := pattern.match(name):
                number = match.group(1) if pattern.groups else ""
                found[ours.replace("#", number) + name[match.end() :]] = value
                break
        else:
            unknown.append(name)
    return found, unknown


def inverse(table: Table, *, layer_norm: bool, pre_norm: bool) -> Table:
    """The table read the other way.

    Args:
        layer_norm: the convolutions are followed by layer normalisation; else the first by group normalisation.
        pre_norm: the encoder's last normalisation comes after its layers; else before them.
    """
    left_out = {
        "feature_extractor.conv_layers.#.2." if layer_norm else "feature_extractor.conv_layers.#.2.1.",
        "encoder_frontend.feature_extractor.layers.#.group_norm."
        if layer_norm
        else "encoder_frontend.feature_extractor.layers.#.layer_norm.",
        "encoder_frontend.layer_norm." if pre_norm else "encoder.layer_norm." if table is FAIRSEQ2 else "",
    }
    return [(ours, theirs) for theirs, ours in table if theirs not in left_out]

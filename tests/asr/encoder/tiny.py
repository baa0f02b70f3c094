"""Two-layer encoders of every supported family, and waveforms to put through them."""

from typing import Any

import torch
from torch import Tensor

from asr.encoder.transformers_encoder import TransformersEncoder

SAMPLES = (4000, 9513, 6000, 7211, 16000, 401, 8000, 12345, 5000, 10000, 3333, 14000, 9999, 2000, 11000, 7777)
"""Lengths of a batch of sixteen; the longest in the middle, one of a single frame."""

LAYERS: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
CONVOLUTIONS: dict[str, Any] = {**LAYERS, "conv_dim": [16] * 7}
POSITIONS: dict[str, Any] = {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
WAVES: dict[str, Any] = {**CONVOLUTIONS, **POSITIONS}
PRE_NORM: dict[str, Any] = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
CONFORMER: dict[str, Any] = {**WAVES, "feat_extract_norm": "layer", "conv_depthwise_kernel_size": 7}
BERT: dict[str, Any] = {**LAYERS, "conv_depthwise_kernel_size": 7, "output_hidden_size": 32}

TINY: dict[str, tuple[str, dict[str, Any]]] = {
    "wav2vec2 base": ("wav2vec2", WAVES),
    "wav2vec2 large": ("wav2vec2", {**WAVES, **PRE_NORM}),
    "wav2vec2 strided adapter": (
        "wav2vec2",
        {**WAVES, **PRE_NORM, "add_adapter": True, "num_adapter_layers": 2},
    ),
    "mms": ("wav2vec2", {**WAVES, **PRE_NORM, "adapter_attn_dim": 8}),
    "hubert base": ("hubert", WAVES),
    "hubert large": ("hubert", {**WAVES, **PRE_NORM}),
    "hubert batch norm": ("hubert", {**WAVES, "conv_pos_batch_norm": True, "feat_proj_layer_norm": False}),
    "wavlm base": ("wavlm", WAVES),
    "wavlm large": ("wavlm", {**WAVES, **PRE_NORM}),
    "wav2vec2-bert": ("wav2vec2-bert", BERT),
    "wav2vec2-bert adapter": ("wav2vec2-bert", {**BERT, "add_adapter": True, "num_adapter_layers": 1}),
    "wav2vec2-bert relative": ("wav2vec2-bert", {**BERT, "position_embeddings_type": "relative"}),
    "wav2vec2-conformer relative": (
        "wav2vec2-conformer",
        {**CONFORMER, "position_embeddings_type": "relative"},
    ),
    "wav2vec2-conformer rotary": ("wav2vec2-conformer", {**CONFORMER, "position_embeddings_type": "rotary"}),
    "unispeech": ("unispeech", WAVES),
    "unispeech-sat": ("unispeech-sat", {**WAVES, **PRE_NORM}),
    "data2vec-audio": (
        "data2vec-audio",
        {
            **CONVOLUTIONS,
            "num_conv_pos_embeddings": 3,
            "num_conv_pos_embedding_groups": 4,
            "conv_pos_kernel_size": 5,
        },
    ),
}


def tiny_encoder(name: str, **options: Any) -> TransformersEncoder:
    """An encoder of `TINY` whose every weight, biases and norms too, is random: zeros would hide leaks."""
    kind, config = TINY[name]
    torch.manual_seed(7)
    encoder = TransformersEncoder(kind, {**config, **options})
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for name_, buffer in encoder.named_buffers():
            if name_.endswith("running_mean"):
                buffer.normal_(std=0.3)
    return encoder.eval()


def waveforms(lengths: tuple[int, ...] = SAMPLES) -> list[Tensor]:
    """Seeded noise with an offset and a level of its own for each utterance, (S,) each."""
    generator = torch.Generator().manual_seed(11)
    return [
        0.01 * (number + 1) + 0.05 * (number % 3 + 1) * torch.randn(size, generator=generator)
        for number, size in enumerate(lengths)
    ]


def batch(waves: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Waveforms padded to (N, S), and their lengths."""
    return torch.nn.utils.rnn.pad_sequence(waves, batch_first=True), torch.tensor(
        [len(wave) for wave in waves]
    )

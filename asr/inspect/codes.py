"""Which codes of a quantiser each language uses, and how far two languages share them (IndicWav2Vec, sec. 5)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from asr.pretrain.objectives import CodePrediction, PretrainModel, Wav2Vec2, histogram
from lm.errors import InputError

Batch = tuple[str, torch.Tensor, torch.Tensor]
"""A group, waveforms (N, S), samples of each (N,)."""


@torch.inference_mode()
def code_usage(model: PretrainModel, batches: Iterable[Batch]) -> dict[str, NDArray[np.float64]]:
    """Share of each code in the frames of each group, (G, V): the row of each of the quantiser's codebooks sums to 1.

    Raises:
        InputError: the objective has no codes.
    """
    objective = model.objective
    if not isinstance(objective, Wav2Vec2 | CodePrediction):
        raise InputError(
            f"the encoder was pretrained with {objective.config.kind}, which has no codes. "
            "Look at one of wav2vec2, w2v-bert, best-rq or hubert."
        )
    counts: dict[str, NDArray[np.float64]] = {}
    for group, waveforms, num_samples in batches:
        codes = objective.codes_of(model.encoder, waveforms, num_samples)  # (frames, G)
        found = histogram(codes, objective.config.num_codes).double().cpu().numpy()
        counts[group] = counts.get(group, np.zeros_like(found)) + found
    return {group: count / np.maximum(1, count.sum(axis=1, keepdims=True)) for group, count in counts.items()}


def perplexity(usage: NDArray[np.float64]) -> float:
    """Codes in use, ``sum_g exp(H(p_g))`` of (G, V), as `asr.pretrain.quantizer.Quantized` counts them in training."""
    entropy = -(usage * np.log(np.where(usage > 0, usage, 1))).sum(axis=1)
    return float(np.exp(entropy).sum())


def similarity(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """1 minus the Jensen-Shannon divergence in bits: 1 for the same usage, 0 for no code in common.

    Args:
        one: share of each code, (G, V); of several codebooks the divergence is the mean.
        other: the same of another group.
    """

    def divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
        at = p > 0
        return float((p[at] * np.log2(p[at] / q[at])).sum())

    middle = (one + other) / 2
    return 1 - (divergence(one, middle) + divergence(other, middle)) / 2 / len(one)

"""Telephone speech at 8 kHz: the same frames in time, nearly the same features, padding kept out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from asr.audio.channel import telephone
from asr.encoder import build_encoder
from asr.encoder.transformers_encoder import TransformersEncoder
from asr.model import CTCModel, load_model, save_model
from asr.text import TextPolicy
from asr.tokenizer import character_tokenizer
from lm.errors import InputError

SMALL = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
    "conv_dim": [32] * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
    "apply_spec_augment": False,
}  # fmt: skip


def build(narrowband: bool, norm: str = "group") -> TransformersEncoder:
    settings = {**SMALL, "feat_extract_norm": norm, "do_stable_layer_norm": norm == "layer"}
    built = build_encoder({"kind": "wav2vec2", "config": settings, "narrowband": narrowband})
    assert isinstance(built, TransformersEncoder)
    return built.eval()


def call() -> Tensor:
    """Two seconds as a telephone hands them on, at 16 kHz: tones that come and go below 3.4 kHz."""
    clock = np.arange(32_000) / 16_000
    sound = sum(
        np.sin(2 * np.pi * pitch * clock) * (1 + np.sin(2 * np.pi * beat * clock))
        for pitch, beat in ((350, 3), (900, 5), (1_700, 2))
    )
    return torch.from_numpy(telephone((0.05 * sound).astype(np.float32)))[None]


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_adapted_weights_stay_nearer_to_what_they_were(norm: str) -> None:
    """Than weights that are left as they are, for random extractors of seven layers."""
    gains = []
    for seed in range(4):
        torch.manual_seed(seed)
        wide, adapted, left = build(False, norm), build(True, norm), build(True, norm)
        smooth_filters(wide)
        adapted.load_weights(wide.model.state_dict(), "wide")
        left.model.load_state_dict(wide.model.state_dict())
        assert adapted.grid.frames_per_second == wide.grid.frames_per_second == 50
        with torch.no_grad():
            features = [
                encoder.embed(call(), torch.tensor([32_000])).raw[0, :90].flatten()
                for encoder in (wide, adapted, left)
            ]
        near, far = (torch.cosine_similarity(features[0], other, dim=0) for other in features[1:])
        gains.append(float(near - far))
    assert min(gains) > 0
    assert sum(gains) / len(gains) > 0.1


def smooth_filters(encoder: TransformersEncoder) -> None:
    """First filters as trained ones are on speech: without what only noise holds."""
    with torch.no_grad():
        for layer in encoder.model.feature_extractor.conv_layers[:2]:
            weight = layer.conv.weight
            smooth = torch.nn.functional.avg_pool1d(weight, 3, stride=1, padding=1)
            weight.copy_(2 * smooth)


@pytest.mark.parametrize("samples", [1_358, 1_359, 1_360, 15_999, 16_000, 16_001, 31_777])
def test_the_grid_counts_the_frames_that_come(samples: int) -> None:
    encoder = build(True)
    with torch.no_grad():
        out = encoder(torch.randn(1, samples), torch.tensor([samples]))
    assert out.hidden.shape[1] == encoder.grid.num_frames(samples) == int(out.num_frames[0])


def test_padding_stays_out() -> None:
    encoder = build(True)
    waveforms, num_samples = torch.randn(2, 30_000), torch.tensor([30_000, 17_001])
    waveforms[1, 17_001:] = 0
    with torch.no_grad():
        together = encoder(waveforms, num_samples)
        alone = encoder(waveforms[1:, :17_001], num_samples[1:])
    frames = int(alone.num_frames[0])
    assert int(together.num_frames[1]) == frames
    assert torch.allclose(together.hidden[1, :frames], alone.hidden[0], atol=1e-4)


def test_a_saved_model_is_not_adapted_again(tmp_path: Path) -> None:
    model = CTCModel(build(True), character_tokenizer(["abc "], TextPolicy())).eval()
    noise = [np.random.default_rng(0).standard_normal(16_000).astype(np.float32)]
    save_model(model, tmp_path / "model")
    again = load_model(tmp_path / "model").emissions(noise)[0]
    np.testing.assert_allclose(again, model.emissions(noise)[0], atol=1e-5)


def test_where_it_does_not_apply() -> None:
    with pytest.raises(InputError, match="filterbanks take 8 kHz as it is"):
        build_encoder({"kind": "wav2vec2-bert", "config": {}, "narrowband": True})
    with pytest.raises(InputError, match="halves the stride of the second convolution"):
        build_encoder(
            {
                "kind": "wav2vec2", "narrowband": True,
                "config": {**SMALL, "conv_dim": [32] * 2, "conv_kernel": [10, 3], "conv_stride": [5, 3]},
            }
        )  # fmt: skip

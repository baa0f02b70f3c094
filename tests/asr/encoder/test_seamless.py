"""The filterbanks against transformers' extractor, one utterance at a time."""

import pytest
import torch
from torch import Tensor
from transformers import SeamlessM4TFeatureExtractor

from asr.encoder.seamless import SeamlessFeatures
from tests.asr.encoder.tiny import batch, waveforms


def by_transformers(wave: Tensor, num_mel_bins: int) -> Tensor:
    extractor = SeamlessM4TFeatureExtractor(feature_size=num_mel_bins, num_mel_bins=num_mel_bins)
    out = extractor([wave.numpy()], sampling_rate=16000, return_tensors="pt")
    return out["input_features"][0, : int(out["attention_mask"].sum())]


@pytest.mark.parametrize("num_mel_bins", [80, 40])
def test_a_padded_batch_has_the_features_of_each_utterance_alone(num_mel_bins: int) -> None:
    features, waves = SeamlessFeatures(num_mel_bins), [wave for wave in waveforms() if len(wave) > 800]
    padded = features(*batch(waves))
    for row, wave in zip(padded, waves, strict=True):
        frames = features.grid.num_frames(len(wave))
        expected = by_transformers(wave, num_mel_bins)
        assert expected.shape == (frames, 2 * num_mel_bins)
        torch.testing.assert_close(row[:frames], expected, atol=1e-3, rtol=1e-4)
        assert not row[frames + 1 :].any()


def test_telephone_speech_and_silence_agree_too() -> None:
    """Bins of an empty band: their variance is tiny, so a 32-bit FFT would be off by a hundredth and more."""
    spectrum = torch.fft.rfft(torch.randn(16000, generator=torch.Generator().manual_seed(0)))
    spectrum[4000:] = 0
    for wave in (0.1 * torch.fft.irfft(spectrum), torch.zeros(4000), torch.full((4000,), 0.3)):
        expected = by_transformers(wave, 80)
        got = SeamlessFeatures()(wave[None], torch.tensor([len(wave)]))[0]
        torch.testing.assert_close(got[: len(expected)], expected, atol=1e-3, rtol=1e-4)


def test_wider_stacks_drop_what_is_left_over() -> None:
    features = SeamlessFeatures(num_mel_bins=80, stride=4)
    assert (features.grid.hop_samples, features.grid.window_samples) == (640, 880)
    inputs = torch.randn(1, 16000), torch.tensor([16000])
    out = features(*inputs)  # 98 frames of 10 ms
    assert out.shape == (1, 24, 320)
    assert torch.equal(out.reshape(1, 96, 80), SeamlessFeatures(stride=1)(*inputs)[:, :96])

"""The filterbanks of Wav2Vec2-BERT (SeamlessM4T), computed in torch on a padded batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers.audio_utils import mel_filter_bank, window_function

from asr.features import standardise
from asr.frames import SAMPLE_RATE, FrameGrid

WINDOW_SAMPLES = 400
HOP_SAMPLES = 160
FFT_SIZE = 512
PREEMPHASIS = 0.97
FLOOR = 1.192092955078125e-07
"""Smallest mel energy, as in Kaldi: the machine epsilon of float32."""


class SeamlessFeatures(nn.Module):
    """Log-mel energies as transformers' `SeamlessM4TFeatureExtractor` makes them one utterance at a time.

    Each mel bin is brought to zero mean and unit variance over the utterance's own frames, then
    ``stride`` neighbouring frames are stacked. Frames left over at the end are dropped.
    """

    def __init__(self, num_mel_bins: int = 80, stride: int = 2) -> None:
        super().__init__()
        mel = mel_filter_bank(
            num_frequency_bins=FFT_SIZE // 2 + 1,
            num_mel_filters=num_mel_bins,
            min_frequency=20,
            max_frequency=SAMPLE_RATE // 2,
            sampling_rate=SAMPLE_RATE,
            norm=None,
            mel_scale="kaldi",
            triangularize_in_mel_space=True,
        )
        window = window_function(WINDOW_SAMPLES, "povey", periodic=False)
        self.stride = stride
        self.mel: Tensor
        self.window: Tensor
        self.register_buffer("mel", torch.from_numpy(mel), persistent=False)
        self.register_buffer("window", torch.from_numpy(window), persistent=False)
        self.grid = FrameGrid(
            hop_samples=HOP_SAMPLES * stride, window_samples=WINDOW_SAMPLES + HOP_SAMPLES * (stride - 1)
        )

    @torch.no_grad()
    def forward(self, waveforms: Tensor, num_samples: Tensor) -> Tensor:
        """Features of a batch, (N, T, stride * num_mel_bins) float32; frames past an utterance's own are 0.

        Args:
            waveforms: (N, S), S at least one window.
            num_samples: samples of each utterance, (N,).
        """
        # Autocast would take the statistics to 16 bits.
        with torch.autocast(device_type=waveforms.device.type, enabled=False):
            # 64 bits as in transformers: where a band is empty (telephone speech above 4 kHz), the variance
            # of a bin is so small that the rounding of a 32-bit FFT would be scaled up into features.
            exact = (
                torch.float32 if waveforms.device.type == "mps" else torch.float64
            )  # Apple's GPU has no 64
            frames = waveforms.to(exact).unfold(1, WINDOW_SAMPLES, HOP_SAMPLES) * 2.0**15  # (N, F, 400)
            frames = frames - frames.mean(dim=-1, keepdim=True)
            # Kaldi takes the sample before the first to equal the first.
            previous = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
            spectrum = torch.fft.rfft((frames - PREEMPHASIS * previous) * self.window.to(exact), n=FFT_SIZE)
            # transformers rounds here, and in a bin that hardly varies the rounding is all there is.
            spectrum = spectrum.to(torch.complex64)
            power = spectrum.real.to(exact).square() + spectrum.imag.to(exact).square()
            features = (power @ self.mel.to(exact)).clamp(min=FLOOR).log()  # (N, F, M)
            counts = (num_samples - WINDOW_SAMPLES) // HOP_SAMPLES + 1
            features = standardise(features, counts, unbiased=True)
            num_utterances, num_frames, num_bins = features.shape
            kept = num_frames // self.stride
            features = features[:, : kept * self.stride]
            return features.reshape(num_utterances, kept, num_bins * self.stride)

"""Log-mel filterbanks computed on a padded batch, the same for an utterance alone or in company."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asr.frames import SAMPLE_RATE, FrameGrid

WINDOW_SAMPLES = 400
"""25 ms analysis window."""
HOP_SAMPLES = 160
"""10 ms between windows."""
FFT_SIZE = 512
LOW_HZ = 20.0
RANGE_DB = 50.0
"""Speech keeps unit variance in Mboshi, whose pauses are muted (0.57 without), and in Kichwa, whose are not."""


def mel_weights(num_bins: int, low_hz: float = LOW_HZ, high_hz: float = SAMPLE_RATE / 2) -> Tensor:
    """Triangular filters, equally spaced on the mel scale of HTK, (FFT_SIZE // 2 + 1, num_bins)."""

    def mel(hertz: Tensor) -> Tensor:
        return 1127.0 * torch.log1p(hertz / 700.0)

    edges = torch.linspace(
        float(mel(torch.tensor(low_hz))), float(mel(torch.tensor(high_hz))), num_bins + 2, dtype=torch.float64
    )
    bins = mel(torch.linspace(0, SAMPLE_RATE / 2, FFT_SIZE // 2 + 1, dtype=torch.float64))[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp(min=0).float()


class Filterbank(nn.Module):
    """Log-mel energies, each bin brought to zero mean and unit variance over the utterance.

    Normalising by utterance takes away the channel (microphone, telephone, room), of which a
    corpus of a few hours shows the model too few. Frame ``t`` covers the samples
    ``[160 t, 160 t + 400)``: no padding, so a frame never depends on what follows the utterance.

    Args:
        num_bins: mel bins.
        range_db: energies farther than this below an utterance's loudest are raised to there; 0 leaves
            them. Recorders that mute pauses write silence 100 dB down, which would set the scale
            by itself and flatten speech to half its variance.
    """

    window: Tensor
    weights: Tensor

    def __init__(self, num_bins: int = 80, range_db: float = RANGE_DB) -> None:
        super().__init__()
        self.num_bins = num_bins
        self.range_db = range_db
        self.register_buffer("window", torch.hann_window(WINDOW_SAMPLES, periodic=False), persistent=False)
        self.register_buffer("weights", mel_weights(num_bins), persistent=False)

    @torch.no_grad()
    def forward(self, waveforms: Tensor, num_samples: Tensor) -> tuple[Tensor, Tensor]:
        """Features of a batch and the valid frames of each utterance.

        Args:
            waveforms: (N, S) at 16 kHz.
            num_samples: valid samples, (N,).
        Returns:
            features (N, T, num_bins), zero on padding; num_frames (N,).
        """
        if waveforms.shape[1] < WINDOW_SAMPLES:
            waveforms = F.pad(waveforms, (0, WINDOW_SAMPLES - waveforms.shape[1]))
        # Float32 whatever the encoder's precision: the logarithm of small energies needs it.
        with torch.autocast(waveforms.device.type, enabled=False):
            frames = waveforms.float().unfold(-1, WINDOW_SAMPLES, HOP_SAMPLES)  # (N, S) -> (N, T, 400)
            frames = frames - frames.mean(dim=-1, keepdim=True)
            spectrum = torch.fft.rfft(frames * self.window, n=FFT_SIZE)
            power = spectrum.real.square() + spectrum.imag.square()  # (N, T, 257)
            energies = (power @ self.weights).clamp(min=1e-9).log()  # (N, T, num_bins)
        num_frames = ((num_samples - WINDOW_SAMPLES) // HOP_SAMPLES + 1).clamp(min=0)
        if self.range_db:
            valid = frame_mask(num_frames, energies.shape[1])[..., None]
            loudest = energies.masked_fill(~valid, -math.inf).amax(dim=(1, 2), keepdim=True)
            energies = torch.maximum(energies, loudest - self.range_db * math.log(10) / 10)
        return normalise(energies, num_frames), num_frames


def frame_mask(num_frames: Tensor, length: int) -> Tensor:
    """True on the valid frames of each utterance, (N, length)."""
    return torch.arange(length, device=num_frames.device)[None, :] < num_frames[:, None]


def stack_frames(features: Tensor, grid: FrameGrid, length: int) -> Tensor:
    """The filterbank frames that lie in the middle of each of an encoder's frames, side by side.

    Args:
        features: 100 per second, (N, T', D).
        grid: where the encoder's frames lie; its hop is a multiple of 10 ms.
        length: the encoder's frames T.
    Returns:
        (N, T, k D), k frames to one of the encoder's; past the end the last frame is repeated.
    """
    per_frame = grid.hop_samples // HOP_SAMPLES
    own = FrameGrid(hop_samples=HOP_SAMPLES, window_samples=WINDOW_SAMPLES)
    first = round((grid.start_s(0) - own.start_s(0)) / own.frame_s)
    places = torch.arange(length * per_frame, device=features.device) + first
    stacked = features[:, places.clamp(0, features.shape[1] - 1)]  # (N, T k, D)
    return stacked.reshape(len(features), length, -1)


def normalise(features: Tensor, num_frames: Tensor) -> Tensor:
    """Zero mean and unit variance of each bin over an utterance's own frames; zero on padding."""
    mask = frame_mask(num_frames, features.shape[1])[..., None]
    count = num_frames.clamp(min=1)[:, None, None]
    mean = (features * mask).sum(dim=1, keepdim=True) / count
    centred = (features - mean) * mask
    variance = centred.square().sum(dim=1, keepdim=True) / count
    # The floor keeps digital silence at zero instead of blowing up its rounding noise.
    return centred / (variance + 1e-2).sqrt()


def standardise(values: Tensor, counts: Tensor, *, unbiased: bool) -> Tensor:
    """Zero mean and unit variance over an utterance's own part, zeros after it, as published encoders want it.

    Args:
        values: (N, T, D).
        counts: how many of the T are the utterance's own, (N,).
        unbiased: divide the squares by n - 1, not by n.
    """
    values = values.float()
    counts = counts.to(values.device).clamp(min=1)
    count = counts[:, None, None]
    valid = frame_mask(counts, values.shape[1])[..., None]
    mean = values.masked_fill(~valid, 0.0).sum(dim=1, keepdim=True) / count
    centred = (values - mean).masked_fill(~valid, 0.0)
    squares = centred.square().sum(dim=1, keepdim=True)
    return centred / (squares / ((count - 1).clamp(min=1) if unbiased else count) + 1e-7).sqrt()


def spec_augment(
    features: Tensor,
    num_frames: Tensor,
    *,
    freq_masks: int,
    freq_width: float,
    time_masks_per_s: float,
    time_width: int,
    max_time_fraction: float = 0.5,
) -> Tensor:
    """Zero random bands and stretches of normalised features (Park et al. 2019).

    The number of time masks follows the length of the utterance (Park et al. 2020), so that a word
    of half a second is not wiped out and a long sentence is not left whole.

    Args:
        features: (N, T, D), zero mean: a mask writes the mean.
        num_frames: valid frames at 100 per second, (N,).
        freq_masks: bands per utterance.
        freq_width: widest band in bins.
        time_masks_per_s: stretches per second of audio.
        time_width: longest stretch in frames.
        max_time_fraction: no single stretch is longer than this share of the utterance.
    """
    batch, length, bins = features.shape
    device = features.device
    if freq_masks and freq_width:
        width = torch.rand(batch, freq_masks, 1, device=device) * freq_width
        start = torch.rand(batch, freq_masks, 1, device=device) * (bins - width)
        axis = torch.arange(bins, device=device)
        hit = ((axis >= start) & (axis < start + width)).any(dim=1)  # (N, masks, D) -> (N, D)
        features = features * ~hit[:, None, :]
    if time_masks_per_s and time_width:
        wanted = num_frames.float() * (HOP_SAMPLES / SAMPLE_RATE) * time_masks_per_s
        # Round at random so that the expected number is exact for short utterances too.
        count = (wanted + torch.rand(batch, device=device)).floor()
        most = math.ceil(float(wanted.max()) + 1)
        longest = (num_frames * max_time_fraction).clamp(max=time_width)
        width = torch.rand(batch, most, device=device) * longest[:, None]
        start = torch.rand(batch, most, device=device) * (num_frames[:, None] - width)
        width = width * (torch.arange(most, device=device)[None] < count[:, None])
        axis = torch.arange(length, device=device)
        hit = ((axis >= start[..., None]) & (axis < (start + width)[..., None])).any(dim=1)  # (N, T)
        features = features * ~hit[..., None]
    return features

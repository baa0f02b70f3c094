"""What a recording does to speech: noise, a telephone, a room, a level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from asr.arrays import FloatArray
from asr.audio.channel import room, telephone
from asr.frames import SAMPLE_RATE

Generator = np.random.Generator


def vary(speech: FloatArray, domain: str, rng: Generator, babble: Sequence[FloatArray]) -> FloatArray:
    """The speech as ``domain`` would record it, (S,) -> (S,).

    Args:
        speech: (S,).
        domain: clean, noise, telephone or room.
        babble: other utterances, for the noise of people talking.
    """
    if domain == "noise":
        kind = rng.choice(["white", "pink", "babble"])
        noise = (
            _babble(len(speech), rng, babble)
            if kind == "babble"
            else coloured(len(speech), rng, kind == "pink")
        )
        speech = mix(speech, noise, rng.uniform(15, 35))
    elif domain == "telephone":
        speech = telephone(speech)
    elif domain == "room":
        speech = room(speech, rng)
    # A recorder's own floor: no real recording holds digital silence.
    speech = mix(speech, coloured(len(speech), rng, pink=True), rng.uniform(45, 55))
    return set_level(speech, rng.uniform(-27, -21))


def coloured(num_samples: int, rng: Generator, pink: bool) -> FloatArray:
    """White noise, or pink: power falling as 1/f above 20 Hz, (S,)."""
    noise = rng.standard_normal(num_samples)
    if not pink:
        return noise.astype(np.float32)
    spectrum = np.fft.rfft(noise)
    frequency = np.fft.rfftfreq(num_samples, 1 / SAMPLE_RATE)
    return np.fft.irfft(spectrum / np.sqrt(np.maximum(frequency, 20.0)), num_samples).astype(np.float32)


def mix(speech: FloatArray, noise: FloatArray, snr_db: float) -> FloatArray:
    """Speech with noise added at ``snr_db`` below it."""
    gain = rms(speech) / max(rms(noise), 1e-9) * 10 ** (-snr_db / 20)
    return (speech + gain * noise).astype(np.float32)


def set_level(speech: FloatArray, level_db: float) -> FloatArray:
    """The speech at ``level_db`` (RMS, full scale 0), lower where its peak would pass 0.8."""
    gain = min(10 ** (level_db / 20) / max(rms(speech), 1e-9), 0.8 / max(float(np.abs(speech).max()), 1e-9))
    return (speech * gain).astype(np.float32)


def rms(waveform: FloatArray) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(np.square(waveform, dtype=np.float64)))) if waveform.size else 0.0


def _babble(num_samples: int, rng: Generator, voices: Sequence[FloatArray]) -> FloatArray:
    total = np.zeros(num_samples, dtype=np.float32)
    for index in rng.choice(len(voices), size=4, replace=False):
        voice = np.resize(voices[index], num_samples)
        total += np.roll(voice, int(rng.integers(num_samples))) / max(rms(voice), 1e-9)
    return total

"""What lies between a mouth and a file: a room, a telephone."""

from __future__ import annotations

from typing import Literal

import numpy as np
import soxr

from asr.arrays import FloatArray
from asr.audio.amr import through_amr
from asr.frames import SAMPLE_RATE

PHONE_RATE = 8_000
PhoneCodec = Literal["mu-law", "amr-nb"]


def telephone(speech: FloatArray, codec: PhoneCodec = "mu-law", bit_rate: int = 12_200) -> FloatArray:
    """300-3400 Hz, 8 kHz, a line's or a mobile phone's codec, back at 16 kHz, (S,) -> (S,).

    Args:
        codec: ``mu-law`` has 8 bits a sample (ITU-T G.711's curve); ``amr-nb`` is 3GPP's for mobile phones.
        bit_rate: of ``amr-nb``, one of `asr.audio.amr.BIT_RATES`.
    Raises:
        InputError: PyAV was built without the codec.
    """
    spectrum = np.fft.rfft(speech)
    frequency = np.fft.rfftfreq(len(speech), 1 / SAMPLE_RATE)
    # Edges 100 Hz wide: a sharper cut rings.
    band = np.clip((frequency - 250) / 100, 0, 1) * np.clip((3450 - frequency) / 100, 0, 1)
    narrow = soxr.resample(np.fft.irfft(spectrum * band, len(speech)), SAMPLE_RATE, PHONE_RATE)
    peak = max(float(np.abs(narrow).max()), 1e-9)
    through = _mu_law(narrow / peak) if codec == "mu-law" else through_amr(narrow / peak, bit_rate)
    wide = soxr.resample(through * peak, PHONE_RATE, SAMPLE_RATE)
    return np.pad(wide, (0, max(0, len(speech) - len(wide))))[: len(speech)].astype(np.float32)


def _mu_law(narrow: FloatArray) -> FloatArray:
    coded = np.sign(narrow) * np.log1p(255 * np.abs(narrow)) / np.log(256)
    coded = np.round(coded * 127) / 127
    decoded: FloatArray = np.sign(coded) * np.expm1(np.abs(coded) * np.log(256)) / 255
    return decoded


def room(speech: FloatArray, generator: np.random.Generator) -> FloatArray:
    """The speech in a room: noise that decays 60 dB in 0.2-0.5 s, 4-12 dB under the direct sound."""
    decay_s = generator.uniform(0.2, 0.5)
    time = np.arange(round(decay_s * SAMPLE_RATE)) / SAMPLE_RATE
    tail = generator.standard_normal(len(time)) * 10 ** (-3 * time / decay_s)
    tail[: round(0.002 * SAMPLE_RATE)] = 0.0  # the first wall is farther than 0.3 m
    tail *= 10 ** (-generator.uniform(4, 12) / 20) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    size = len(speech) + len(tail)
    wet = np.fft.irfft(np.fft.rfft(speech, size) * np.fft.rfft(tail, size), size)
    return wet[: len(speech)].astype(np.float32)

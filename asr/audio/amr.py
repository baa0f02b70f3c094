"""The speech codec of mobile phones, AMR narrow-band (3GPP TS 26.090), there and back."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any, Literal

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext

from asr.arrays import FloatArray
from lm.errors import InputError

BIT_RATES = (4_750, 5_150, 5_900, 6_700, 7_400, 7_950, 10_200, 12_200)
"""Bits a second; a network lowers them where many talk or little is received."""
RATE = 8_000
FRAME = 160
DELAY = 40
"""Samples by which what comes out is late: the encoder looks 5 ms ahead."""


def through_amr(speech: FloatArray, bit_rate: int) -> FloatArray:
    """Speech at 8 kHz between -1 and 1, (S,) -> (S,).

    Raises:
        InputError: PyAV was built without the codec.
    """
    try:
        encoder = _context("libopencore_amrnb", "w")
        decoder = _context("amrnb", "r")
    except ValueError as error:  # PyAV's unknown codec is one
        raise InputError(
            "this PyAV has no encoder of AMR. Install PyAV's wheel (pip install --force-reinstall av), or leave "
            "amr-nb out of augment.telephone_codecs."
        ) from error
    encoder.sample_rate, encoder.layout, encoder.format = RATE, "mono", "s16"
    encoder.bit_rate, encoder.time_base = bit_rate, Fraction(1, RATE)
    decoder.sample_rate, decoder.layout = RATE, "mono"
    samples = (speech.clip(-1, 1) * 32_767).round().astype(np.int16)
    samples = np.pad(samples, (0, DELAY + FRAME - (len(samples) + DELAY) % FRAME))
    parts = []
    for at in range(0, len(samples), FRAME):
        frame = av.AudioFrame.from_ndarray(samples[None, at : at + FRAME], format="s16", layout="mono")
        frame.sample_rate, frame.pts = RATE, at
        parts += _decoded(decoder, encoder.encode(frame))
    parts += _decoded(decoder, encoder.encode(None))
    out: FloatArray = np.concatenate(parts)[DELAY : DELAY + len(speech)]
    return out


def _context(name: str, mode: Literal["r", "w"]) -> AudioCodecContext:
    context = av.CodecContext.create(name, mode)
    assert isinstance(context, AudioCodecContext)
    return context


def _decoded(decoder: AudioCodecContext, packets: Iterable[Any]) -> list[FloatArray]:
    return [frame.to_ndarray()[0] for packet in packets for frame in decoder.decode(packet)]

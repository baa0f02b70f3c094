"""Sounds that segmenters meet, made from a seed, and what holds for every segmentation of them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Mapping

import numpy as np

from asr.arrays import FloatArray
from asr.segment import Segment, Segmenter

RATE = 16_000


def speech(seconds: float, seed: int = 0) -> FloatArray:
    """Something that webrtcvad takes for speech: a buzz of 120 Hz through three formants, in syllables."""
    rng = np.random.default_rng(seed)
    time = np.arange(RATE) / RATE
    harmonics = sum(
        np.sin(2 * np.pi * 120 * k * time + rng.uniform(0, 6)) * np.exp(-(((120 * k - f) / 150) ** 2))
        for k in range(1, 30)
        for f in (500, 1500, 2500)
    )
    second = 0.1 * harmonics * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * time))
    return np.resize(second.astype(np.float32), round(seconds * RATE))  # it repeats each second


def silence(seconds: float) -> FloatArray:
    """A quiet room."""
    return (1e-4 * np.random.default_rng(9).standard_normal(round(seconds * RATE))).astype(np.float32)


def lay(*pieces: FloatArray) -> FloatArray:
    """The pieces one after the other."""
    return np.concatenate(pieces)


def peak(segmenter: Segmenter, pattern: FloatArray, times: int, longest_s: float) -> int:
    """Most bytes that Python holds while a pattern that comes so often is cut."""
    tracemalloc.start()
    for _, samples in segmenter(pattern for _ in range(times)):
        assert len(samples) <= longest_s * RATE
    highest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return highest


def check(waveform: FloatArray, found: list[tuple[Segment, FloatArray]], max_segment_s: float) -> None:
    """What holds for every segmentation: order, sample-exact times, own samples, lengths."""
    end = 0.0
    for segment, samples in found:
        first, last = round(segment.start * RATE), round(segment.end * RATE)
        assert (segment.start, segment.end) == (first / RATE, last / RATE)
        assert end <= segment.start < segment.end <= len(waveform) / RATE
        assert segment.duration <= max_segment_s + 1e-9
        np.testing.assert_array_equal(samples, waveform[first:last])
        end = segment.end


def music(seconds: float) -> FloatArray:
    """A chord with a beat and some hiss: it moves, and never stops."""
    time = np.arange(round(seconds * RATE)) / RATE
    chord = sum(np.sin(2 * np.pi * pitch * time) for pitch in (220.0, 277.2, 329.6))
    hiss = np.random.default_rng(3).standard_normal(len(time))
    return (0.1 * chord * (0.7 + 0.3 * np.sin(2 * np.pi * 2 * time)) + 0.01 * hiss).astype(np.float32)


def vowel(seconds: float) -> FloatArray:
    """One breath without end."""
    time = np.arange(RATE) / RATE
    waves = sum(
        np.sin(2 * np.pi * 120 * k * time) * np.exp(-(((120 * k - 700) / 300) ** 2)) for k in range(1, 30)
    )
    return np.resize((0.1 * waves).astype(np.float32), round(seconds * RATE))


def clipped(seconds: float) -> FloatArray:
    """Noise far beyond full scale."""
    return np.clip(3 * np.random.default_rng(4).standard_normal(round(seconds * RATE)), -1, 1).astype(
        np.float32
    )


SOUNDS: Mapping[str, Callable[[], FloatArray]] = {
    "nothing": lambda: np.zeros(0, np.float32),
    "a sample": lambda: np.full(1, 0.5, np.float32),
    "less than a frame": lambda: speech(0.008),
    "a click": lambda: lay(silence(1), speech(0.04), silence(1)),
    "digital silence": lambda: np.zeros(40 * RATE, np.float32),
    "a quiet room": lambda: silence(40),
    "music": lambda: music(45),
    "a vowel without end": lambda: vowel(65),
    "clipped noise": lambda: clipped(45),
    "talk": lambda: lay(
        silence(0.7),
        speech(7),
        silence(0.6),
        speech(12.5, 1),
        silence(0.23),
        speech(9, 2),
        silence(1.3),
        speech(0.6, 3),
        silence(30),
        speech(24, 4),
        silence(0.321),
    ),
}

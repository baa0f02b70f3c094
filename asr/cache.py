"""Decoded audio kept in memory while training goes through it again and again."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from asr.arrays import FloatArray
from asr.audio import load
from asr.frames import samples_to_seconds, seconds_to_samples
from asr.manifest import Utterance
from lm.errors import InputError


class AudioCache:
    """Decoded utterances, kept as 16-bit samples while there is room."""

    def __init__(self, limit_bytes: float) -> None:
        self.room = limit_bytes
        self.held: dict[tuple[Path, float, float], NDArray[np.int16]] = {}
        self.lock = Lock()

    def load(self, utterance: Utterance) -> FloatArray:
        """Waveform of an utterance, (S,)."""
        return _sound(self._samples(utterance))

    def stretch(self, utterance: Utterance, start_s: float, duration_s: float) -> FloatArray:
        """A stretch of a long utterance, (S,); the whole is decoded only where there is room to keep it."""
        first, count = seconds_to_samples(start_s), seconds_to_samples(duration_s)
        if _key(utterance) in self.held or 2 * seconds_to_samples(utterance.duration_s) <= self.room:
            return _sound(self._samples(utterance)[first : first + count])
        start_s = utterance.offset_s + samples_to_seconds(first)
        return _sound(_rounded(load(utterance.audio, offset_s=start_s, duration_s=duration_s)))

    def _samples(self, utterance: Utterance) -> NDArray[np.int16]:
        held = self.held.get(_key(utterance))
        if held is not None:
            return held
        rounded = _rounded(
            load(utterance.audio, offset_s=utterance.offset_s, duration_s=utterance.duration_s)
        )
        with self.lock:
            if rounded.nbytes <= self.room:
                self.room -= rounded.nbytes
                self.held[_key(utterance)] = rounded
        # The rounded values are used the first time too: the cache must not change a result.
        return rounded


def _key(utterance: Utterance) -> tuple[Path, float, float]:
    return utterance.audio, utterance.offset_s, utterance.duration_s


def _rounded(waveform: FloatArray) -> NDArray[np.int16]:
    return np.clip(np.round(waveform * 32768), -32768, 32767).astype(np.int16)


def _sound(samples: NDArray[np.int16]) -> FloatArray:
    return samples.astype(np.float32) / np.float32(32768)


def readable(utterances: Sequence[Utterance], cache: AudioCache) -> list[Utterance]:
    """The dev utterances whose audio can be read; the others are named on standard error.

    Dev is read before training: a bad file there would stop it at the first evaluation.

    Raises:
        InputError: none can be read.
    """
    kept = []
    for utterance in utterances:
        try:
            cache.load(utterance)
            kept.append(utterance)
        except InputError as error:
            print(f"left out of dev: {error}", file=sys.stderr)
    if not kept:
        raise InputError("no dev utterance can be read; see above. Run `loquela corpus check`.")
    return kept


def refuse_silence(part: str, utterances: Sequence[Utterance], cache: AudioCache) -> None:
    """Refuse a part of a corpus in which nothing is heard; one with sound is known by its first utterance that has any.

    Raises:
        InputError: every sample of each utterance that can be read is the same.
    """
    silent = 0
    for utterance in utterances:
        try:
            if np.ptp(cache.load(utterance)):
                return
            silent += 1
        except InputError:  # told where it is left out
            continue
    if silent:
        raise InputError(
            f"the audio of all {silent} {part} utterances is silence: every sample is the same. Look at the "
            "recordings (`loquela corpus check`, or `loquela corpus curate`, which leaves silence out)."
        )

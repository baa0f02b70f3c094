"""How much of a recording has passed, and how loud it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from asr.arrays import FloatArray
from asr.frames import samples_to_seconds
from asr.transcript import Gap
from lm.errors import InputError


class Clock:
    """Counts the audio that passes, and keeps its peak."""

    def __init__(self, progress: Callable[[float], None] | None = None) -> None:
        """
        Args:
            progress: called with the seconds that have passed.
        """
        self.samples = 0
        self.peak = 0.0
        """Of the samples that have passed, by magnitude; full scale is 1."""
        self.progress = progress
        self.failure: InputError | None = None
        """Why the recording broke off, if `watch` was to bear that."""

    @property
    def seconds(self) -> float:
        """Of audio that has passed."""
        return samples_to_seconds(self.samples)

    def lost(self, promised_s: float | None) -> Gap | None:
        """What is missing of a recording that broke off; None of a whole one.

        Args:
            promised_s: its length by its header, where that says one.
        """
        if self.failure is None:
            return None
        end = max(self.seconds, promised_s or 0.0)
        return Gap(start=self.seconds, end=end, reason=f"failed: {self.failure}")

    def watch(self, chunks: Iterable[FloatArray], *, partly: bool = False) -> Iterator[FloatArray]:
        """The chunks as they come.

        Args:
            partly: of a recording that breaks off, what comes before that, instead of the error.
        """
        try:
            for chunk in chunks:
                self.samples += len(chunk)
                self.peak = max(self.peak, float(np.abs(chunk).max(initial=0)))
                yield chunk
                if self.progress:
                    self.progress(self.seconds)
        except InputError as error:
            if not (partly and self.samples):
                raise
            self.failure = error

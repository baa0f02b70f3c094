"""What every reader of an audio file gives, and the checks and errors that they share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from asr.arrays import FloatArray
from asr.names import shown
from lm.errors import InputError

HEADER_TOLERANCE_S = 0.1
"""By how much a compressed file may decode shorter than its header: encoder delay and padding."""
PREROLL_S = 1.0
"""Decoded and thrown away after a seek, so that the codec's memory is as in an unbroken decode."""
MAX_BLOCK_VALUES = 1 << 20
"""Samples times channels that a reader holds at once."""
RATES = (1_000, 768_000)
"""Beyond these a header is damaged, and resampling to 16 kHz would not end."""


@dataclass(frozen=True, kw_only=True)
class AudioInfo:
    """What a recording's header says of it; the length is a promise until it is decoded."""

    path: Path
    sample_rate: int
    num_channels: int
    header_duration_s: float | None
    """None where the container does not say, or only estimates."""
    codec: str
    """Lower case, as in ``pcm_16``, ``opus``, ``aac``."""
    container: str

    @property
    def telephone(self) -> bool:
        """Sampled at 8 kHz or less: nothing above 4 kHz, whatever it is resampled to."""
        return self.sample_rate <= 8_000

    @property
    def block_samples(self) -> int:
        """Samples per channel that a reader gives at a time: a second, fewer of many channels."""
        return max(1, min(self.sample_rate, MAX_BLOCK_VALUES // self.num_channels))


class Reader(Protocol):
    """An open recording, at its own rate and with all its channels."""

    info: AudioInfo

    def blocks(self, start: int) -> Iterator[FloatArray]:
        """Samples (S, C) from sample ``start`` of the file to its end, about a second at a time.

        Raises:
            InputError: decoding broke, the file is shorter than promised, or holds NaN.
        """

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


def check_rate(path: Path, rate: int) -> None:
    """Refuse a sample rate that no recording has."""
    if not RATES[0] <= rate <= RATES[1]:
        raise InputError(
            f"{shown(path)}: its header gives {rate} samples per second. Convert or copy it again."
        )


def check_finite(block: FloatArray, info: AudioInfo, position: int) -> None:
    """Refuse NaN and infinity, which would spread over a whole utterance's features.

    Args:
        block: (S, C).
        position: place of its first sample in the file.
    """
    finite = np.isfinite(block)
    if not finite.all():
        second = (position + int(np.argmin(finite.all(axis=1)))) / info.sample_rate
        raise InputError(
            f"{shown(info.path)}: NaN or infinite sample at {second:.3f} s. "
            "Write the file again from its source, as 16-bit integers."
        )


def no_samples(path: Path) -> InputError:
    """The error for a file that is sound but holds none."""
    return InputError(f"{shown(path)} holds no samples. Record it again or leave it out.")


def broken(path: Path, seconds: float, promised_s: float | None) -> InputError:
    """The error for a file that decodes up to ``seconds`` only."""
    of = f" of {promised_s:.1f} s" if promised_s is not None else ""
    return InputError(
        f"{shown(path)}: decoding broke after {seconds:.1f} s{of}; the file is cut short or damaged. "
        "Copy it again, or save what there is with `ffmpeg -i OLD NEW.wav`."
    )

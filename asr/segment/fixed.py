"""Even windows, for sound in which every detector fails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from asr.arrays import FloatArray
from asr.frames import seconds_to_samples
from asr.segment.limits import check_limit
from asr.segment.sound import Sound, Speech, pieces


@dataclass(frozen=True, kw_only=True)
class FixedConfig:
    """Windows of one length, as the baseline of SHAS (Tsiamas et al. 2022, table 2: 20 s)."""

    max_segment_s: float = 20.0
    """Length of every window but the last two, which share what is left of both."""

    def __post_init__(self) -> None:
        check_limit(self.max_segment_s)


def split_fixed(
    chunks: Iterable[FloatArray], max_segment_s: float = FixedConfig.max_segment_s
) -> Iterator[Speech]:
    """The whole recording in equal windows; the last two share what is left of both.

    No window is longer than ``max_segment_s``, and none shorter than half of it unless the
    recording is.
    """
    size = seconds_to_samples(max_segment_s)
    sound = Sound()
    for piece in pieces(chunks):
        sound.append(piece)
        while sound.end - sound.start >= 2 * size:
            yield sound.take(sound.start, sound.start + size)
    left = sound.end - sound.start
    if left > size:
        yield sound.take(sound.start, sound.start + (left + 1) // 2)
    if left:
        yield sound.take(sound.start, sound.end)

"""Segments that a user made: by hand, by another program, or with `loquela segment`."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from asr.arrays import FloatArray
from asr.frames import samples_to_seconds, seconds_to_samples
from asr.manifest import MAX_OVERSHOOT_S
from asr.names import shown
from asr.segment.cutter import Cutter, Event
from asr.segment.sound import Segment, Sound, Speech, pieces
from asr.segment.speech import SpeechConfig
from lm.errors import InputError


@dataclass(frozen=True)
class OwnSegment(Segment):
    """A stretch that a user made, and who speaks in it."""

    speaker: str = ""
    """Empty where the file does not say."""


@dataclass(frozen=True, kw_only=True)
class OwnSegments:
    """What a file of segments says; `asr.segment.files` reads one.

    Segments may overlap, as those of several speakers do; each is given as if it were alone. They come
    by their start, and a speaker's span that the file has twice comes once.
    """

    path: Path
    recordings: Mapping[str, Sequence[Segment]]
    """`recording_key` of a recording, with the folders that the file names, to its segments in order, `OwnSegment`s
    where a file of them was read; "" where the file names none."""

    @property
    def is_for_one(self) -> bool:
        """The file names no recording: its segments are of the one that is given with it."""
        return set(self.recordings) == {""}

    def of(self, recording: str | Path) -> Sequence[Segment]:
        """The segments of a recording.

        Raises:
            InputError: the file names others only, or several of its name in folders that do not tell which is meant.
        """
        return self.recordings[self._key_of(recording)]

    def check(self, recordings: Iterable[str | Path]) -> None:
        """Refuse recordings of one name in several folders that would be given the same segments.

        Raises:
            InputError: there are such.
        """
        given: dict[str, Path] = {}
        for recording in () if self.is_for_one else map(Path, recordings):
            try:
                key = self._key_of(recording)
            except InputError:  # told when its turn comes
                continue
            other = given.setdefault(key, recording)
            if other.parent != recording.parent:
                raise InputError(
                    f"{shown(self.path)} has segments of {key!r}, which may be {shown(other)} or {shown(recording)}. "
                    "Name the recording with its folder there, or give one recording at a time."
                )

    def _key_of(self, recording: str | Path) -> str:
        """The name of the file's that a recording has most folders in common with."""
        if self.is_for_one:
            return ""
        place = recording_key(os.path.abspath(recording)).split("/")
        ranks = {name: _common(name.split("/"), place) for name in self._alike.get(place[-1], ())}
        best = [name for name, rank in ranks.items() if rank == max(ranks.values())]
        if len(best) == 1:
            return best[0]
        if best:
            raise InputError(
                f"{shown(self.path)} has segments of {best[0]!r} and {best[1]!r}, and {shown(recording)} may be "
                "either. Name its folder in it as it is called, or leave the others out."
            )
        names = ", ".join(map(repr, [*self.recordings][:5])) or "none"
        more = " ..." if len(self.recordings) > 5 else ""
        raise InputError(
            f"{shown(self.path)} has no segments of {shown(place[-1])}, only of {names}{more}. "
            "Name the recording in it as its file is called."
        )

    @cached_property
    def _alike(self) -> dict[str, list[str]]:
        """The names that the file has, by their last part."""
        found: dict[str, list[str]] = {}
        for name in self.recordings:
            found.setdefault(name.rsplit("/", 1)[-1], []).append(name)
        return found

    def beyond(self, recording: str | Path, length_s: float, *, wholly: bool = False) -> str:
        """What to say of the first segment that ends beyond a recording; "" where none does.

        One that ends at most `MAX_OVERSHOOT_S` beyond it ends with it: tables round their times.

        Args:
            length_s: of the recording.
            wholly: pass over those that begin in the recording, and have sound so.
        Raises:
            InputError: the file names other recordings only.
        """
        for each in self.of(recording):
            if (each.start if wholly else each.end) > length_s + MAX_OVERSHOOT_S:
                return (
                    f"{shown(self.path)}: a segment from {each.start:.3f} to {each.end:.3f} s, but {shown(recording)} "
                    f"ends at {length_s:.3f} s. Mend its times, or give the recording that it belongs to."
                )
        return ""

    def split(
        self,
        chunks: Iterable[FloatArray],
        recording: str | Path,
        max_segment_s: float = SpeechConfig.max_segment_s,
    ) -> Iterator[Speech]:
        """The segments of a recording with their samples, in memory for the longest of them.

        What reaches beyond the recording ends with it; whether it may, `beyond` says.

        Args:
            chunks: a waveform at 16 kHz in consecutive pieces of any length, each (S,).
            max_segment_s: longer ones are cut, at their quietest places as a segmenter cuts.
        Yields:
            by their start; of the kind they are in ``recordings``, so with their speakers.
        Raises:
            InputError: the file has none of this recording.
        """
        waiting = [
            _Waiting(seconds_to_samples(each.start), seconds_to_samples(each.end), number, each)
            for number, each in enumerate(self.of(recording))
        ]
        heapq.heapify(waiting)
        sound = Sound()
        for piece in pieces(chunks):
            sound.append(piece)
            yield from _certain(sound, waiting, max_segment_s)
            sound.drop_before(waiting[0].start if waiting else sound.end)
        ended = [each._replace(end=min(each.end, sound.end)) for each in waiting if each.start < sound.end]
        heapq.heapify(ended)
        yield from _certain(sound, ended, max_segment_s)


class _Waiting(NamedTuple):
    """What is left of a segment whose sound has not all come, in samples."""

    start: int
    end: int
    number: int
    segment: Segment


def _certain(sound: Sound, waiting: list[_Waiting], max_segment_s: float) -> Iterator[Speech]:
    """What can be given of those that wait, by their start; they are a heap, and it is taken out."""
    most = seconds_to_samples(max_segment_s)
    while waiting and min(waiting[0].end, waiting[0].start + most + 1) <= sound.end:
        start, end, number, segment = heapq.heappop(waiting)
        if end - start > most:
            cut = start + _cut_of(sound.between(start, start + most + 1), max_segment_s)
            heapq.heappush(waiting, _Waiting(cut, end, number, segment))
            end = cut
        yield _given(sound, start, end, segment)


def _given(sound: Sound, start: int, end: int, segment: Segment) -> Speech:
    span = replace(segment, start=samples_to_seconds(start), end=samples_to_seconds(end))
    return span, sound.between(start, end)


def _cut_of(samples: FloatArray, max_segment_s: float) -> int:
    """Where a segmenter cuts what is too long by a sample, (S,)."""
    sound = Sound()
    sound.append(samples)
    cutter = Cutter(
        sound,
        keep_s=0.0,
        merge_gap_s=0.0,
        max_segment_s=max_segment_s,
        search_ratio=SpeechConfig.search_ratio,
        ring_s=0.0,
    )
    _, first = next(cutter.advance(Event(now=sound.end, start=0, end=sound.end)))
    return len(first)


def recording_key(name: str, *, whole: bool = False) -> str:
    """What a file of segments and a recording have in common: the folders and the name, without audio ending.

    Args:
        whole: with that ending.

    >>> recording_key("./wav/ted_1.wav"), recording_key("talk.2024"), recording_key("talk.mp4", whole=True)
    ('wav/ted_1', 'talk.2024', 'talk.mp4')
    """
    from asr.names import AUDIO_ENDINGS, composed

    place = "/".join(part for part in composed(name).replace("\\", "/").split("/") if part not in ("", "."))
    stem, dot, ending = place.rpartition(".")
    ends = dot and f".{ending.lower()}" in AUDIO_ENDINGS and not whole
    return "_".join((stem if ends else place).split())


def _common(name: Sequence[str], place: Sequence[str]) -> tuple[int, bool]:
    """How many parts a name in a file has in common with a recording's place, from the end, and whether all."""
    same = len(
        list(takewhile(lambda pair: pair[0] == pair[1], zip(reversed(name), reversed(place), strict=False)))
    )
    return same, same == len(name)

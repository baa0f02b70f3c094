"""Segments that a user made: by hand, by another program, or with `loquela segment`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.frames import samples_to_seconds, seconds_to_samples
from asr.names import shown
from asr.segment.sound import FloatArray, Segment, Sound, Speech, pieces
from lm.errors import InputError

END_TOLERANCE_S = 0.1
"""A segment may end this far beyond the recording and ends with it then: tables round their times."""


@dataclass(frozen=True, kw_only=True)
class OwnSegments:
    """What a file of segments says.

    Segments may overlap, as those of several speakers do; each is then given whole. They come by
    their start, and a span that the file has twice comes once.
    """

    path: Path
    recordings: Mapping[str, Sequence[Segment]]
    """Name of a recording, without its ending, to its segments in order; "" where the file names none."""

    @classmethod
    def read(cls, path: str | Path, tier: str = "") -> OwnSegments:
        """Read MuST-C's yaml, a table of ``start end`` in seconds, RTTM, an ELAN file or a TextGrid.

        Args:
            tier: of ELAN and Praat, the tier that holds the segments; not needed where there is one.
        Raises:
            InputError: unreadable, in none of these forms, or with a span that has no length.
        """
        from asr.segment.files import read_segments

        return read_segments(Path(path), tier)

    @property
    def is_for_one(self) -> bool:
        """The file names no recording: its segments are of the one that is given with it."""
        return set(self.recordings) == {""}

    def of(self, recording: str | Path) -> Sequence[Segment]:
        """The segments of a recording.

        Raises:
            InputError: the file names others only.
        """
        name = recording_key(str(recording))
        if self.is_for_one:
            return self.recordings[""]
        if name not in self.recordings:
            names = ", ".join(map(repr, [*self.recordings][:5])) or "none"
            more = " ..." if len(self.recordings) > 5 else ""
            raise InputError(
                f"{shown(self.path)} has no segments of {shown(name)}, only of {names}{more}. "
                "Name the recording in it as its file is called."
            )
        return self.recordings[name]

    def split(self, chunks: Iterable[FloatArray], recording: str | Path) -> Iterator[Speech]:
        """The segments of a recording with their samples, in memory for the longest of them.

        Args:
            chunks: a waveform at 16 kHz in consecutive pieces of any length, each (S,).
        Raises:
            InputError: the file has none of this recording, or one ends beyond it.
        """
        waiting = [
            (seconds_to_samples(each.start), seconds_to_samples(each.end)) for each in self.of(recording)
        ]
        waiting.reverse()
        sound = Sound()
        for piece in pieces(chunks):
            sound.append(piece)
            while waiting and waiting[-1][1] <= sound.end:
                yield _given(sound, *waiting.pop())
            sound.drop_before(waiting[-1][0] if waiting else sound.end)
        length_s = samples_to_seconds(sound.end)
        for start, end in reversed(waiting):
            if start >= sound.end or samples_to_seconds(end) > length_s + END_TOLERANCE_S:
                raise InputError(
                    f"{shown(self.path)}: a segment from {samples_to_seconds(start):.3f} to "
                    f"{samples_to_seconds(end):.3f} s, but {shown(recording)} ends at {length_s:.3f} s. "
                    "Mend its times, or give the recording that it belongs to."
                )
            yield _given(sound, start, min(end, sound.end))


def recording_key(name: str) -> str:
    """What a file of segments and a recording have in common: the name without folder and audio ending.

    >>> recording_key("wav/ted_1.wav"), recording_key("talk.2024")
    ('ted_1', 'talk.2024')
    """
    from asr.names import AUDIO_ENDINGS

    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    stem, dot, ending = last.rpartition(".")
    return "_".join((stem if dot and f".{ending.lower()}" in AUDIO_ENDINGS else last).split())


def _given(sound: Sound, start: int, end: int) -> Speech:
    return Segment(samples_to_seconds(start), samples_to_seconds(end)), sound.between(start, end)

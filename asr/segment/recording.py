"""From a recording to its segments, without recognising anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from asr.audio import channels, probe, stream
from asr.frames import samples_to_seconds
from asr.segment.sound import FloatArray, Segmenter
from asr.transcript import Transcript, TranscriptSegment


def segment_recording(
    path: str | Path,
    segmenter: Segmenter,
    *,
    channel: str = "mix",
    progress: Callable[[float], None] | None = None,
) -> Transcript:
    """The segments of one recording of any length, as a transcript in which they have no text.

    Args:
        channel: ``mix``, a channel number from 1, or ``split``: each channel a speaker.
        progress: called with the seconds of audio that are done.
    Raises:
        InputError: the recording cannot be read to its end.
    """
    path = Path(path)
    wanted = channels(channel, probe(path))
    duration = 0.0
    found: list[TranscriptSegment] = []
    for each in wanted:
        clock = _Clock(progress)
        speaker = f"channel {each}" if len(wanted) > 1 else ""
        found += [
            TranscriptSegment(start=segment.start, end=segment.end, text="", speaker=speaker)
            for segment, _ in segmenter(clock.watch(stream(path, channel=each)))
        ]
        duration = max(duration, clock.seconds)
    found.sort(key=lambda segment: (segment.start, segment.speaker))
    return Transcript(recording=path.stem, audio=path, duration=duration, segments=tuple(found))


class _Clock:
    """Counts the audio that passes."""

    def __init__(self, progress: Callable[[float], None] | None) -> None:
        self.samples = 0
        self.progress = progress

    @property
    def seconds(self) -> float:
        return samples_to_seconds(self.samples)

    def watch(self, chunks: Iterable[FloatArray]) -> Iterator[FloatArray]:
        for chunk in chunks:
            self.samples += len(chunk)
            yield chunk
            if self.progress:
                self.progress(self.seconds)

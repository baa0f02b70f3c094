"""From a recording to its segments, without recognising anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from asr.audio import channels, probe, stream
from asr.audio.clock import Clock
from asr.segment.sound import Segmenter
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
        clock = Clock(progress)
        speaker = f"channel {each}" if len(wanted) > 1 else ""
        found += [
            TranscriptSegment(start=segment.start, end=segment.end, text="", speaker=speaker)
            for segment, _ in segmenter(clock.watch(stream(path, channel=each)))
        ]
        duration = max(duration, clock.seconds)
    found.sort(key=lambda segment: (segment.start, segment.speaker))
    return Transcript(recording=path.stem, audio=path, duration=duration, segments=tuple(found))

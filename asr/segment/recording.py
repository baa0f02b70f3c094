"""From a recording to its segments, without recognising anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from asr.audio import channels, probe, stream
from asr.audio.clock import Clock
from asr.segment.sound import Segmenter
from asr.transcript import Gap, Transcript, TranscriptSegment


def segment_recording(
    path: str | Path,
    segmenter: Segmenter,
    *,
    channel: str = "mix",
    progress: Callable[[float], None] | None = None,
) -> Transcript:
    """The segments of one recording of any length, as a transcript in which they have no text.

    Of one that breaks off, what can be read is cut; the rest is a gap, and ``details["failed"]`` says why.

    Args:
        channel: ``mix``, a channel number from 1, or ``split``: each channel a speaker.
        progress: called with the seconds of audio that are done.
    Raises:
        InputError: nothing of the recording can be read.
    """
    path = Path(path)
    info = probe(path, partly=True)
    wanted = channels(channel, info)
    duration = 0.0
    found: list[TranscriptSegment] = []
    lost: Gap | None = None
    details: dict[str, str] = {}
    for each in wanted:
        clock = Clock(progress)
        speaker = f"channel {each}" if len(wanted) > 1 else ""
        found += [
            TranscriptSegment(start=segment.start, end=segment.end, text="", speaker=speaker)
            for segment, _ in segmenter(clock.watch(stream(path, channel=each, partly=True), partly=True))
        ]
        duration = max(duration, clock.seconds)
        if clock.failure is not None:
            lost, details["failed"] = clock.lost(info.header_duration_s), str(clock.failure)
    found.sort(key=lambda segment: (segment.start, segment.speaker))
    return Transcript(
        recording=path.stem,
        audio=path,
        duration=duration,
        segments=tuple(found),
        gaps=(lost,) if lost else (),
        details=details,
    )

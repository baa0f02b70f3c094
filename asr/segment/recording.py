"""From a recording to its segments, without recognising anything."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from asr.audio import channels, probe, stream
from asr.audio.clock import Clock
from asr.names import shown
from asr.segment.sound import Segmenter
from asr.transcript import Gap, Transcript, TranscriptSegment

QUIET_PEAK = 10 ** (-45 / 20)
"""Of speech whose loudest sample lies below this, detectors of voice miss more and more."""
SPARSE = 0.02
"""Share of a recording below which its speech is more likely missed than rare."""
JUDGED_S = 10.0
"""Shorter ones may well hold little but a breath; they are judged where nothing is heard at so low a level alone."""
SHORTEST_JUDGED_S = 1.0
"""Still shorter ones may hold nothing."""


def quiet(path: Path, speech_s: float, duration_s: float, peak: float) -> dict[str, str]:
    """What a transcript keeps, under the name ``quiet``, of a recording in which speech may have been missed.

    Nothing is kept of one that the segments cover, as even windows do.

    Args:
        speech_s: length of all segments.
        peak: the loudest sample's magnitude.
    """
    if duration_s >= JUDGED_S:
        missed = speech_s <= (1 - SPARSE if peak < QUIET_PEAK else SPARSE) * duration_s
    else:
        missed = not speech_s and peak < QUIET_PEAK and duration_s >= SHORTEST_JUDGED_S
    if not missed:
        return {}
    told = f"{shown(path)}: speech in {speech_s:.1f} of {duration_s:.1f} s; "
    if not peak:
        return {"quiet": f"{told}all its samples are zero. Record it again, or give another --channel."}
    loudest = f"its loudest sample is at {20 * math.log10(peak):.0f} dBFS."
    return {"quiet": f"{told}{loudest} Try --segmenter fixed, or turn the recording up."}


def segment_recording(
    path: str | Path,
    segmenter: Segmenter,
    *,
    channel: str = "mix",
    progress: Callable[[float], None] | None = None,
) -> Transcript:
    """The segments of one recording of any length, as a transcript in which they have no text.

    Of one that breaks off, what can be read is cut; the rest is a gap, and ``details["failed"]`` says why;
    ``details["quiet"]`` says where speech may have been missed.

    Args:
        channel: ``mix``, a channel number from 1, or ``split``: each channel a speaker.
        progress: called with the seconds of audio that are done.
    Raises:
        InputError: nothing of the recording can be read.
    """
    path = Path(path)
    info = probe(path, partly=True)
    wanted = channels(channel, info)
    duration = peak = 0.0
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
        duration, peak = max(duration, clock.seconds), max(peak, clock.peak)
        if clock.failure is not None:
            lost, details["failed"] = clock.lost(info.header_duration_s), str(clock.failure)
    found.sort(key=lambda segment: (segment.start, segment.speaker))
    return Transcript(
        recording=path.stem,
        audio=path,
        duration=duration,
        segments=tuple(found),
        gaps=(lost,) if lost else (),
        details=details | quiet(path, sum(each.end - each.start for each in found), duration, peak),
    )

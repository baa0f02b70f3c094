"""Lay the utterances of one test session end to end, with pauses, as a recording to transcribe."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

from asr.audio import load
from asr.cli import guarded
from asr.frames import SAMPLE_RATE, samples_to_seconds, seconds_to_samples
from asr.manifest import read_manifest, write_manifest

PAUSE_S = 0.7


def main() -> int:
    """Read, join, write."""
    manifest, out = sys.argv[1], Path(sys.argv[2])
    rows = read_manifest(manifest, split="test")
    # Test utterances are spread over the sessions: take the speaker with the most, up to ten minutes.
    speaker = Counter(row.speaker for row in rows).most_common(1)[0][0]
    parts, laid, length = [], [], 0
    pause = 0.001 * np.random.default_rng(1).standard_normal(seconds_to_samples(PAUSE_S)).astype(np.float32)
    path = out / "session.wav"
    for row in (row for row in rows if row.speaker == speaker):
        waveform = load(row.audio, offset_s=row.offset_s, duration_s=row.duration_s)
        start = length + len(pause)
        parts += [pause, waveform]
        place = {"offset_s": samples_to_seconds(start), "duration_s": samples_to_seconds(len(waveform))}
        laid.append(replace(row, audio=path, extra={"recording": "session"}, **place))
        length = start + len(waveform)
        if samples_to_seconds(length) > 600:
            break
    out.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.concatenate(parts), SAMPLE_RATE, subtype="PCM_16")
    write_manifest(laid, out / "manifest.tsv")
    print(f"{len(laid)} utterances of {speaker}, {samples_to_seconds(length):.0f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))

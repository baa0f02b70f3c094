"""Long recordings with the places of their segments: ``lay_recordings.py CORPORA MINI OUT``.

Killkan's chapters are laid out again from their clips, the pauses filled with a quiet noise of changing level (the
corpus has no sound for them); chapters 17 to 19 come whole. Storybooks are recordings that nobody has touched; their
pages are tightened to where they are loud. Mboshi's sentences are joined, tightened too, with pauses
drawn from those between Killkan's sentences. Mini is the synthetic corpus of this repository.

Writes ``manifest.tsv`` (what may be learned from, and what Killkan and the stories are tested on), ``killkan.tsv``, its
chapters alone in the splits of the recogniser, and ``mboshi.tsv``, which has no licence: nothing that is shipped learns
from it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

from asr.arrays import FloatArray
from asr.audio import load
from asr.cli import guarded
from asr.frames import SAMPLE_RATE, samples_to_seconds, seconds_to_samples
from asr.manifest import Utterance, read_manifest, write_manifest

WHOLE = {"ch17": "dev", "ch18": "test", "ch19": "test"}
"""Chapters that come as one recording."""
DEV_CHAPTERS = ("ch16", "ch17")
SPLITS = {"ch18": "dev", "ch19": "test"}
"""Of the recogniser's corpus."""
MBOSHI_MINUTES = 10


def main() -> int:
    """Read the corpora, write recordings and manifests."""
    corpora, mini, out = map(Path, sys.argv[1:4])
    out.mkdir(parents=True, exist_ok=True)
    chapters = killkan(corpora / "killkan")
    laid_out = list(lay_chapters(chapters, corpora / "killkan", out))
    rows = [
        *laid_out,
        *stories(corpora / "storybooks"),
        *synthetic(mini),
    ]
    write_manifest(rows, out / "manifest.tsv")
    own = [replace(row, split=SPLITS.get(row.audio.stem, "train")) for row in laid_out]
    write_manifest(own, out / "killkan.tsv")
    write_manifest(join_sessions(corpora / "mboshi", pauses(chapters), out), out / "mboshi.tsv")
    for split in ("train", "dev", "test"):
        own = [row for row in rows if row.split == split]
        print(f"{split}: {len({row.audio for row in own})} recordings, {len(own)} segments", file=sys.stderr)
    return 0


def killkan(corpus: Path) -> dict[str, list[Utterance]]:
    """The clips of each chapter with their places in it, in order."""
    chapters: dict[str, list[Utterance]] = {}
    for row in read_manifest(corpus / "manifest.tsv"):
        chapter, place = row.extra["recording"].split("@")
        start = float(place.split("-")[0])
        chapters.setdefault(chapter, []).append(replace(row, extra={"start": str(start)}))
    return {name: sorted(own, key=start_of) for name, own in chapters.items()}


def start_of(clip: Utterance) -> float:
    """Where a clip begins in its chapter."""
    return float(clip.extra["start"])


def pauses(chapters: dict[str, list[Utterance]]) -> list[float]:
    """Seconds between the sentences of the training chapters; those under a frame are none."""
    found = []
    for name, clips in chapters.items():
        if name not in WHOLE:
            ends = [start_of(clip) + clip.duration_s for clip in clips]
            found += [start_of(clip) - end for clip, end in zip(clips[1:], ends, strict=False)]
    return [pause for pause in found if 0.04 <= pause <= 10]


def lay_chapters(chapters: dict[str, list[Utterance]], corpus: Path, out: Path) -> Iterator[Utterance]:
    """Killkan's segments, as rows of its chapters' recordings."""
    for number, (name, clips) in enumerate(sorted(chapters.items())):
        path = corpus / "recordings" / f"{name}.ogg"
        if name not in WHOLE:
            path = out / f"{name}.flac"
            if not path.exists():
                partial = out / f"{name}.partial"  # half a chapter must not be taken for a whole one
                soundfile.write(
                    partial, laid(clips, np.random.default_rng(number)), SAMPLE_RATE, format="FLAC"
                )
                partial.replace(path)
        split = "test" if WHOLE.get(name) == "test" else "dev" if name in DEV_CHAPTERS else "train"
        for clip in clips:
            yield replace(clip, audio=path, offset_s=start_of(clip), split=split, extra={})


def laid(clips: Sequence[Utterance], generator: np.random.Generator) -> FloatArray:
    """A chapter's clips at their places, (S,)."""
    waveforms = [load(clip.audio) for clip in clips]
    starts = [seconds_to_samples(start_of(clip)) for clip in clips]
    length = max(start + len(waveform) for start, waveform in zip(starts, waveforms, strict=True))
    sound = np.zeros(length + SAMPLE_RATE, np.float32)
    # The level changes, so that it is no mark of a pause.
    for at in range(0, len(sound), 5 * SAMPLE_RATE):
        part = sound[at : at + 5 * SAMPLE_RATE]
        part += 10 ** (generator.uniform(-75, -42) / 20) * generator.standard_normal(len(part)).astype(
            np.float32
        )
    for start, waveform in zip(starts, waveforms, strict=True):
        sound[start : start + len(waveform)] = waveform
    return sound.clip(-1, 1)


def stories(corpus: Path) -> Iterator[Utterance]:
    """The stories' pages; one in three stories is kept for test, in both languages; the others must be CC BY."""
    for row in read_manifest(corpus / "manifest.tsv"):
        notes = row.extra["notes"].split(";")
        test = int(row.extra["recording"].split("_")[1]) % 3 == 0
        if test or ("CC-BY" in notes and "lowcorr" not in notes):
            yield replace(tightened(row), split="test" if test else "train", extra={})


def tightened(row: Utterance) -> Utterance:
    """A row from its first to its last 20 ms that are at most 30 dB below its loud ones.

    By the level alone: a detector of speech would be judged by itself.
    """
    waveform = load(row.audio, offset_s=row.offset_s, duration_s=row.duration_s)
    size = SAMPLE_RATE // 50
    power = np.square(waveform[: len(waveform) // size * size].reshape(-1, size), dtype=np.float64).mean(
        axis=1
    )
    if not power.any():
        return row
    loud = np.flatnonzero(power >= np.percentile(power, 95) / 1000)
    start, end = loud[0] / 50, (loud[-1] + 1) / 50
    return replace(row, offset_s=round(row.offset_s + start, 3), duration_s=round(end - start, 3))


def synthetic(mini: Path) -> Iterator[Utterance]:
    """Mini's training and dev sentences."""
    for row in read_manifest(mini / "manifest.tsv"):
        if row.split in ("train", "dev"):
            yield replace(row, extra={})


def join_sessions(corpus: Path, gaps: Sequence[float], out: Path) -> list[Utterance]:
    """Recordings of ten minutes out of Mboshi's published dev, one for each speaker with as much."""
    generator = np.random.default_rng(1)
    by_speaker: dict[str, list[Utterance]] = {}
    for row in read_manifest(corpus / "manifest.tsv", split="dev"):
        by_speaker.setdefault(row.speaker, []).append(row)
    rows: list[Utterance] = []
    for speaker, own in sorted(by_speaker.items()):
        parts: list[FloatArray] = []
        place = 0
        path = out / f"mboshi_{speaker}.flac"
        for row in own:
            tight = tightened(row)
            waveform = load(tight.audio, offset_s=tight.offset_s, duration_s=tight.duration_s)
            pause = seconds_to_samples(float(generator.choice(gaps)))
            # The recorder mutes between sentences; this is a room, so that energy alone is no mark.
            noise = 1e-3 * generator.standard_normal(pause).astype(np.float32)
            parts += [noise, waveform]
            start = samples_to_seconds(place + pause)
            duration = samples_to_seconds(len(waveform))
            rows.append(replace(row, audio=path, offset_s=start, duration_s=duration, split="test", extra={}))
            place += pause + len(waveform)
            if samples_to_seconds(place) > 60 * MBOSHI_MINUTES:
                break
        soundfile.write(path, np.concatenate(parts), SAMPLE_RATE)
    return rows


if __name__ == "__main__":
    sys.exit(guarded(main))

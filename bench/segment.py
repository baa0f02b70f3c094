"""How fast recordings are cut, and in how much memory: ``python -m bench.segment [--quick]``.

Every segmenter of the toolkit on recordings that are made as they are read: the demo's minute and a half of synthetic
speech, again and again, its level and its pauses changed from turn to turn. Then the whole path, from a file of such
a recording to ELAN's.
"""

from __future__ import annotations

import functools
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr.audio import load
from asr.frames import SAMPLE_RATE
from asr.segment import RECOGNISED, SEGMENTERS, build_segmenter, settings_for
from bench import common

MINI = Path(__file__).parents[1] / "egs/mini"
TALK = MINI / "demo/talk.ogg"
WHOLE_PATH = "whole path"
HOURS = (1.0, 3.0, 10.0)
QUICK_HOURS = (0.1, 0.3)
PROTOCOL = """
Each run is a process of its own, one thread, fed chunks of ten seconds as a file would give them; nothing is written.
Speed is audio over wall clock without the reading. Memory is what the peak of the process grows by after a first half
minute, for which models are loaded. The whole path: a flac file, the default segmenter, egs/mini's model with its
language models, an eaf file; after the demo's recording, which is transcribed first.
"""


@dataclass(frozen=True)
class Run:
    """One segmenter on one length."""

    seconds: float
    """Wall clock."""
    mib: float
    """Peak memory added."""
    segments: int
    longest_s: float


def main() -> int:
    """Measure and print."""
    args = common.parser(__doc__ or "").parse_args()
    hours = QUICK_HOURS if args.quick else HOURS
    machine = common.start("Cutting recordings", PROTOCOL)
    figures: dict[str, dict[str, dict[str, float]]] = {}
    rows: list[list[object]] = []
    for name in (*SEGMENTERS, WHOLE_PATH):
        task = transcribed if name == WHOLE_PATH else functools.partial(measured, name)
        runs = {length: common.alone(task, length) for length in hours}
        figures[name] = {
            f"{length:g} h": {
                "audio_hours_per_second": length / run.seconds,
                "seconds": run.seconds,
                "mib_added": run.mib,
                "segments": run.segments,
                "longest_s": run.longest_s,
            }
            for length, run in runs.items()
        }
        rows.append(
            [
                name,
                *(f"{length / run.seconds:.2f}" for length, run in runs.items()),
                *(f"{run.mib:.0f}" for run in runs.values()),
                f"{max(run.longest_s for run in runs.values()):.1f}",
            ]
        )
        print(*rows[-1])
    header = [
        "segmenter",
        *(f"hours/s, {each:g} h" for each in hours),
        *(f"MiB, {each:g} h" for each in hours),
    ]
    common.table([*header, "longest s"], rows)
    common.finish({"machine": machine, "segmenters": figures})
    return 0


def measured(name: str, hours: float) -> Run:
    """Cut a recording of so many hours."""
    import torch

    torch.set_num_threads(1)
    segmenter = build_segmenter(settings_for(name), MINI / "model" if name in RECOGNISED else None)
    talk = load(TALK)
    list(segmenter([talk[: 30 * SAMPLE_RATE]]))  # what is loaded or compiled at first is no part of it
    before = common.memory_mib()
    reading = 0.0

    def read() -> Iterator[NDArray[np.float32]]:
        nonlocal reading
        began = time.perf_counter()
        for chunk in recording(talk, hours):
            reading += time.perf_counter() - began
            yield chunk
            began = time.perf_counter()

    began = time.perf_counter()
    lengths = [segment.duration for segment, _ in segmenter(read())]
    took = time.perf_counter() - began - reading
    return Run(took, common.memory_mib() - before, len(lengths), max(lengths, default=0.0))


def transcribed(hours: float) -> Run:
    """From a file of so many hours to a transcript in another file."""
    import soundfile
    import torch

    from asr.transcribe import Transcriber

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "long.flac")
        with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1) as file:
            for chunk in recording(load(TALK), hours):
                file.write(chunk)
        transcriber = Transcriber.load(MINI / "model")
        transcriber.transcribe(TALK)
        before = common.memory_mib()
        began = time.perf_counter()
        transcript = transcriber.transcribe(path)
        transcript.save(path.with_suffix(".eaf"))
        took = time.perf_counter() - began
    lengths = [segment.end - segment.start for segment in transcript.segments]
    return Run(took, common.memory_mib() - before, len(lengths), max(lengths))


def recording(talk: NDArray[np.float32], hours: float, chunk_s: int = 10) -> Iterator[NDArray[np.float32]]:
    """A long recording in chunks (S,), never held whole."""
    draw = np.random.default_rng(0)
    left = round(hours * 3600 * SAMPLE_RATE)
    held = np.zeros(0, np.float32)
    while left > 0:
        pause = 1e-3 * draw.standard_normal(int(draw.uniform(0.2, 4.0) * SAMPLE_RATE))
        turn = np.concatenate([talk * draw.uniform(0.3, 1.5), pause]).clip(-1, 1).astype(np.float32)
        held = np.concatenate([held, turn])
        while left > 0 and len(held) >= chunk_s * SAMPLE_RATE:
            chunk = held[: min(left, chunk_s * SAMPLE_RATE)]
            held = held[chunk_s * SAMPLE_RATE :]
            left -= len(chunk)
            yield chunk


if __name__ == "__main__":
    sys.exit(main())

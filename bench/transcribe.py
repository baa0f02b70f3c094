"""How fast a long recording is transcribed, against transformers' ASR pipeline with the same checkpoint.

`python -m bench.transcribe [--quick] [--hours H]`
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

if not __package__:  # run as `python bench/transcribe.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import soundfile
import torch
from transformers import pipeline

from asr.audio import load
from asr.encoder.export import CtcHead, export_transformers
from asr.frames import SAMPLE_RATE, samples_to_seconds, seconds_to_samples
from asr.manifest import read_manifest
from asr.score import score_corpus
from asr.transcribe import Transcriber
from bench import common

MINI = Path(__file__).parents[1] / "egs" / "mini"
CORES = 2
CHUNKS = ((10, 1), (20, 2), (30, 3), (30, 5))
"""Chunk and stride in seconds that the pipeline may choose from."""
BATCHES = (1, 4, 8)
PROTOCOL = f"""The checkpoint is egs/mini's Wav2Vec2-BERT, exported to transformers' own files. The recording
is made of mini's dev and test utterances (synthetic speech), drawn with a seed, with pauses of 0.3 to 1.5 s of
quiet noise, up to the length asked for, written as 16-bit FLAC at 16 kHz. Both decode greedily and both start from
the file: loquela by `Transcriber.transcribe` with its defaults, transformers by soundfile and
`pipeline("automatic-speech-recognition")` with the chunk, stride and batch size that are fastest of
{len(CHUNKS) * len(BATCHES)} combinations on the first three minutes, among those within one point of the best WER
there. Loading the model is not timed. One process, {CORES} threads for both, interleaved. WER is of the whole
recording's text under mini's policy."""


def make_recording(path: Path, seconds: float) -> str:
    """Write the recording; returns what is said in it."""
    draw = np.random.default_rng(1)
    rows = [row for row in read_manifest(MINI / "data" / "manifest.tsv") if row.split in ("dev", "test")]
    waveforms = {row.id: load(row.audio, offset_s=row.offset_s, duration_s=row.duration_s) for row in rows}
    said: list[str] = []
    length = 0
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, subtype="PCM_16") as stream:
        while samples_to_seconds(length) < seconds:
            row = rows[draw.integers(len(rows))]
            pause = 0.001 * draw.standard_normal(seconds_to_samples(draw.uniform(0.3, 1.5)))
            for part in (waveforms[row.id], pause):
                stream.write(part)
                length += len(part)
            said.append(row.text)
    return " ".join(said)


def main() -> None:
    """Measure, print, and end with the figures."""
    options = common.parser("Speed of transcription against transformers' pipeline.")
    options.add_argument("--hours", type=float, default=1.0, help="length of the recording (default: 1)")
    options.add_argument("--rounds", type=int, default=3, help="rounds of both (default: 3)")
    args = options.parse_args()
    machine = common.start("transcription", PROTOCOL, "transformers")
    torch.set_num_threads(CORES)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    seconds, rounds = (240.0, 2) if args.quick else (3600 * args.hours, args.rounds)

    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "recording.flac"
        reference = make_recording(recording, seconds)
        seconds = soundfile.info(recording).duration
        transcriber = Transcriber.load(MINI / "model", lm="none", device="cpu")
        model = transcriber.model
        exported = export_transformers(
            model.encoder,
            CtcHead(model.head, tuple(model.tokenizer.surfaces), model.tokenizer.blank),
            Path(folder) / "exported",
        )
        peer = pipeline("automatic-speech-recognition", model=str(exported), device="cpu")
        policy = model.tokenizer.policy

        def word_error_rate(said: str, text: str) -> float:
            return score_corpus({"all": said}, {"all": text}, policy).counts("wer").rate

        def by_peer(settings: dict[str, Any], most: float | None = None) -> str:
            waveform, rate = soundfile.read(
                recording, dtype="float32", frames=-1 if most is None else round(most * SAMPLE_RATE)
            )
            return str(peer({"raw": waveform, "sampling_rate": rate}, **settings)["text"])

        rows, tried = [], []
        for chunk, stride in CHUNKS:
            for batch in BATCHES:
                settings = {"chunk_length_s": chunk, "stride_length_s": stride, "batch_size": batch}
                by_peer(settings, 30)
                started = time.monotonic()
                text = by_peer(settings, 180)
                spent = time.monotonic() - started
                rate = word_error_rate(" ".join(reference.split()[: len(text.split())]), text)
                tried.append((spent, rate, settings))
                rows.append([f"{chunk} s, {stride} s", batch, f"{180 / spent:.0f}", f"{rate:.1%}"])
        common.table(["pipeline: chunk, stride", "batch", "audio s / s", "WER of 3 min"], rows)
        most_accurate = min(rate for _, rate, _ in tried)
        best = min((each for each in tried if each[1] <= most_accurate + 0.01), key=lambda each: each[0])[2]

        texts: dict[str, str] = {}

        def ours() -> None:
            texts["loquela"] = " ".join(transcriber.transcribe(recording).text.split())

        def theirs() -> None:
            texts["transformers"] = by_peer(best)

        timings = common.interleave({"loquela": ours, "transformers": theirs}, repeats=rounds)

    speed = {name: seconds / timing.wall_median for name, timing in timings.items()}
    wer = {name: word_error_rate(reference, text) for name, text in texts.items()}
    common.timing_table(timings)
    common.table(
        ["", "audio s / s", "WER %"],
        [[name, f"{speed[name]:.1f}", f"{100 * wer[name]:.2f}"] for name in timings],
    )
    common.finish(
        {
            "audio_seconds_per_second": {name: round(value, 2) for name, value in speed.items()},
            "wer": {name: round(value, 4) for name, value in wer.items()},
            "ratio": common.ratio(timings["loquela"], timings["transformers"]),
            "pipeline": best,
            "audio_s": round(seconds, 1),
            "machine": machine,
        }
    )


if __name__ == "__main__":
    main()

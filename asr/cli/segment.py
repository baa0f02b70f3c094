"""``loquela segment``: recordings in, files of segments out, with nothing recognised."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from asr.cli.jobs import (
    Job,
    add_output_arguments,
    channel_named,
    found_jobs,
    outputs_of,
    progress_bar,
    run_jobs,
    write_transcript_of,
)
from asr.cli.segmenting import add_segmenter_arguments, segmenter_settings

if TYPE_CHECKING:
    from asr.transcript import Transcript


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options in the order a recording travels."""
    parser.add_argument("inputs", nargs="+", metavar="FILE_OR_FOLDER", help="recordings, and folders of them")
    audio = parser.add_argument_group("audio")
    audio.add_argument(
        "--channel",
        default="mix",
        type=channel_named,
        metavar="C",
        help="mix, a channel number from 1, or split: each channel a speaker (default: mix)",
    )
    segments = parser.add_argument_group("segments")
    add_segmenter_arguments(segments)
    add_output_arguments(
        parser, _formats, "yaml (MuST-C's), tsv (start and end in seconds), eaf, TextGrid, rttm"
    )


def run(args: argparse.Namespace) -> int:
    """Segment every input that can be; 1 when one could not."""
    from asr.segment import build_segmenter
    from asr.segment.files import write_segments
    from asr.segment.recording import segment_recording

    outputs = outputs_of(args)
    settings = segmenter_settings(args)
    segmenter = build_segmenter(settings, args.segmenter_model)

    def make(job: Job) -> Transcript:
        with progress_bar(job.recording) as progress:
            return segment_recording(job.recording, segmenter, channel=args.channel, progress=progress)

    def write(found: Transcript, job: Job, target: Path, overwrite: bool) -> None:
        if target.suffix == ".eaf":  # a linguist's work is added to, never replaced
            write_transcript_of(found, job, target, overwrite)
        else:
            write_segments(found, target, overwrite=overwrite)

    def show(found: Transcript) -> None:
        if not args.format:
            _print(found)

    jobs, failed = found_jobs(args.inputs)
    return int(run_jobs(jobs, outputs, make, write, show) or failed)


def _formats(words: str) -> list[str]:
    from asr.segment.files import FORMATS

    names = {known.lower(): known for known in FORMATS}
    wanted = [name.strip().lower() for name in words.split(",")]
    if unknown := [name for name in wanted if name not in names]:
        raise argparse.ArgumentTypeError(
            f"no form of segments {unknown[0]!r}. Choose of {', '.join(FORMATS)}."
        )
    return list(dict.fromkeys(names[name] for name in wanted))


def _print(found: Transcript) -> None:
    for segment in found.segments:
        row: dict[str, object] = {
            "recording": found.recording,
            "start": round(segment.start, 3),
            "end": round(segment.end, 3),
            **({"speaker": segment.speaker} if segment.speaker else {}),
        }
        print(json.dumps(row, ensure_ascii=False), flush=True)

"""``loquela segment``: recordings in, files of segments out, with nothing recognised."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from asr.cli.jobs import (
    Job,
    add_channel_argument,
    add_output_arguments,
    found_jobs,
    outputs_of,
    progress_bar,
    run_jobs,
    write_transcript_of,
)
from asr.cli.segmenting import add_segmenter_arguments, segmenter_settings
from asr.names import given_path
from lm.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asr.segment import OwnSegments, Segment
    from asr.transcript import Transcript


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options in the order a recording travels."""
    parser.add_argument("inputs", nargs="+", metavar="FILE_OR_FOLDER", help="recordings, and folders of them")
    add_channel_argument(parser)
    segments = parser.add_argument_group("segments")
    add_segmenter_arguments(segments)
    add_output_arguments(
        parser, _formats, "yaml (MuST-C's), tsv (start and end in seconds), eaf, TextGrid, rttm"
    )

    measures = parser.add_argument_group("measures")
    measures.add_argument(
        "--compare",
        type=given_path,
        metavar="FILE",
        help="segments made by hand, in any of those forms: say how near these come, instead of printing them",
    )
    measures.add_argument("--tier", default="", metavar="NAME", help="the tier of --compare that has them")
    measures.add_argument(
        "--words",
        type=given_path,
        metavar="FILE",
        help="words in time, as `loquela align` writes them (json, ctm, TextGrid): say how many were cut",
    )


def run(args: argparse.Namespace) -> int:
    """Segment every input that can be; 1 when one could not."""
    from asr.segment import build_segmenter
    from asr.segment.files import write_segments
    from asr.segment.recording import segment_recording

    outputs = outputs_of(args, args.compare, args.words)
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

    jobs, failed = found_jobs(args.inputs)
    reference, words = _compared(args, [job.recording for job in jobs])

    def show(found: Transcript) -> None:
        if reference:
            _compare(found, reference.of(found.audio), words)
        elif not args.format:
            _print(found)

    return int(run_jobs(jobs, outputs, make, write, show) or failed)


def _compared(
    args: argparse.Namespace, recordings: Sequence[Path]
) -> tuple[OwnSegments | None, list[Segment]]:
    """The segments to compare with, and the words in time."""
    from asr.segment.files import read_segments

    if not args.compare:
        if args.words or args.tier:
            raise InputError("--words and --tier go with --compare. Add the segments to compare with.")
        return None, []
    reference = read_segments(args.compare, args.tier)
    if (reference.is_for_one or args.words) and len(recordings) > 1:
        raise InputError(
            f"--compare and --words are of one recording, and there are {len(recordings)}. Give one at a time, or "
            "a .yaml or .rttm that names them, without --words."
        )
    reference.check(recordings)
    return reference, _words(args.words)


def _compare(found: Transcript, wanted: Sequence[Segment], words: Sequence[Segment]) -> None:
    """Print how near segments come to those that somebody made, as a JSON line."""
    from asr.segment import Segment
    from asr.segment.measure import covered, hit_words, lengths, match_boundaries

    ours = [Segment(each.start, each.end) for each in found.segments]
    near, far = (match_boundaries(wanted, ours, tolerance_s=tolerance) for tolerance in (0.2, 0.5))
    time, spread = covered(wanted, ours), lengths(ours)
    row: dict[str, object] = {
        "recording": found.recording,
        "segments": spread.count,
        "reference_segments": len(wanted),
        "seconds": {"median": spread.median, "5%": spread.low, "95%": spread.high, "longest": spread.longest},
        "precision_0.2s": near.precision,
        "recall_0.2s": near.recall,
        "f1_0.2s": near.f1,
        "f1_0.5s": far.f1,
        "time_lost": time.lost_share,
        "time_idle": time.idle_share,
    }
    if words:
        hit = hit_words(words, ours)
        row |= {"words": hit.words, "words_cut": hit.cut, "words_lost": hit.lost}
    print(json.dumps(_rounded(row), ensure_ascii=False), flush=True)


def _rounded(row: dict[str, object]) -> dict[str, object]:
    return {
        name: _rounded(value)
        if isinstance(value, dict)
        else round(value, 4)
        if isinstance(value, float)
        else value
        for name, value in row.items()
    }


def _words(path: Path | None) -> list[Segment]:
    from asr.formats import read_transcript
    from asr.names import shown
    from asr.segment import Segment

    if path is None:
        return []
    words = [
        Segment(word.start, word.end) for segment in read_transcript(path).segments for word in segment.words
    ]
    if not words:
        raise InputError(
            f"{shown(path)} has no words in time. Give a .json, .ctm or .TextGrid of `loquela align`."
        )
    return words


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

"""``loquela align``: a recording and its transcript in, the times of its lines out."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from asr.cli.jobs import (
    TRANSCRIPT_FORMATS,
    Job,
    add_channel_argument,
    add_model_arguments,
    add_output_arguments,
    outputs_of,
    progress_bar,
    run_jobs,
    transcript_formats,
    write_transcript_of,
)
from asr.cli.segmenting import add_segmenter_arguments, segmenter_settings
from asr.names import given_path

if TYPE_CHECKING:
    from asr.align import AlignedLine, Aligner, Alignment
    from asr.transcript import Transcript

LINES_SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options in the order a recording travels."""
    parser.add_argument("recording", type=given_path, help="a recording of any length")
    parser.add_argument(
        "transcript",
        type=given_path,
        help="its text: .txt with a line for each utterance, another format that loquela writes, or an .eaf or "
        ".TextGrid of others, whose annotations are the lines",
    )
    parser.set_defaults(keeps=False)
    add_tier_argument(parser, "tier of that .eaf or .TextGrid, or a pattern; repeatable")
    add_aligner_arguments(parser)
    output = add_output_arguments(parser, transcript_formats, TRANSCRIPT_FORMATS)
    output.add_argument("--language", default="", metavar="CODE", help="of the recording: written into files")


def add_tier_argument(parser: argparse.ArgumentParser, told: str) -> None:
    """``--tier``, for `asr.align.texts.read_lines`."""
    parser.add_argument("--tier", action="append", default=[], metavar="NAME", help=told)


def add_aligner_arguments(parser: argparse.ArgumentParser) -> None:
    """What `aligner_of` reads."""
    model = add_model_arguments(parser)
    model.add_argument(
        "--model-language", default="", metavar="CODE", help="chosen in models that have several"
    )
    add_channel_argument(parser, "mix or a channel number from 1 (default: mix)")
    add_segmenter_arguments(parser.add_argument_group("segments"))
    alignment = parser.add_argument_group("alignment")
    alignment.add_argument(
        "--star-cost",
        type=float,
        default=1.0,
        metavar="C",
        help="of each label that is heard and not written (default: 1)",
    )
    alignment.add_argument(
        "--pass-cost",
        type=float,
        default=5.0,
        metavar="C",
        help="of each label of a line that is passed over: more keeps more lines, with a weak model (default: 5)",
    )
    alignment.add_argument(
        "--false-accepts",
        type=float,
        default=0.01,
        metavar="P",
        help="share of lines that are not said which the threshold of scores lets pass, as decoys show (default: "
        "0.01)",
    )


def aligner_of(args: argparse.Namespace) -> Aligner:
    """The aligner that the arguments describe."""
    from asr.align import AlignConfig, Aligner, SearchConfig
    from asr.transcribe import TranscribeConfig, Transcriber

    search = SearchConfig(star_cost=args.star_cost, pass_cost=args.pass_cost)
    config = AlignConfig(search=search, false_accepts=args.false_accepts)
    transcriber = Transcriber.load(
        args.model,
        lm="none",
        language=args.model_language,
        device=args.device,
        config=TranscribeConfig(
            channel=args.channel,
            segmenter=args.segmenter,
            segments=segmenter_settings(args),
            classifier=str(args.segmenter_model or ""),
        ),
    )
    return Aligner(transcriber, config)


def run(args: argparse.Namespace) -> int:
    """Align; 1 when that was not possible."""
    from asr.align.texts import read_lines
    from asr.names import shown

    outputs = outputs_of(args, args.transcript)
    given = read_lines(args.transcript, args.tier)
    aligner = aligner_of(args)
    found: list[tuple[Alignment, float]] = []

    def make(job: Job) -> Transcript:
        with progress_bar(job.recording) as progress:
            alignment = aligner.align(job.recording, given, progress=progress)
        threshold = aligner.threshold([alignment])
        alignment.check(threshold, aligner.config)
        found.append((alignment, threshold))
        return alignment.transcript(args.language)

    def show(made: Transcript) -> None:
        alignment, threshold = found.pop()
        if not args.format:
            _print(alignment, threshold)
        report_doubts(alignment, threshold)
        if made.duration < max(segment.end for segment in given.segments) - 1:
            print(
                f"note: {shown(args.transcript)} has times beyond the recording's {made.duration:.1f} s. "
                "Its times are not used.",
                file=sys.stderr,
            )

    return int(run_jobs([Job(args.recording)], outputs, make, write_transcript_of, show))


def report_doubts(alignment: Alignment, threshold: float) -> None:
    """Say on stderr what was not found or is not believed, and what the model cannot write."""
    from asr.names import shown
    from asr.tokenizer import code_point

    believed = alignment.accepted(threshold)
    passing = sum(score > threshold for score in alignment.decoys)
    name = shown(alignment.audio)
    print(
        f"{name}: {len(believed)} of {len(alignment.lines)} lines are heard, with scores above {threshold:.2f}, "
        f"which {passing} of {len(alignment.decoys)} decoys have",
        file=sys.stderr,
    )
    nowhere = [each for each in alignment.lines if not each.placed]
    _list(f"{name}: not heard, and left out of the output", [each for each in nowhere if each.line.known])
    _list(
        f"{name}: no character that the model writes, and left out of the output",
        [each for each in nowhere if not each.line.known],
    )
    _list(f"{name}: doubtful", [each for each in alignment.placed if each.score <= threshold])
    if alignment.unknown:
        chars = [f"{code_point(char)} {count} times" for char, count in alignment.unknown.items()]
        more = f" and {len(chars) - LINES_SHOWN} more" if len(chars) > LINES_SHOWN else ""
        print(
            f"{name}: the model cannot write {', '.join(chars[:LINES_SHOWN])}{more}; there anything may be said",
            file=sys.stderr,
        )


def _list(title: str, lines: list[AlignedLine]) -> None:
    if not lines:
        return
    print(f"{title}: {len(lines)} line(s)", file=sys.stderr)
    for each in lines[:LINES_SHOWN]:
        score = f", score {each.score:.2f}" if each.placed else ""
        print(
            f"  line {each.line.number}, at {each.segment.start:.1f} s{score}: {each.segment.text}",
            file=sys.stderr,
        )
    if len(lines) > LINES_SHOWN:
        print(f"  ... and {len(lines) - LINES_SHOWN} more", file=sys.stderr)


def _print(alignment: Alignment, threshold: float) -> None:
    for each in alignment.placed:
        row: dict[str, object] = {
            "recording": alignment.audio.stem,
            "line": each.line.number,
            "start": round(each.segment.start, 3),
            "end": round(each.segment.end, 3),
            "text": each.segment.text,
            "confidence": round(each.segment.confidence, 4),
            "score": round(each.score, 3),
            "accepted": each.score > threshold,
        }
        print(json.dumps(row, ensure_ascii=False), flush=True)

"""``loquela transcribe``: recordings in, transcripts out."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from asr.cli.jobs import (
    TRANSCRIPT_FORMATS,
    Job,
    add_channel_argument,
    add_model_arguments,
    add_output_arguments,
    found_jobs,
    outputs_of,
    positive,
    progress_bar,
    run_jobs,
    transcript_formats,
    write_transcript_of,
)
from asr.cli.segmenting import add_segmenter_arguments, segmenter_settings
from asr.names import given_path
from lm.errors import InputError

if TYPE_CHECKING:
    from asr.segment import OwnSegments
    from asr.transcribe import TranscribeConfig, Transcriber
    from asr.transcript import Transcript


class Transcribes(Protocol):
    """What makes a transcript of a recording: a `Transcriber`, or a translator on top of it."""

    def transcribe(
        self, path: str | Path, *, language: str = "", progress: Callable[[float], None] | None = None
    ) -> Transcript: ...


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options in the order a recording travels."""
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="FILE_OR_FOLDER",
        help="recordings, folders of them, and ELAN files of recordings",
    )
    model = add_model_arguments(parser)
    model.add_argument(
        "--lm",
        type=os.path.expanduser,  # text, not a path, as `none` is none
        metavar="L",
        help="language model folder or ARPA file; `none` for none (default: the model's own)",
    )
    add_channel_argument(parser)
    segments = parser.add_argument_group("segments")
    add_segmenter_arguments(segments)
    segments.add_argument(
        "--overlap",
        type=float,
        metavar="S",
        help="seconds that two segments share where speech had to be cut; what is heard in them decides where one ends "
        "(default: a fifth of the longest segment for fixed, else 0; a speech translator takes none)",
    )
    segments.add_argument(
        "--segments",
        type=given_path,
        metavar="FILE",
        help="your own segments instead, with their speakers: MuST-C's yaml, a .tsv of start and end in seconds, "
        ".rttm, .eaf, .TextGrid, or a transcript (.srt, .vtt, .json, .stm, whisper's .tsv)",
    )
    segments.add_argument("--tier", default="", metavar="NAME", help="the tier of --segments that has them")
    decoding = parser.add_argument_group("decoding")
    decoding.add_argument(
        "--lm-weight", type=float, metavar="W", help="scale of the word model (default: as tuned)"
    )
    decoding.add_argument(
        "--char-weight", type=float, metavar="W", help="scale of the character model (default: as tuned)"
    )
    decoding.add_argument(
        "--piece-weight",
        type=float,
        metavar="W",
        help="scale of the n-grams of sentence pieces; 0: leave them out (default: as tuned)",
    )
    decoding.add_argument(
        "--word-bonus", type=float, metavar="B", help="added for each word (default: as tuned)"
    )
    decoding.add_argument("--beam", type=int, metavar="N", help="beam width")
    decoding.add_argument(
        "--nbest", type=positive, default=1, metavar="N", help="texts kept for each segment (default: 1)"
    )
    decoding.add_argument(
        "--hotwords",
        type=given_path,
        metavar="FILE",
        help="names and phrases to expect as whole words (in writings without spaces, anywhere), one a line, each "
        "perhaps with a tab and its own weight",
    )
    decoding.add_argument(
        "--hotword-weight",
        type=float,
        metavar="W",
        help="added for each hotword that has no weight of its own (default: as tuned, or 4)",
    )
    decoding.add_argument(
        "--closed-vocabulary",
        action="store_true",
        help="write only words that the word model or --hotwords knows",
    )
    output = add_output_arguments(parser, transcript_formats, TRANSCRIPT_FORMATS)
    output.add_argument(
        "--language",
        default="",
        metavar="CODE",
        help="language of the recordings: written into the transcripts, and chosen in models that have several",
    )


def run(args: argparse.Namespace) -> int:
    """Transcribe every input that can be; 1 when one could not."""
    return run_with(args, _load)


def run_with(args: argparse.Namespace, load: Callable[[argparse.Namespace], Transcribes]) -> int:
    """The same with what ``load`` makes of the arguments, once the inputs are known."""
    outputs = outputs_of(args, args.segments, args.hotwords)
    jobs, failed = found_jobs(args.inputs)
    _check_own(args, jobs)
    transcriber = load(args)

    def make(job: Job) -> Transcript:
        with progress_bar(job.recording) as progress:
            return transcriber.transcribe(job.recording, language=args.language, progress=progress)

    def show(transcript: Transcript) -> None:
        _print(transcript, quiet=bool(args.format))

    return int(run_jobs(jobs, outputs, make, write_transcript_of, show) or failed)


def settings_of(args: argparse.Namespace) -> TranscribeConfig:
    """What the arguments say of audio, segments and the n-best list."""
    from asr.transcribe import TranscribeConfig

    return TranscribeConfig(
        channel=args.channel,
        segmenter=args.segmenter,
        segments=segmenter_settings(args),
        classifier=str(args.segmenter_model or ""),
        overlap_s=args.overlap,
        own=_own_segments(args),
        num_hypotheses=args.nbest,
    )


def _own_segments(args: argparse.Namespace) -> OwnSegments | None:
    """The user's own segments, if any."""
    from asr.segment.files import read_segments

    return read_segments(args.segments, args.tier) if args.segments else None


def _check_own(args: argparse.Namespace, jobs: Sequence[Job]) -> None:
    """Refuse what has no use beside a file of segments, and one that does not say of which recording they are."""
    from asr.names import shown

    own = _own_segments(args)
    if own is None:
        if args.tier:
            raise InputError(f"--tier {args.tier!r} is given without --segments. Add the file that has it.")
        return
    # Not --max-segment: longer segments of one's own are cut.
    unused = {
        "--segmenter": args.segmenter != "vad",
        "--min-segment": args.min_segment is not None,
        "--vad-mode": args.vad_mode is not None,
        "--segmenter-option": bool(args.segmenter_option),
        "--overlap": args.overlap is not None,
        "--channel split": args.channel == "split",  # each channel would have every segment
    }
    for option, is_given in unused.items():
        if is_given:
            raise InputError(
                f"{option} has no use beside --segments, which says where to cut and who speaks. Leave one out."
            )
    if own.is_for_one and len(jobs) > 1:
        raise InputError(
            f"{shown(own.path)} names no recording, and there are {len(jobs)}. "
            "Give one recording at a time, or a .yaml or .rttm that names them."
        )
    own.check(job.recording for job in jobs)


def decoding_of(args: argparse.Namespace) -> dict[str, Any]:
    """Settings of the beam search that the arguments give, for `asr.opened.tuned_search`."""
    for option in ("lm_weight", "char_weight", "piece_weight", "word_bonus"):
        if args.lm == "none" and getattr(args, option):
            raise InputError(
                f"--{option.replace('_', '-')} has no use beside --lm none. Leave one of the two out."
            )
    named: dict[str, Any] = {
        "lm_weight": args.lm_weight,
        "char_weight": args.char_weight,
        "piece_weight": args.piece_weight,
        "word_bonus": args.word_bonus,
        "beam_width": args.beam,
        "hotword_weight": args.hotword_weight,
        "open_vocabulary": False if args.closed_vocabulary else None,
    }
    if args.hotwords is not None:
        from asr.decode.hotwords import read_hotwords

        named["hotwords"] = read_hotwords(args.hotwords)
    elif args.hotword_weight is not None:
        raise InputError("--hotword-weight is given without --hotwords. Add the file, or leave it out.")
    return {name: value for name, value in named.items() if value is not None}


def _load(args: argparse.Namespace) -> Transcriber:
    from asr.transcribe import Transcriber

    return Transcriber.load(
        args.model,
        lm=args.lm,
        language=args.language,
        device=args.device,
        config=settings_of(args),
        decoding=decoding_of(args),
    )


def _print(transcript: Transcript, *, quiet: bool) -> None:
    if quiet:
        return
    for segment in transcript.segments:
        row: dict[str, object] = {
            "recording": transcript.recording,
            "start": round(segment.start, 3),
            "end": round(segment.end, 3),
            "text": segment.text,
            **({"translation": segment.translation} if segment.translation else {}),
            "confidence": round(segment.confidence, 4),
        }
        if segment.speaker:
            row["speaker"] = segment.speaker
        if segment.alternatives:
            row["alternatives"] = segment.alternatives
        print(json.dumps(row, ensure_ascii=False), flush=True)

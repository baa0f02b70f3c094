"""``loquela transcribe``: recordings in, transcripts out."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lm.errors import InputError

if TYPE_CHECKING:
    from asr.segment import OwnSegments
    from asr.transcribe import TranscribeConfig, Transcriber
    from asr.transcript import Transcript

HELP = "recordings in, transcripts out"


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
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model",
        required=True,
        metavar="M",
        help="experiment or model folder, or a CTC model of transformers by folder or hub name",
    )
    model.add_argument(
        "--lm",
        metavar="L",
        help="language model folder or ARPA file; `none` for none (default: the model's own)",
    )
    model.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    audio = parser.add_argument_group("audio")
    audio.add_argument(
        "--channel",
        default="mix",
        type=_channel,
        metavar="C",
        help="mix, a channel number from 1, or split: each channel a speaker (default: mix)",
    )
    segments = parser.add_argument_group("segments")
    segments.add_argument(
        "--segmenter",
        default="vad",
        choices=("vad", "fixed", "energy", "dac", "hybrid"),
        help="cut in pauses (vad), or in even windows where the detector fails (fixed); see `loquela segment --help`",
    )
    segments.add_argument(
        "--segments",
        type=Path,
        metavar="FILE",
        help="your own segments instead: MuST-C's yaml, a .tsv of start and end in seconds, .rttm, .eaf or .TextGrid",
    )
    segments.add_argument("--tier", default="", metavar="NAME", help="the tier of --segments that has them")
    segments.add_argument("--max-segment", type=float, metavar="S", help="longest segment in seconds")
    segments.add_argument(
        "--vad-mode", type=int, choices=range(4), help="how readily webrtcvad calls a sound no speech, 0 to 3"
    )
    decoding = parser.add_argument_group("decoding")
    decoding.add_argument(
        "--lm-weight", type=float, metavar="W", help="scale of the word model (default: as tuned)"
    )
    decoding.add_argument(
        "--char-weight", type=float, metavar="W", help="scale of the character model (default: as tuned)"
    )
    decoding.add_argument(
        "--word-bonus", type=float, metavar="B", help="added for each word (default: as tuned)"
    )
    decoding.add_argument("--beam", type=int, metavar="N", help="beam width")
    decoding.add_argument(
        "--nbest", type=_positive, default=1, metavar="N", help="texts kept for each segment (default: 1)"
    )
    decoding.add_argument(
        "--hotwords",
        type=Path,
        metavar="FILE",
        help="names and phrases to expect, one a line, each perhaps with a tab and its own weight",
    )
    decoding.add_argument(
        "--hotword-weight",
        type=float,
        metavar="W",
        help="added for each hotword that has no weight of its own (default: 4)",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--format",
        default=[],
        type=_formats,
        metavar="F,F",
        help="txt, json, srt, vtt, tsv, ctm, stm, TextGrid, eaf; without it segments go to stdout as JSON lines",
    )
    output.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for the files (default: beside each recording)"
    )
    output.add_argument(
        "--overwrite", action="store_true", help="replace files that exist; they are kept otherwise"
    )
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
    from asr.names import shown

    if args.out and not args.format:
        raise InputError(
            f"--out {shown(args.out)} is given without --format. Add, for example, --format eaf,srt."
        )
    failed = False
    jobs: list[Job] = []
    for job in find_jobs(args.inputs):
        if isinstance(job, InputError):
            failed |= _report(job)
        else:
            jobs.append(job)
    _check_own(args, jobs)
    transcriber = load(args)
    for planned in plan_outputs(jobs, args.format, args.out):
        if isinstance(planned, InputError):
            failed |= _report(planned)
            continue
        job, targets = planned
        try:
            _check_targets(job, targets, args.overwrite)
            transcript = _with_progress(transcriber, job.recording, args.language)
        except InputError as error:
            failed |= _report(error)
            continue
        for target in targets:
            try:
                _write(transcript, job, target, args.overwrite)
            except InputError as error:
                failed |= _report(error)
        _print(transcript, quiet=bool(args.format))
    return int(failed)


def _formats(words: str) -> list[str]:
    from asr.formats import format_named

    try:
        return list(dict.fromkeys(format_named(name.strip()) for name in words.split(",")))
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _positive(word: str) -> int:
    if not (word.isascii() and word.isdigit() and int(word)):
        raise argparse.ArgumentTypeError(f"{word!r} is no number from 1.")
    return int(word)


def _channel(word: str) -> str:
    if word not in ("mix", "split") and not (word.isascii() and word.isdigit() and int(word)):
        raise argparse.ArgumentTypeError(f"{word!r} is no channel. Give mix, split, or a number from 1.")
    return word


@dataclass(frozen=True)
class Job:
    """One recording to transcribe, the ELAN file to add to, and its place under the output folder."""

    recording: Path
    eaf: Path | None = None
    folder: Path = Path()
    """Where the recording lay inside the folder that was given."""


def find_jobs(inputs: Sequence[str]) -> Iterator[Job | InputError]:
    """The recordings that the inputs name, each once, with the ELAN files that belong to them."""
    from asr.formats.eaf import find_media, is_own, read_eaf
    from asr.names import AUDIO_ENDINGS, shown

    files: dict[Path, Path] = {}
    seen: set[Path] = set()
    for name in inputs:
        path = Path(name)
        if path.is_dir():
            inside = [
                each
                for each in sorted(path.rglob("*"))
                if each.suffix.lower() in (*AUDIO_ENDINGS, ".eaf") and each.is_file()
            ]
            if not any(each.suffix.lower() in AUDIO_ENDINGS for each in inside):
                yield InputError(
                    f"{shown(path)}: no recording in this folder. Known endings: {' '.join(AUDIO_ENDINGS)}."
                )
            files |= {each: each.parent.relative_to(path) for each in inside}
        elif path.exists():
            files[path] = Path()
        else:
            yield InputError(f"{shown(path)}: no such file. Check the name, or give the folder it lies in.")
    for path in list(files):
        if path.resolve() in seen:  # named twice, or named and in a folder
            del files[path]
        seen.add(path.resolve())
    eafs: dict[Path, Path] = {}
    recordings = {each.resolve(): each for each in files}
    for path in [path for path in files if path.suffix.lower() == ".eaf"]:
        folder = files.pop(path)
        try:
            document = read_eaf(path)
            if str(path) not in inputs and is_own(document):
                continue  # what an earlier run wrote into the folder is no linguist's file
            same_stem = next(
                (each for each in files if each.stem == path.stem and each.parent == path.parent), None
            )
            media = same_stem or find_media(document, path)
            if media is None:
                raise InputError(
                    f"{shown(path)}: its recording was not found. Put the recording beside it under the same name."
                )
            recording = recordings.get(media.resolve(), media)
            if recording in eafs:
                raise InputError(
                    f"{shown(path)}: {shown(recording)} has {shown(eafs[recording])} already. Give one ELAN file."
                )
            files.setdefault(recording, folder)
            eafs[recording] = path
        except InputError as error:
            yield error
    for recording, folder in files.items():
        yield Job(recording, eafs.get(recording), folder)


def plan_outputs(
    jobs: Sequence[Job], formats: Sequence[str], out: Path | None
) -> Iterator[tuple[Job, list[Path]] | InputError]:
    """The files to write for each job; recordings that differ in their ending alone keep it."""
    from asr.names import shown

    stems = [(out / job.folder if out else job.recording.parent) / job.recording.stem for job in jobs]
    taken: set[Path] = set()
    for job, stem in zip(jobs, stems, strict=True):
        name = job.recording.name if stems.count(stem) > 1 else job.recording.stem
        targets = [stem.with_name(f"{name}.{ending}") for ending in formats]
        if taken.intersection(targets):
            yield InputError(
                f"{shown(job.recording)}: another recording writes {shown(targets[0])} too. "
                "Rename one, or give each its own --out."
            )
        else:
            yield job, targets
        taken.update(targets)


def _check_targets(job: Job, targets: Sequence[Path], overwrite: bool) -> None:
    """Refuse before the work is done what could not be written after it."""
    from asr.names import shown

    for target in targets:
        if target.exists() and not overwrite:
            raise InputError(
                f"{shown(target)} exists and is kept. Give --overwrite to replace it or --out for another folder."
            )
        folder = target.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{shown(folder)}: {error.strerror}. Give --out a folder that can be written."
            ) from error
        import os

        if not os.access(folder, os.W_OK):
            raise InputError(
                f"{shown(folder)} cannot be written. Give --out a folder that can, for {shown(job.recording)}."
            )


def _write(transcript: Transcript, job: Job, target: Path, overwrite: bool) -> None:
    from asr.formats import write_transcript
    from asr.formats.eaf import add_tiers, is_own, read_eaf

    eaf = job.eaf
    if target.suffix == ".eaf" and eaf is None and target.exists() and not is_own(read_eaf(target)):
        eaf = target  # a linguist's work is added to, never replaced
    if target.suffix == ".eaf" and eaf is not None:
        add_tiers(eaf, transcript, target, overwrite=overwrite)
    else:
        write_transcript(transcript, target, overwrite=overwrite)


def settings_of(args: argparse.Namespace) -> TranscribeConfig:
    """What the arguments say of audio, segments and the n-best list."""
    from asr.segment import settings_for
    from asr.transcribe import TranscribeConfig

    return TranscribeConfig(
        channel=args.channel,
        segmenter=args.segmenter,
        segments=settings_for(args.segmenter, max_segment_s=args.max_segment, mode=args.vad_mode),
        own=_own_segments(args),
        num_hypotheses=args.nbest,
    )


def _own_segments(args: argparse.Namespace) -> OwnSegments | None:
    """The user's own segments, if any."""
    from asr.segment import OwnSegments

    return OwnSegments.read(args.segments, args.tier) if args.segments else None


def _check_own(args: argparse.Namespace, jobs: Sequence[Job]) -> None:
    """Refuse a file of segments that does not say to which of several recordings they belong."""
    from asr.names import shown

    own = _own_segments(args)
    if own is not None and own.is_for_one and len(jobs) > 1:
        raise InputError(
            f"{shown(own.path)} names no recording, and there are {len(jobs)}. "
            "Give one recording at a time, or a .yaml or .rttm that names them."
        )


def decoding_of(args: argparse.Namespace) -> dict[str, Any]:
    """Settings of the beam search that the arguments give."""
    named: dict[str, Any] = {
        "lm_weight": args.lm_weight,
        "char_weight": args.char_weight,
        "word_bonus": args.word_bonus,
        "beam_width": args.beam,
    }
    if args.hotwords is not None:
        from asr.decode.hotwords import HOTWORD_WEIGHT, read_hotwords

        weight = HOTWORD_WEIGHT if args.hotword_weight is None else args.hotword_weight
        named["hotwords"] = read_hotwords(args.hotwords, weight)
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


def _with_progress(transcriber: Transcribes, recording: Path, language: str) -> Transcript:
    from tqdm import tqdm

    from asr.audio import probe

    total = probe(recording).header_duration_s
    with tqdm(
        total=round(total) if total else None, unit="s", desc=recording.name, leave=False, disable=None
    ) as bar:

        def advance(seconds: float) -> None:
            bar.update(round(seconds) - bar.n)

        return transcriber.transcribe(recording, language=language, progress=advance)


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


def _report(error: InputError) -> bool:
    print(f"loquela: {error}", file=sys.stderr, flush=True)
    return True

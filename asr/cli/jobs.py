"""What the commands on recordings share: which inputs, which files, one after the other, none stopping the rest."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from asr.memory import is_lack_of_memory
from asr.names import given_path
from lm.errors import InputError

if TYPE_CHECKING:
    from asr.formats.eaf import EafDocument
    from asr.transcript import Transcript


def positive(word: str) -> int:
    """A whole number from 1, as an option gives it."""
    if not (word.isascii() and word.isdigit() and int(word)):
        raise argparse.ArgumentTypeError(f"{word!r} is no number from 1.")
    return int(word)


def channel_named(word: str) -> str:
    """The value of ``--channel``."""
    if word not in ("mix", "split") and not (word.isascii() and word.isdigit() and int(word)):
        raise argparse.ArgumentTypeError(f"{word!r} is no channel. Give mix, split, or a number from 1.")
    return word


def add_channel_argument(
    parser: argparse.ArgumentParser,
    told: str = "mix, a channel number from 1, or split: each channel a speaker (default: mix)",
) -> None:
    """``--channel``, in a group of its own."""
    audio = parser.add_argument_group("audio")
    audio.add_argument("--channel", default="mix", type=channel_named, metavar="C", help=told)


def add_model_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """``--model`` and ``--device``; the group, for what else belongs to the model."""
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model",
        required=True,
        metavar="M",
        help="experiment or model folder, or a CTC model of transformers by folder or hub name",
    )
    model.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    return model


def add_output_arguments(
    parser: argparse.ArgumentParser, formats: Callable[[str], list[str]], names: str
) -> argparse._ArgumentGroup:
    """``--format``, ``--out`` and ``--overwrite``, which `outputs_of` reads; the group.

    Args:
        formats: of the words of ``--format``, their file endings.
        names: of the formats, for the help.
    """
    output = parser.add_argument_group("output")
    output.add_argument(
        "--format",
        default=[],
        type=formats,
        metavar="F,F",
        help=f"{names}; without it segments go to stdout as JSON lines",
    )
    output.add_argument(
        "--out", type=given_path, metavar="DIR", help="folder for the files (default: beside each recording)"
    )
    output.add_argument(
        "--overwrite", action="store_true", help="replace files that exist; they are kept otherwise"
    )
    return output


def outputs_of(args: argparse.Namespace, *inputs: Path | None) -> Outputs:
    """What the arguments say of the files to write.

    Args:
        inputs: what the command reads besides recordings; None is passed over.
    Raises:
        InputError: they name a folder for no files.
    """
    from asr.names import shown

    if args.out and not args.format:
        raise InputError(
            f"--out {shown(args.out)} is given without --format. Add, for example, --format eaf."
        )
    return Outputs(args.format, args.out, args.overwrite, [path for path in inputs if path])


TRANSCRIPT_FORMATS = "txt, json, srt, vtt, tsv, ctm, stm, TextGrid, eaf"


def transcript_formats(words: str) -> list[str]:
    """The value of ``--format`` of commands that write transcripts."""
    from asr.formats import format_named

    try:
        return list(dict.fromkeys(format_named(name.strip()) for name in words.split(",")))
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


@dataclass(frozen=True)
class Job:
    """One recording to transcribe, the ELAN file to add to, and its place under the output folder."""

    recording: Path
    eaf: Path | None = None
    folder: Path = Path()
    """Where the recording lay inside the folder that was given."""


@dataclass(frozen=True)
class Outputs:
    """Which files are written for each recording."""

    formats: Sequence[str]
    """Their endings."""
    folder: Path | None
    """None is beside each recording."""
    overwrite: bool
    inputs: Sequence[Path] = ()
    """What the command reads besides recordings; never replaced, and nor are those."""


def found_jobs(inputs: Sequence[str]) -> tuple[list[Job], bool]:
    """What `find_jobs` finds, and whether anything was not, or nothing was; that is reported."""
    from asr.names import shown

    jobs, failed = [], False
    for job in find_jobs(inputs):
        if isinstance(job, InputError):
            failed |= report(job)
        else:
            jobs.append(job)
    for name in inputs:
        for path in _unknown_media(Path(name)) if os.path.isdir(name) else ():
            print(
                f"note: {shown(path)} is left out, as its ending is none of a recording's. Name it to have it read.",
                file=sys.stderr,
            )
    if not jobs and not failed:
        failed = report(InputError(f"no recording among {', '.join(map(repr, inputs))}. Name one."))
    return jobs, failed


def _unknown_media(folder: Path) -> list[Path]:
    """Files of a folder that others take for sound or video, and we do not."""
    import mimetypes

    from asr.names import AUDIO_ENDINGS

    no_sound = ("audio/midi", "audio/x-midi", "audio/mpegurl", "audio/x-mpegurl", "audio/x-scpls")
    found = []
    for path in sorted(folder.rglob("*")):
        kind = mimetypes.guess_type(path.name)[0] or ""
        known = path.suffix.lower() in AUDIO_ENDINGS or path.name.startswith(".") or kind in no_sound
        if kind.startswith(("audio/", "video/")) and not known and path.is_file():
            found.append(path)
    return found


def run_jobs(
    jobs: Sequence[Job],
    outputs: Outputs,
    make: Callable[[Job], Transcript],
    write: Callable[[Transcript, Job, Path, bool], None],
    show: Callable[[Transcript], None],
) -> bool:
    """Make, write and show what can be; whether anything could not, which is reported.

    Args:
        write: one file of a job; its last argument is whether it may be replaced.
        show: called with each transcript that was made.
    """
    from asr.names import shown

    failed = False
    inputs = {path.resolve() for path in (*outputs.inputs, *(job.recording for job in jobs))}
    for planned in plan_outputs(jobs, outputs.formats, outputs.folder):
        if isinstance(planned, InputError):
            failed |= report(planned)
            continue
        job, targets = planned
        try:
            missing = check_targets(job, targets, outputs.overwrite, inputs)
            if kept := [target for target in targets if target not in missing]:
                failed |= report(_told_kept(kept))
                if not missing:
                    continue
            made = make(job)
        except InputError as error:
            failed |= report(error)
            continue
        except (MemoryError, RuntimeError) as error:
            if not is_lack_of_memory(error):
                raise
            failed |= report(
                InputError(
                    f"{shown(job.recording)}: there is not enough memory. Give shorter segments with --max-segment, "
                    "or a machine with more."
                )
            )
            continue
        if why := made.details.get("failed"):  # what there is of the recording is written all the same
            failed |= report(InputError(why))
        if quiet := made.details.get("quiet"):
            print(quiet, file=sys.stderr)
        uses = [partial(write, made, job, target, outputs.overwrite) for target in missing]
        for use in (*uses, partial(show, made)):
            try:
                use()
            except InputError as error:
                failed |= report(error)
    return failed


def find_jobs(inputs: Sequence[str]) -> Iterator[Job | InputError]:
    """The recordings that the inputs name, each once, with the ELAN files that belong to them."""
    from asr.formats.eaf import is_own, read_eaf
    from asr.importers.base import find_files
    from asr.names import AUDIO_ENDINGS, composed, find_file, shown

    files: dict[Path, Path] = {}
    named: set[Path] = set()
    for name in inputs:
        path = Path(name)
        if os.path.isdir(path):
            inside = find_files(path, *AUDIO_ENDINGS, ".eaf")
            if not inside:  # an .eaf file may link to its recording elsewhere
                yield InputError(
                    f"{shown(path)}: no recording in this folder. Known endings: {' '.join(AUDIO_ENDINGS)}."
                )
            files |= {each: each.parent.relative_to(path) for each in inside}
        elif (found := find_file(path)) is not None:
            files[found] = Path()
            named.add(found.resolve())
        elif os.path.exists(path):  # a pipe or a device, which its reader refuses
            files[path] = Path()
        else:
            yield InputError(f"{shown(path)}: no such file. Check the name, or give the folder it lies in.")
    recordings: dict[Path, Path] = {}
    for path in list(files):
        if recordings.setdefault(path.resolve(), path) != path:  # named twice, or named and in a folder
            del files[path]
    beside: dict[tuple[Path, str], Path] = {}
    for real, path in recordings.items():
        if real in named and path.suffix.lower() != ".eaf":
            beside.setdefault((path.parent, composed(path.stem)), path)
    eafs: dict[Path, Path] = {}
    for path in [path for path in files if path.suffix.lower() == ".eaf"]:
        folder = files.pop(path)
        try:
            document = read_eaf(path)
            if path.resolve() not in named and is_own(document):
                continue  # what an earlier run wrote into the folder is no linguist's file
            # A recording that was named beside it is meant, whatever it links to and whatever its ending.
            media = beside.get((path.parent, composed(path.stem))) or _linked_media(document, path, named)
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


def _linked_media(document: EafDocument, eaf: Path, named: Set[Path]) -> Path | None:
    """The recording that an ELAN file links to: of several the first that was named (resolved), or `find_media`'s."""
    from asr.formats.eaf import find_media, sound_first

    for each in sound_first(document.media):
        found = find_media(replace(document, media=(each,)), eaf)
        if found is not None and found.resolve() in named:
            return found
    return find_media(document, eaf)


def plan_outputs(
    jobs: Sequence[Job], formats: Sequence[str], out: Path | None
) -> Iterator[tuple[Job, list[Path]] | InputError]:
    """The files to write for each job; recordings that differ in their ending alone keep it."""
    from asr.names import shown

    stems = [(out / job.folder if out else job.recording.parent) / job.recording.stem for job in jobs]
    counts = Counter(stems)
    taken: set[Path] = set()
    for job, stem in zip(jobs, stems, strict=True):
        name = job.recording.name if counts[stem] > 1 else job.recording.stem
        targets = [stem.with_name(f"{name}.{ending}") for ending in formats]
        if taken.intersection(targets):
            yield InputError(
                f"{shown(job.recording)}: another recording writes {shown(targets[0])} too. "
                "Rename one, or give each its own --out."
            )
        else:
            yield job, targets
        taken.update(targets)


def check_targets(job: Job, targets: Sequence[Path], overwrite: bool, inputs: Set[Path]) -> list[Path]:
    """Those that are to be written: a job that was stopped, or had fewer formats, left the others, which are kept.

    Args:
        inputs: what the command reads (resolved).
    Raises:
        InputError: one could not be written after the work, or would replace an input.
    """
    from asr.formats.files import keep_inputs
    from asr.names import shown

    for target in targets:
        _check_length(target)
    missing = [target for target in targets if overwrite or not target.exists()]
    for target in missing:
        if not (target.resolve() in inputs and _gains_tiers(job, target)):
            keep_inputs(target, inputs)
        make_folder(target.parent, f", for {shown(job.recording)}")
    return missing


def _check_length(target: Path) -> None:
    from asr.names import shown

    try:
        os.lstat(target.with_name(target.name + ".partial"))  # as it is called while it is written
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(
                f"{shown(target)}: {error.strerror}. Give the recording a shorter one."
            ) from error


def _told_kept(kept: Sequence[Path]) -> InputError:
    from asr.names import shown

    names = ", ".join(map(shown, kept))
    are, them = ("exists and is", "it") if len(kept) == 1 else ("exist and are", "them")
    return InputError(f"{names} {are} kept. Give --overwrite to replace {them} or --out for another folder.")


def check_manifest_out(path: Path, overwrite: bool, inputs: Iterable[Path] = ()) -> None:
    """Refuse before the work is done a manifest that could not be written after it.

    Args:
        inputs: what the command reads; never replaced.
    """
    from asr.importers.writers import check_replaceable
    from asr.manifest import is_manifest

    check_replaceable(path, overwrite=overwrite, inputs=inputs, is_ours=is_manifest)
    make_folder(path.parent)


def check_table_out(path: Path, inputs: Iterable[Path | None]) -> None:
    """Refuse before the work is done to write a table over what a command reads, or over any manifest.

    Args:
        inputs: None for one that is not given.
    """
    from asr.importers.writers import check_replaceable
    from asr.manifest import is_manifest

    given = [each for each in inputs if each]
    check_replaceable(path, overwrite=True, inputs=given, is_ours=lambda there: not is_manifest(there))


def make_folder(folder: Path, why: str = "") -> None:
    """Make the folder of what is to be written.

    Args:
        why: the end of the message.
    Raises:
        InputError: it cannot be made, or not be written.
    """
    from asr.names import shown

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{shown(folder)}: {error.strerror}. Give --out a folder that can be written{why}."
        ) from error
    if not os.access(folder, os.W_OK):
        raise InputError(f"{shown(folder)} cannot be written. Give --out a folder that can{why}.")


def write_transcript_of(transcript: Transcript, job: Job, target: Path, overwrite: bool) -> None:
    """Write a transcript; an ELAN file of a linguist's is added to, never replaced."""
    from asr.formats import write_transcript
    from asr.formats.eaf import add_tiers, origin_of, read_eaf
    from asr.names import shown

    eaf = _added_to(job, target)
    if eaf is not None:
        add_tiers(eaf, transcript, target, overwrite=overwrite)
        if job.eaf is not None and eaf.resolve() != job.eaf.resolve():
            print(
                f"note: {shown(target)} holds what a linguist may have corrected, and was added to as it is. Give "
                f"another --out for a fresh copy of {shown(job.eaf)}.",
                file=sys.stderr,
            )
        origin_s = origin_of(read_eaf(eaf), transcript.audio)
        before = sum(each.end <= origin_s for each in transcript.segments)
        if before:
            print(
                f"note: {shown(target)} begins {origin_s:g} s into {shown(transcript.audio)}; it has no place for "
                f"{before} segment(s) before that.",
                file=sys.stderr,
            )
    else:
        write_transcript(transcript, target, overwrite=overwrite)


def _added_to(job: Job, target: Path) -> Path | None:
    """The ELAN file that a target is a copy of, with further tiers; None where the target is all our own.

    What somebody changed in the target is nowhere else, so that the target itself comes first.
    """
    from asr.formats.eaf import is_own, read_eaf

    if target.suffix != ".eaf":
        return None
    if target.exists() and not is_own(read_eaf(target)):
        return target
    return job.eaf


def _gains_tiers(job: Job, target: Path) -> bool:
    """Whether a target stays what it is, with further tiers."""
    eaf = _added_to(job, target)
    return eaf is not None and eaf.resolve() == target.resolve()


@contextmanager
def progress_bar(recording: Path) -> Iterator[Callable[[float], None]]:
    """A bar on stderr, moved by calling it with the seconds of audio that are done."""
    from tqdm import tqdm

    from asr.audio import probe

    total = probe(recording, partly=True).header_duration_s
    with tqdm(
        total=round(total) if total else None, unit="s", desc=recording.name, leave=False, disable=None
    ) as bar:

        def advance(seconds: float) -> None:
            bar.update(round(seconds) - bar.n)

        yield advance


def report(error: InputError) -> bool:
    """Say on stderr what went wrong; True, for what is to become the exit status."""
    print(f"loquela: {error}", file=sys.stderr, flush=True)
    return True

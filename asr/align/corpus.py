"""A corpus out of recordings with loose transcripts: what is surely said becomes utterances, the rest is set aside."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from asr.align.aligner import AlignConfig, Aligner, Alignment
from asr.align.texts import Line, read_lines
from asr.audio import channels, probe
from asr.config import from_mapping, to_mapping
from asr.formats import READERS
from asr.formats.clean import one_line
from asr.formats.tiernames import TIER_ENDINGS
from asr.importers.base import find_files, place_below, recording_names
from asr.journal import append_entry, read_journal, stamp
from asr.manifest import Utterance
from asr.memory import is_lack_of_memory
from asr.names import AUDIO_ENDINGS, composed, misnamed, shown
from asr.transcript import Transcript
from lm.errors import InputError

LEAST_S = 0.001
"""Of the span of a line without a place, for a manifest's rows all have one."""
OTHERS = 2_000
"""Lines of all transcripts, about, of which decoys are taken: of more, every so many-th."""


@dataclass(frozen=True)
class Pair:
    """A recording and its transcript."""

    name: str
    """Its place below the folder of recordings: the beginning of its utterances' ids."""
    recording: Path
    transcript: Path


@dataclass(frozen=True)
class AlignedCorpus:
    """What became of recordings and transcripts."""

    utterances: list[Utterance]
    """The lines that are believed."""
    rejected: list[Utterance]
    """The others of these recordings, where they are or would be."""
    threshold: float
    """What a believed line's score exceeds."""
    alignments: list[Alignment]
    """Of the recordings that have utterances."""
    problems: list[InputError]
    """What was left out, a recording, the end of one, or a transcript each."""


def find_pairs(
    recordings: Path, transcripts: Path, *, tiered: bool = False, channel: str = "mix"
) -> tuple[list[Pair], list[InputError]]:
    """Recordings and transcripts with the same place and name below their folders; what has no partner.

    Of several transcripts of one name the first counts, in the order of `READERS`: text before ELAN.

    Args:
        tiered: files with tiers alone are transcripts.
        channel: that is to be heard, as `asr.audio.channels` takes it.
    Raises:
        InputError: no such folder, or no recording in it.
    """
    for folder in (recordings, transcripts):
        if not folder.is_dir():
            raise InputError(f"{shown(folder)} is no folder. Give the one that holds the files.")
    sounds = find_files(recordings, *AUDIO_ENDINGS)
    if not sounds:
        raise InputError(
            f"{shown(recordings)}: no recording in this folder. Known endings: {' '.join(AUDIO_ENDINGS)}."
        )
    endings = [name for name in READERS if not tiered or f".{name.lower()}" in TIER_ENDINGS]
    texts: dict[Path, Path] = {}
    for ending in endings:
        for path in find_files(transcripts, f".{ending.lower()}"):
            texts.setdefault(place_below(path, transcripts), path)
    # One of each place: of another kind beside it, as a.flac beside a.wav, a transcript can mean one alone.
    files = {place_below(sound, recordings): composed(str(sound.relative_to(recordings))) for sound in sounds}
    names = recording_names(list(files.values()), recordings)
    pairs: dict[Path, Pair] = {}
    problems = []
    for sound in sounds:
        place = place_below(sound, recordings)
        whole = Path(composed(str(sound.relative_to(recordings))))
        if whole in texts and whole not in files:  # talk.wav.srt, and no talk.wav.wav
            texts.setdefault(place, texts.pop(whole))
        if why := misnamed(sound):  # the manifest could not hold it
            problems.append(InputError(why))
            texts.pop(place, None)
        elif place in pairs:
            problems.append(
                InputError(f"{shown(sound)}: another recording has its name. Rename one of them.")
            )
        elif place in texts:
            transcript = texts.pop(place)
            try:
                _check_channel(sound, channel)
                pairs[place] = Pair(names[files[place]], sound, transcript)
            except InputError as error:
                problems.append(error)
        else:
            problems.append(
                InputError(
                    f"{shown(sound)}: no transcript {place.name}.{endings[0]} in {shown(transcripts)}. Write it, or "
                    "remove the recording."
                )
            )
    for path in texts.values():
        if path.suffix.lower() == ".txt":  # what has another ending may be no transcript
            problems.append(
                InputError(
                    f"{shown(path)}: no recording of that name in {shown(recordings)}. Add it, or remove the "
                    "transcript."
                )
            )
    return list(pairs.values()), problems


def _check_channel(path: Path, policy: str) -> None:
    """Refuse a channel of several: training would hear all of them mixed.

    Raises:
        InputError: it is one of several, the recording lacks it, or cannot be read.
    """
    if policy == "mix":
        return
    info = probe(path, partly=True)
    wanted = channels(policy, info)[0]
    if info.num_channels > 1:
        raise InputError(
            f"{shown(path)} has {info.num_channels} channels, of which a manifest cannot name one. Write channel "
            f'{wanted} to a file first, `ffmpeg -i OLD -af "pan=mono|c0=c{int(wanted) - 1}" NEW.wav`, or give '
            "--channel mix."
        )


def align_corpus(
    aligner: Aligner,
    pairs: Sequence[Pair],
    journal: Path,
    *,
    tiers: Sequence[str] = (),
    language: str = "",
    begin: Callable[[Path], Callable[[float], None]] | None = None,
) -> AlignedCorpus:
    """Align every pair that can be, choose one threshold for all, and sort the lines by it.

    Of a recording that breaks off, what there is becomes utterances, and the problems have the rest.

    Args:
        journal: file for each alignment as soon as it is found. What it has of the same recording, transcript, model
            and settings is not looked for again.
        tiers: of the transcripts, as `read_lines` takes them.
        language: of every utterance.
        begin: called with each recording; what it gives is called with the seconds that are done.
    """
    problems: list[InputError] = []
    read: list[tuple[Pair, Transcript, list[Line]]] = []
    for pair in pairs:
        try:
            transcript = read_lines(pair.transcript, tiers)
            read.append((pair, transcript, aligner.lines(transcript)))
        except InputError as error:
            problems.append(error)
    owned = [(pair, line) for pair, _, lines in read for line in lines]
    pool = owned[:: max(1, len(owned) // OTHERS)]
    basis = _basis(aligner)
    found = {entry["key"]: entry["alignment"] for entry in read_journal(journal)}
    aligned: list[tuple[Pair, Alignment]] = []
    with journal.open("a", encoding="utf-8") as entries:
        for pair, transcript, lines in read:
            try:
                key = _digest(basis, pair.name, stamp(pair.recording), lines)
                if key in found:
                    earlier = from_mapping(Alignment, found[key])
                    aligned.append((pair, replace(earlier, audio=pair.recording)))
                    continue
                others = [line for owner, line in pool if owner is not pair]
                progress = begin(pair.recording) if begin else None
                alignment = aligner.align(pair.recording, transcript, others=others, progress=progress)
                append_entry(entries, {"key": key, "alignment": to_mapping(alignment)})
                aligned.append((pair, alignment))
            except InputError as error:
                problems.append(error)
            except (MemoryError, RuntimeError) as error:
                if not is_lack_of_memory(error):
                    raise
                problems.append(
                    InputError(
                        f"{shown(pair.recording)}: there is not enough memory to align it. Cut it and its transcript "
                        "into parts, or take a machine with more."
                    )
                )
    threshold = aligner.threshold([alignment for _, alignment in aligned])
    utterances: list[Utterance] = []
    rejected: list[Utterance] = []
    kept = []
    for pair, alignment in aligned:
        try:
            alignment.check(threshold, aligner.config)
        except InputError as error:
            problems.append(error)
            continue
        kept.append(alignment)
        if why := alignment.details.get("failed"):
            problems.append(InputError(why))
        for utterance, believed in _utterances(pair, alignment, threshold, language):
            (utterances if believed else rejected).append(utterance)
    return AlignedCorpus(utterances, rejected, threshold, kept, problems)


def _basis(aligner: Aligner) -> str:
    """What alignments follow from besides recording and transcript: model and settings."""
    # What is believed is decided afterwards.
    usual = AlignConfig()
    config = replace(
        aligner.config,
        false_accepts=usual.false_accepts,
        least_share=usual.least_share,
        least_margin=usual.least_margin,
    )
    state = aligner.transcriber.model.state_dict()
    weights = (value.detach().cpu().reshape(-1).view(torch.uint8).numpy() for value in state.values())
    return _digest(config, aligner.transcriber.config, *map(zlib.crc32, weights))


def _digest(*values: object) -> str:
    return hashlib.blake2b(repr(values).encode(), digest_size=16).hexdigest()


def _utterances(
    pair: Pair, alignment: Alignment, threshold: float, language: str
) -> list[tuple[Utterance, bool]]:
    """The lines of a recording, and whether each is believed."""
    rows = []
    for each in alignment.lines:
        segment = each.segment
        row = Utterance(
            id=f"{pair.name}_{each.line.number:04d}",
            audio=pair.recording,
            offset_s=segment.start,
            duration_s=max(LEAST_S, segment.end - segment.start),
            text=one_line(segment.text),
            translation=one_line(segment.translation),
            language=language,
            speaker=one_line(segment.speaker),
            extra={
                "score": f"{each.score:.3f}" if each.placed else "",
                "confidence": f"{segment.confidence:.3f}",
            },
        )
        rows.append((row, each.score > threshold))
    return rows

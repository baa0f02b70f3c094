"""Praat TextGrids, each with a recording of the same name."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from asr.formats.choose import choose_tiers, matches
from asr.formats.clean import one_line
from asr.formats.textgrid import TextGridDocument, read_textgrid, speakers_in
from asr.formats.tiernames import may_be_transcript
from asr.importers.base import (
    Draft,
    ImportConfig,
    Importer,
    Reading,
    find_beside,
    find_files,
    first_of,
    name_recordings,
    read_each,
    span_name,
    stem_below,
)
from asr.importers.measure import measure
from asr.importers.tiers import Timeline, translations_for, with_tiers
from lm.errors import InputError

_CODE = re.compile(r"\\[^\s\\]{2}")


def recognises(source: Path) -> bool:
    """A .TextGrid file, or a folder with some."""
    return source.suffix.lower() == ".textgrid" if source.is_file() else bool(find_files(source, ".textgrid"))


def read(source: Path, config: ImportConfig) -> Reading:
    """Each interval with text of the chosen tiers is an utterance.

    A TextGrid does not name its recording: it is the file of the same name beside it or in
    ``config.audio``. With several chosen tiers each is taken for a speaker, as Praat users name them.
    """
    paths = [source] if source.is_file() else find_files(source, ".textgrid")
    if not paths:
        raise InputError(f"{source} holds no .TextGrid file. Give a TextGrid or a folder of them.")
    if config.audio is not None and config.audio.is_file() and len(paths) > 1:
        raise InputError(
            f"--audio {config.audio} is one file for {len(paths)} TextGrids. Give the folder of recordings."
        )
    documents, problems = read_each(paths, read_textgrid)
    chosen = _chosen_tiers(documents, config, source)
    reading = Reading([], problems)
    twins: dict[Path, str] = {}
    coded: dict[Path, str] = {}
    shifted: dict[Path, float] = {}
    for path, document in with_tiers(documents, _tier_names, chosen, config, reading):
        audio = find_beside(path, source, config)
        if audio is None:
            problems.append(f"{path}: no recording {path.stem}.* beside it. Say where with --audio FOLDER.")
            continue
        name = stem_below(path, source if source.is_dir() else path.parent)
        for tier, count in Counter(_tier_names(document)).items():
            if count > 1 and tier in chosen:
                twins.setdefault(path, f"{count} tiers {tier!r}")
        if code := _code_in(document, chosen):
            coded[path] = code
        if shift := _shift(document, audio, config):
            shifted[path] = shift
        reading.drafts.extend(_drafts_of(document, chosen, name, audio, config, shift))
    if twins:
        reading.notes.append(
            f"{first_of(twins)}: {next(iter(twins.values()))}. What all of one name say is imported, as one speaker's. "
            "If that is not meant, rename them in Praat."
        )
    if coded:
        reading.notes.append(
            f"{first_of(coded)}: labels hold codes of Praat for letters, as {next(iter(coded.values()))!r}, and are "
            "imported as they stand. In Praat choose Modify > Convert to Unicode, and save."
        )
    if shifted:
        reading.notes.append(
            f"{first_of(shifted)}: begins at {next(iter(shifted.values())):.3f} s, and its recording is as long as "
            "what follows. The times are taken from there on."
        )
    name_recordings(reading)
    return reading


def _shift(document: TextGridDocument, audio: Path, config: ImportConfig) -> float:
    """How much earlier in its recording everything lies: of an extracted part Praat can keep the times of the whole."""
    if document.start <= 0:
        return 0.0
    length = measure([audio], trust_header=config.trust_header)[audio]
    if isinstance(length, str):  # the file is reported where all are measured
        return 0.0
    part = document.end - document.start
    return document.start if abs(length - part) < abs(length - document.end) else 0.0


def _code_in(document: TextGridDocument, chosen: list[str]) -> str:
    r"""The first backslash code (``\n~``, ``\sw``) that Praat shows as a letter; empty where there is none."""
    labels = (each.text for tier in document.tiers if tier.name in chosen for each in tier.intervals)
    return next((found[0] for label in labels if (found := _CODE.search(label))), "")


def _tier_names(document: TextGridDocument) -> list[str]:
    return [tier.name for tier in document.tiers if not tier.is_point_tier]


def _chosen_tiers(documents: dict[Path, TextGridDocument], config: ImportConfig, source: Path) -> list[str]:
    values: dict[str, list[str]] = {}
    for document in documents.values():
        for tier in document.tiers:
            if not tier.is_point_tier:
                texts = (each.text for each in tier.intervals if each.text.strip())
                values.setdefault(tier.name, []).extend(texts)
    for pattern in config.translation_tiers:
        if not any(matches(name, [pattern]) for name in values):
            raise InputError(
                f"{source} has no translation tier {pattern!r}. It has {', '.join(map(repr, values))}."
            )
    # Of our own tiers the utterances alone; beside them lie their words, confidences and translations.
    candidates = [
        name for name in values if may_be_transcript(name) and not matches(name, config.translation_tiers)
    ]
    return choose_tiers(values, candidates, config.tiers, str(source))


def _drafts_of(
    document: TextGridDocument,
    chosen: list[str],
    recording: str,
    audio: Path,
    config: ImportConfig,
    shift: float = 0.0,
) -> list[Draft]:
    drafts = []
    speakers = speakers_in(document)
    tiers = [tier for tier in document.tiers if tier.name in chosen and not tier.is_point_tier]
    for tier in tiers:
        names = translations_for(tier.name, config)
        translated = [other for other in document.tiers if matches(other.name, names)]
        translations = Timeline(
            (interval for other in translated for interval in other.intervals if interval.text.strip()),
            several=len(translated) > 1,
        )
        ours = speakers.get(tier.name)
        speaker = one_line(tier.name if ours is None and len(chosen) > 1 else ours or "")
        place = f"{recording}_{tier.name}" if len(chosen) > 1 else recording
        for interval in tier.intervals:
            text = one_line(interval.text)
            if text:
                translation = translations.best_overlap(interval)
                start, end = interval.start - shift, interval.end - shift
                drafts.append(
                    Draft(
                        name=span_name(place, start, end),
                        audio=audio,
                        start=start,
                        end=end,
                        text=text,
                        translation=one_line(translation.text) if translation else "",
                        speaker=speaker,
                        extra={"recording": recording, "tier": one_line(tier.name)},
                    )
                )
    drafts.sort(key=lambda draft: (draft.start, draft.end or 0.0))
    return drafts


IMPORTER = Importer(
    form="textgrid",
    recognises=recognises,
    read=read,
    options=frozenset({"audio", "tiers", "translation_tiers"}),
)

"""ELAN files: the utterances of chosen tiers, with what depends on them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container
from pathlib import Path

from asr.formats.choose import choose_tiers, listed, matches
from asr.formats.clean import one_line
from asr.formats.eaf import EafAnnotation, EafDocument, EafTier, find_media, origin_of, read_eaf
from asr.formats.eaf.document import speaker_in, untimed
from asr.formats.tiernames import is_confidence, is_ours
from asr.importers.base import (
    Draft,
    ImportConfig,
    Importer,
    Reading,
    audio_folders,
    find_files,
    first_of,
    name_recordings,
    read_each,
    span_name,
    stem_below,
)
from asr.importers.tiers import Timeline, translations_for, with_tiers
from asr.manifest import COLUMNS
from lm.errors import InputError

NO_VALUE = "_"
"""Stands for an empty annotation where several are joined, so that the columns of one row stay parallel."""


def recognises(source: Path) -> bool:
    """An .eaf file, or a folder with some."""
    return source.suffix.lower() == ".eaf" if source.is_file() else bool(find_files(source, ".eaf"))


def read(source: Path, config: ImportConfig) -> Reading:
    """Each annotation with text of the chosen tiers is an utterance; its speaker is the tier's participant.

    Of several tiers of which none has one, it is the tier's name.

    Tiers that depend on a chosen one become columns named like the tier (of several annotations
    under one utterance, the values joined by spaces). The translation is the annotation of a
    translation tier below the utterance, or else of one that lies at the same time, of the tiers
    of the same root if there are such. An annotation that has no place in time is left out.
    """
    paths = [source] if source.is_file() else find_files(source, ".eaf")
    if not paths:
        raise InputError(f"{source} holds no .eaf file. Give an ELAN file or a folder of them.")
    documents, problems = read_each(paths, read_eaf)
    reading = Reading([], problems)
    chosen = _chosen_tiers(documents, config, source, reading)
    if config.audio is not None and config.audio.is_file() and len(paths) > 1:
        raise InputError(
            f"--audio {config.audio} is one file for {len(paths)} .eaf files. Give the folder of recordings."
        )
    shared_out: dict[Path, int] = {}
    mixed: dict[Path, list[str]] = {}
    for path, document in with_tiers(documents, _tier_names, chosen, config, reading):
        audio = _audio_of(document, path, source, config)
        if audio is None:
            named = ", ".join(each.relative_url or each.url for each in document.media) or "none"
            problems.append(
                f"{path}: its recording is not there (it names {named}). Say where with --audio FOLDER."
            )
            continue
        name = stem_below(path, source if source.is_dir() else path.parent)
        lost, shared = ([each for each in part if one_line(each.value)] for part in untimed(document, chosen))
        left_out = {each.id for each in lost}
        reading.drafts.extend(_drafts_of(document, chosen, left_out, name, audio, config))
        if lost:
            problems.append(
                f"{path}: {len(lost)} annotation(s), as {one_line(lost[0].value)[:40]!r}, have no start or no end, "
                "nor has what they depend on. Give them their times in ELAN."
            )
        if shared:
            shared_out[path] = len(shared)
        if several := _translations_below(document, chosen, config):
            mixed[path] = several
    if shared_out:
        reading.notes.append(
            f"{first_of(shared_out)}: {sum(shared_out.values())} utterances have no times of their own, "
            "but an even share of the annotation they depend on. Choose the tier above with --tier, or give them "
            "their times with `loquela align`."
        )
    if mixed:
        names = next(iter(mixed.values()))
        reading.notes.append(
            f"{first_of(mixed)}: of the translation tiers {' and '.join(map(repr, names))} below one tier, the first "
            "that says something of an utterance is its translation, the others are columns. If they are of several "
            "languages, name one with --translation-tier."
        )
    name_recordings(reading)
    return reading


def _translations_below(document: EafDocument, chosen: list[str], config: ImportConfig) -> list[str]:
    """Translation tiers that lie below one chosen tier, where there are several."""
    for tier in document.tiers:
        if tier.id in chosen:
            wanted = translations_for(tier.id, config)
            found = [
                each.id
                for each in _dependents(tier, document)
                if matches(each.id, wanted) and each.annotations
            ]
            if len(found) > 1:
                return found
    return []


def _tier_names(document: EafDocument) -> list[str]:
    return [tier.id for tier in document.tiers]


def _chosen_tiers(
    documents: dict[Path, EafDocument], config: ImportConfig, source: Path, reading: Reading
) -> list[str]:
    values: dict[str, list[str]] = {}
    independent: set[str] = set()
    for document in documents.values():
        for tier in document.tiers:
            texts = (each.value for each in tier.annotations if each.value.strip())
            values.setdefault(tier.id, []).extend(texts)
            if not tier.parent:
                independent.add(tier.id)
    for pattern in config.translation_tiers:
        if not any(matches(name, [pattern]) for name in values):
            raise InputError(
                f"{source} has no translation tier {pattern!r}. It has {', '.join(map(repr, values))}."
            )
    possible = [name for name in values if not matches(name, config.translation_tiers)]
    candidates = [name for name in possible if name in independent]
    others = [name for name in possible if name not in independent and values[name] and not is_ours(name)]
    chosen = choose_tiers(values, candidates, config.tiers, str(source), others)
    if others and not config.tiers:
        reading.notes.append(
            f"{source}: took the tier {chosen[0]!r}; others hold text: {listed(values, others)}. "
            "Choose with --tier."
        )
    return chosen


def _audio_of(document: EafDocument, path: Path, source: Path, config: ImportConfig) -> Path | None:
    if config.audio is not None and config.audio.is_file():
        return config.audio
    return find_media(document, path, *audio_folders(path, source, config))


def _drafts_of(
    document: EafDocument,
    chosen: list[str],
    left_out: Container[str],
    recording: str,
    audio: Path,
    config: ImportConfig,
) -> list[Draft]:
    parents = {each.id: each.parent for tier in document.tiers for each in tier.annotations}
    origin_s = origin_of(document, audio)
    drafts = []
    main_tiers = [tier for tier in document.tiers if tier.id in chosen]
    named = len(main_tiers) == 1 or any(tier.participant for tier in main_tiers)
    for tier in main_tiers:
        utterances = {
            each.id: each for each in tier.annotations if one_line(each.value) and each.id not in left_out
        }
        translations = translations_for(tier.id, config)
        languages = {
            each.id: other.language
            for other in document.tiers
            if matches(other.id, translations)
            for each in other.annotations
        }
        beside = _parallel_translations(tier, main_tiers, document, config)
        below = {each.id: _below(each, utterances, parents) for each in _dependents(tier, document)}
        for annotation in utterances.values():
            values = {name: _joined(found[annotation.id]) for name, found in below.items()}
            translation = [name for name in values if matches(name, translations)]
            told = next((name for name in translation if values[name]), "")
            parts = below[told][annotation.id] if told else []
            text = " ".join(filter(None, (one_line(each.value) for each in parts)))
            translator = parts[0] if parts else None
            if not translation:
                translator = beside.best_overlap(annotation)
                text = one_line(translator.value) if translator else ""
            extra = {
                _column(name): value
                for name, value in values.items()
                if not is_confidence(name) and (name not in translation or (value and name != told))
            }
            # With several tiers two people may speak at once: the tier tells their ids apart.
            place = f"{recording}_{tier.id}" if len(main_tiers) > 1 else recording
            start, end = annotation.start + origin_s, annotation.end + origin_s
            drafts.append(
                Draft(
                    name=span_name(place, start, end),
                    audio=audio,
                    start=start,
                    end=end,
                    text=one_line(annotation.value),
                    translation=text,
                    language=tier.language,
                    translation_language=languages[translator.id] if translator else "",
                    speaker=one_line(speaker_in(tier) or ("" if named or is_ours(tier.id) else tier.id)),
                    extra={**extra, "recording": recording, "tier": one_line(tier.id)},
                )
            )
    drafts.sort(key=lambda draft: (draft.start, draft.end or 0.0))
    return drafts


def _dependents(tier: EafTier, document: EafDocument) -> list[EafTier]:
    """Tiers below ``tier``, at any depth, in the file's order."""
    names = {tier.id}
    while True:
        more = {each.id for each in document.tiers if each.parent in names} - names
        if not more:
            return [each for each in document.tiers if each.id in names and each.id != tier.id]
        names |= more


def _below(
    tier: EafTier, utterances: dict[str, EafAnnotation], parents: dict[str, str | None]
) -> dict[str, list[EafAnnotation]]:
    """Annotations of a dependent tier under each utterance, in order."""
    found: dict[str, list[EafAnnotation]] = defaultdict(list)
    for annotation in tier.annotations:
        above = annotation.parent
        seen = set()
        while above is not None and above not in utterances and above not in seen:
            seen.add(above)  # a file may claim a circle
            above = parents.get(above)
        if above is not None:
            found[above].append(annotation)
    return found


def _joined(annotations: list[EafAnnotation]) -> str:
    values = [one_line(each.value) for each in annotations]
    if not any(values):
        return ""
    return " ".join(value or NO_VALUE for value in values) if len(values) > 1 else values[0]


def _parallel_translations(
    tier: EafTier, main_tiers: list[EafTier], document: EafDocument, config: ImportConfig
) -> Timeline[EafAnnotation]:
    """What the translation tiers say that a tier may share: those of its root, or else those of no other.

    In most templates the transcript and the translation of a speaker both depend on one tier.
    """
    parents = {each.id: each.parent for each in document.tiers}
    translations, speakers = [], set()
    for each in document.tiers:
        if matches(each.id, config.translation_tiers):
            translations.append(each)
        else:
            speakers.add(each.participant)
    kin = [
        each
        for each in translations
        if each.id != tier.id and _root(each.id, parents) == _root(tier.id, parents)
    ]
    others_roots = {_root(each.id, parents) for each in main_tiers}
    others_names = speakers - {"", tier.participant}
    free = [
        each
        for each in translations
        if _root(each.id, parents) not in others_roots and each.participant not in others_names
    ]
    values = (value for each in kin or free for value in each.annotations if one_line(value.value))
    return Timeline(values, several=not kin and len(free) > 1)


def _root(name: str, parents: dict[str, str]) -> str:
    """The tier that one depends on in the end."""
    seen = set()
    while parents[name] and name not in seen:
        seen.add(name)  # a file may claim a circle
        name = parents[name]
    return name


def _column(tier: str) -> str:
    """Column for a dependent tier: its name, marked where the manifest has that column already."""
    name = one_line(tier)
    return f"tier_{name}" if name in (*COLUMNS, "recording", "tier", "") else name


IMPORTER = Importer(
    form="elan",
    recognises=recognises,
    read=read,
    options=frozenset({"audio", "tiers", "translation_tiers"}),
)

"""Praat TextGrids, each with a recording of the same name."""

from __future__ import annotations

from pathlib import Path

from asr.formats.clean import one_line
from asr.formats.textgrid import TextGridDocument, read_textgrid
from asr.importers.base import (
    Draft,
    ImportConfig,
    Importer,
    Reading,
    find_beside,
    find_files,
    matches,
    read_each,
    span_name,
    stem_below,
)
from asr.importers.tiers import Timeline, choose_tiers, with_tiers
from lm.errors import InputError


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
    for path, document in with_tiers(documents, _tier_names, chosen, config, reading):
        audio = find_beside(path, source, config)
        if audio is None:
            problems.append(f"{path}: no recording {path.stem}.* beside it. Say where with --audio FOLDER.")
            continue
        name = stem_below(path, source if source.is_dir() else path.parent)
        reading.drafts.extend(_drafts_of(document, chosen, name, audio, config))
    return reading


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
    candidates = [name for name in values if not matches(name, config.translation_tiers)]
    return choose_tiers(values, candidates, config.tiers, str(source))


def _drafts_of(
    document: TextGridDocument, chosen: list[str], recording: str, audio: Path, config: ImportConfig
) -> list[Draft]:
    drafts = []
    tiers = [tier for tier in document.tiers if tier.name in chosen and not tier.is_point_tier]
    translated = [tier for tier in document.tiers if matches(tier.name, config.translation_tiers)]
    translations = Timeline(
        (interval for tier in translated for interval in tier.intervals if interval.text.strip()),
        several=len(translated) > 1,
    )
    for tier in tiers:
        speaker = one_line(tier.name) if len(chosen) > 1 else ""
        place = f"{recording}_{tier.name}" if len(chosen) > 1 else recording
        for interval in tier.intervals:
            text = one_line(interval.text)
            if text:
                translation = translations.best_overlap(interval)
                drafts.append(
                    Draft(
                        name=span_name(place, interval.start, interval.end),
                        audio=audio,
                        start=interval.start,
                        end=interval.end,
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
    summary="a Praat TextGrid, or a folder of them",
    recognises=recognises,
    read=read,
    options=frozenset({"audio", "tiers", "translation_tiers"}),
)

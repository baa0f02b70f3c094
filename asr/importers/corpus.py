"""From what an importer read to utterances: audio measured, ids made unique and safe."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from asr.importers import (
    commonvoice,
    covost,
    elan,
    fairseq,
    folder,
    kaldi,
    manifest,
    mustc,
    table,
    textgrid,
)
from asr.importers.base import Draft, ImportConfig, Importer, safe_id
from asr.importers.measure import measure
from asr.manifest import COLUMNS, Utterance
from lm.errors import InputError

IMPORTERS: dict[str, Importer] = {
    module.IMPORTER.form: module.IMPORTER
    # covost before commonvoice: its tables lie in Common Voice's folder and have its columns and more
    for module in (manifest, kaldi, fairseq, mustc, covost, commonvoice, elan, textgrid, table, folder)
}
"""Every form that can be imported, by its name."""

MAX_OVERSHOOT_S = 0.5
"""A span may end this far beyond its file and is then cut there; as in Kaldi's extract-segments."""

MIN_SPAN_S = 0.01
"""Shorter spans are slips of the mouse."""


@dataclass(frozen=True)
class Imported:
    """The outcome: what can be used, and a line for each thing that cannot."""

    utterances: list[Utterance]
    problems: list[str] = field(default_factory=list)


def detect_form(source: Path) -> str:
    """The form that a file or folder has.

    Raises:
        InputError: it does not exist, no form fits, or several do.
    """
    if not source.exists():
        raise InputError(f"{source} does not exist. Give the file or folder of a corpus.")
    certain = [form for form, each in IMPORTERS.items() if each.certain and each.recognises(source)]
    if certain:
        return certain[0]
    found = [form for form, each in IMPORTERS.items() if not each.certain and each.recognises(source)]
    if len(found) == 1:
        return found[0]
    what = f"looks like {' and '.join(found)}" if found else f"is of no form we know ({', '.join(IMPORTERS)})"
    raise InputError(f"{source} {what}. Name its form with --form.")


def import_corpus(
    source: str | Path,
    form: str = "auto",
    config: ImportConfig | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Imported:
    """Read a corpus of any form.

    Args:
        source: a file or folder.
        form: a key of `IMPORTERS`, or "auto" to find out.
        progress: called with the number of audio files measured and the number of all.
    Raises:
        InputError: the source as a whole cannot be read.
    """
    source = Path(source)
    config = config or ImportConfig()
    form = detect_form(source) if form == "auto" else form
    if form not in IMPORTERS:
        raise InputError(f"There is no importer {form!r}. Choose one of {', '.join(IMPORTERS)}.")
    if not source.exists():
        raise InputError(f"{source} does not exist. Give the file or folder of a corpus.")
    if config.audio is not None and not config.audio.exists():
        raise InputError(f"--audio {config.audio} does not exist. Give the folder of the recordings.")
    reading = IMPORTERS[form].read(source, config)
    lengths = measure(
        (draft.audio for draft in reading.drafts),
        trust_header=config.trust_header,
        jobs=config.jobs,
        progress=progress,
    )
    problems = list(reading.problems)
    problems += [length for length in lengths.values() if isinstance(length, str)]
    speaker = _speaker_rule(config, source)
    taken: set[str] = set()
    utterances = []
    for draft in reading.drafts:
        try:
            start, duration = _span(draft, lengths)
        except InputError as error:
            problems.append(str(error))
            continue
        if duration is None:
            continue  # the file was reported above, once for all that lie in it
        utterances.append(
            Utterance(
                id=_unique(safe_id(draft.name), taken),
                audio=draft.audio,
                offset_s=start,
                duration_s=duration,
                text=draft.text,
                translation=draft.translation,
                language=config.language or draft.language,
                translation_language=config.translation_language or draft.translation_language,
                speaker=speaker(draft),
                gender=draft.gender,
                split=draft.split,
                # A column of the source's that is called as one of the manifest's is no other's value.
                extra={
                    f"table_{name}" if name in COLUMNS else name: value for name, value in draft.extra.items()
                },
            )
        )
    return Imported(utterances, problems)


def _span(draft: Draft, lengths: Mapping[Path, float | str]) -> tuple[float, float | None]:
    """Start and duration in seconds; no duration when the file could not be read."""
    length = lengths[draft.audio]
    if isinstance(length, str):
        return draft.start, None
    end = length if draft.end is None else draft.end
    if end > length + MAX_OVERSHOOT_S:
        raise InputError(
            f"{draft.audio}: {draft.name} ends at {end:.3f} s but the audio at {length:.3f} s. "
            "Mend its times, or give the recording they were made on."
        )
    duration = min(end, length) - draft.start
    if draft.start < 0 or duration < MIN_SPAN_S:
        raise InputError(
            f"{draft.audio}: {draft.name} covers {draft.start:.3f} to {end:.3f} s. Give it a positive span."
        )
    return draft.start, duration


def _unique(name: str, taken: set[str]) -> str:
    """The name, with a number where it is taken; some systems take names that differ in case for one file."""
    candidate, number = name, 1
    while candidate.casefold() in taken:
        number += 1
        candidate = f"{name}-{number}"
    taken.add(candidate.casefold())
    return candidate


def _speaker_rule(config: ImportConfig, source: Path) -> Callable[[Draft], str]:
    if config.speaker:
        return lambda draft: config.speaker
    if not config.speaker_pattern:
        return lambda draft: draft.speaker
    try:
        pattern = re.compile(config.speaker_pattern)
    except re.error as error:
        raise InputError(
            f"--speaker-pattern {config.speaker_pattern!r}: {error}. Give a regular expression."
        ) from error
    if pattern.groups < 1:
        raise InputError(
            f"--speaker-pattern {config.speaker_pattern!r} has no group. Put ( ) around the speaker."
        )

    def speaker_of(draft: Draft) -> str:
        root = source if source.is_dir() else source.parent
        name = draft.audio.relative_to(root) if draft.audio.is_relative_to(root) else draft.audio
        found = pattern.search(name.as_posix())
        return (found.group(1) or "") if found else draft.speaker

    return speaker_of

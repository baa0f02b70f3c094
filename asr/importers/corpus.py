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
    transcript,
)
from asr.importers.base import OPTIONS, Draft, ImportConfig, Importer, safe_id, unique_name
from asr.importers.measure import measure
from asr.manifest import COLUMNS, MAX_OVERSHOOT_S, Utterance
from asr.names import misnamed
from lm.errors import InputError

IMPORTERS: dict[str, Importer] = {
    module.IMPORTER.form: module.IMPORTER
    # covost before commonvoice: its tables lie in Common Voice's folder and have its columns and more
    for module in (
        manifest,
        kaldi,
        fairseq,
        mustc,
        covost,
        commonvoice,
        elan,
        textgrid,
        table,
        folder,
        transcript,
    )
}
"""Every form that can be imported, by its name."""

END_TOLERANCE_S = 0.1
"""A span that is meant to be the whole file may differ this much from its length, and is then the whole."""

MIN_SPAN_S = 0.01
"""Shorter spans are slips of the mouse."""


@dataclass(frozen=True)
class Imported:
    """The outcome: what can be used, and a line for each thing that cannot."""

    utterances: list[Utterance]
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """A line for what is worth knowing of what can be used."""


def detect_form(source: Path, config: ImportConfig | None = None) -> str:
    """The form that a file or folder has, among those that read what the user says of it.

    Raises:
        InputError: it does not exist, no form fits, or several do.
    """
    config = config or ImportConfig()
    if not source.exists():
        raise InputError(f"{source} does not exist. Give the file or folder of a corpus.")
    fitting = {
        form: each
        for form, each in IMPORTERS.items()
        if _given(config) <= each.options
        and not (source.is_dir() and _is_out(each.file_of(source), config))
        and each.recognises(source)
    }
    certain = [form for form, each in fitting.items() if each.certain]
    if certain:
        return certain[0]
    found = [form for form, each in fitting.items() if not each.certain]
    if len(found) > 1:  # subtitles may lie beside what they were made of, or made from
        found = [form for form in found if form != transcript.IMPORTER.form]
    if len(found) == 1:
        return found[0]
    # A table whose columns none can guess, or a file that is not UTF-8: its importer says why, and what to do.
    is_table = source.is_file() and source.suffix.lower() in (".csv", ".tsv")
    if not found and is_table and _given(config) <= table.IMPORTER.options:
        return table.IMPORTER.form
    if not found and transcript.is_named_so(source) and _given(config) <= transcript.IMPORTER.options:
        return transcript.IMPORTER.form
    what = f"looks like {' and '.join(found)}" if found else f"is of no form we know ({', '.join(IMPORTERS)})"
    among = ", ".join(OPTIONS[name] for name in OPTIONS if name in _given(config))
    among = f" that reads {among}" if among and not found else ""
    raise InputError(f"{source} {what}{among}. Name its form with --form.")


def _given(config: ImportConfig) -> set[str]:
    """Those of `OPTIONS` that have a value."""
    return {name for name in OPTIONS if getattr(config, name)}


def _is_out(path: Path | None, config: ImportConfig) -> bool:
    return path is not None and config.out is not None and path.resolve() == config.out.resolve()


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
    form = detect_form(source, config) if form == "auto" else form
    if form not in IMPORTERS:
        raise InputError(f"There is no importer {form!r}. Choose one of {', '.join(IMPORTERS)}.")
    if not source.exists():
        raise InputError(f"{source} does not exist. Give the file or folder of a corpus.")
    if config.audio is not None and not config.audio.exists():
        raise InputError(f"--audio {config.audio} does not exist. Give the folder of the recordings.")
    importer = IMPORTERS[form]
    for name in sorted(_given(config) - importer.options):
        others = ", ".join(other for other, each in IMPORTERS.items() if name in each.options)
        raise InputError(
            f"{OPTIONS[name]} has no use for the form {form}; it is for {others}. Leave it out, or give --form."
        )
    if _is_out(importer.file_of(source), config):
        raise InputError(f"{config.out} is what is to be imported, and is kept. Give another --out.")
    reading = importer.read(source, config)
    # What the manifest cannot hold is told before the work is done, once for all that lie in the file.
    wrong = {draft.audio: why for draft in reading.drafts if (why := misnamed(draft.audio))}
    drafts = [draft for draft in reading.drafts if draft.audio not in wrong]
    lengths = measure(
        (draft.audio for draft in drafts),
        trust_header=config.trust_header,
        jobs=config.jobs,
        progress=progress,
    )
    problems = [*reading.problems, *wrong.values()]
    problems += [length for length in lengths.values() if isinstance(length, str)]
    speaker = _speaker_rule(config, source)
    taken: dict[str, int] = {}
    utterances = []
    for draft in drafts:
        try:
            start, duration = _span(draft, lengths)
        except InputError as error:
            problems.append(str(error))
            continue
        if duration is None:
            continue  # the file was reported above, once for all that lie in it
        utterances.append(
            Utterance(
                id=unique_name(safe_id(draft.name), taken),
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
    return Imported(utterances, problems, reading.notes)


def _span(draft: Draft, lengths: Mapping[Path, float | str]) -> tuple[float, float | None]:
    """Start and duration in seconds; no duration when the file could not be read."""
    length = lengths[draft.audio]
    if isinstance(length, str):
        return draft.start, None
    end = length if draft.end is None else draft.end
    if draft.to_end and end > length - END_TOLERANCE_S:
        end = length
    if not end <= length + MAX_OVERSHOOT_S:  # NaN passes no comparison
        raise InputError(
            f"{draft.audio}: {draft.name} ends at {end:.3f} s but the audio at {length:.3f} s. "
            "Mend its times, or give the recording they were made on."
        )
    duration = min(end, length) - draft.start
    if not (draft.start >= 0 and duration >= MIN_SPAN_S):
        raise InputError(
            f"{draft.audio}: {draft.name} covers {draft.start:.3f} to {end:.3f} s. Give it a positive span."
        )
    return draft.start, duration


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

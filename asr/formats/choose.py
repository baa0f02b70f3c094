"""Choosing among the tiers of a file or of several; for ELAN and Praat alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from asr.formats.tiernames import is_confidence, speaker_of
from asr.names import composed
from lm.errors import InputError


def choose_tiers(
    values: Mapping[str, Sequence[str]],
    candidates: Sequence[str],
    patterns: Sequence[str],
    where: str,
    dependents: Sequence[str] = (),
) -> list[str]:
    """Tiers to take the transcript from, in the files' order.

    Where all that may be meant are this toolkit's utterances, a tier for each speaker, it is all of them.

    Args:
        values: what the annotations of every tier of all files say.
        candidates: tiers that may be meant when no pattern is given.
        patterns: what the user asked for; this toolkit's confidences are meant by their whole names alone.
        where: the source, for messages.
        dependents: tiers with text that may be the transcript where the candidate above them only numbers it.
    Raises:
        InputError: nothing fits the patterns, or no pattern to choose by where several candidates
            may be meant or one whose dependents may be.
    """
    listing = listed(values, values) or "none"
    if patterns:
        chosen = [
            name
            for name in values
            if matches(name, patterns) and (name in patterns or not is_confidence(name))
        ]
        if not chosen:
            raise InputError(
                f"{where} has no tier {' or '.join(map(repr, patterns))}. Tiers (annotations): {listing}."
            )
        return chosen
    if candidates and all(speaker_of(name) is not None for name in candidates):
        return list(candidates)
    filled = [name for name in candidates if values[name]]
    if not filled:
        found = "no tier that holds annotations"
    elif len(filled) > 1:
        found = f"{len(filled)} tiers that may be the transcript"
    elif dependents and (number := _number_in(values[filled[0]])):
        found = f"mostly numbers, as {number!r}, in {filled[0]!r}, the one tier that depends on none"
    else:
        return filled
    raise InputError(
        f"{where} has {found}. Choose with --tier NAME or PATTERN. Tiers (annotations): {listing}."
    )


def listed(values: Mapping[str, Sequence[str]], names: Iterable[str]) -> str:
    """Tiers with the counts of their annotations, for messages."""
    return ", ".join(f"{name!r} ({len(values[name])})" for name in names)


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether ``name`` is one of the names or fits one of the shell patterns, all of them composed."""
    name = composed(name)
    return any(name == pattern or fnmatchcase(name, pattern) for pattern in map(composed, patterns))


def _number_in(values: Sequence[str]) -> str:
    """One of the values, if most are such as templates number sentences with, ``17`` or ``ana.017``; else ""."""
    alike = [each for each in values if " " not in each.strip() and any(map(str.isdigit, each))]
    return alike[0] if 2 * len(alike) > len(values) else ""

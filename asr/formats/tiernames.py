"""Names of the tiers that hold a transcript in ELAN and Praat, recognisable as automatic."""

from __future__ import annotations

import re

TIER_ENDINGS = (".eaf", ".textgrid")
"""Files with tiers, in small letters."""
PREFIX = "loquela"
UTTERANCE = "utterance"
WORD = "word"
TRANSLATION = "translation"
CONFIDENCE = "-confidence"
"""Ending of the kind whose tier holds the confidences of another."""


def tier_name(kind: str, speaker: str = "", run: int = 1) -> str:
    """The name of a tier.

    >>> tier_name(WORD), tier_name(WORD + CONFIDENCE, "Ana", run=2)
    ('loquela-word', 'loquela-word-confidence-2@Ana')
    """
    return f"{PREFIX}-{kind}" + (f"-{run}" if run > 1 else "") + (f"@{speaker}" if speaker else "")


def is_ours(name: str) -> bool:
    """Whether the tier is one of this toolkit's.

    >>> is_ours("loquela-word@Ana"), is_ours("words")
    (True, False)
    """
    return name.startswith(f"{PREFIX}-")


def speaker_of(name: str) -> str | None:
    """The speaker that the name of a first run's utterance tier carries, "" for none; None: another tier."""
    match = re.fullmatch(re.escape(tier_name(UTTERANCE)) + "(?:@(.+))?", name, re.DOTALL)
    return (match[1] or "") if match else None


def may_be_transcript(name: str) -> bool:
    """Whether a tier can hold what was said: of this toolkit's own, those of utterances alone.

    >>> may_be_transcript("text"), may_be_transcript("loquela-utterance@Ana"), may_be_transcript("loquela-word@Ana")
    (True, True, False)
    """
    return not is_ours(name) or speaker_of(name) is not None


def is_confidence(name: str) -> bool:
    """Whether the tier holds this toolkit's confidences, which are never what was said.

    >>> is_confidence("loquela-word-confidence-2@Ana"), is_confidence("loquela-word@a-confidence")
    (True, False)
    """
    return is_ours(name) and CONFIDENCE in name.split("@")[0]


def translation_of(name: str) -> str | None:
    """The tier with the translations of one of a first run's utterance tiers; None: another tier."""
    speaker = speaker_of(name)
    return None if speaker is None else tier_name(TRANSLATION, speaker)


def confidence_from(label: str | None) -> float:
    """The probability that a label of a confidence tier says; 1 when someone removed or changed it."""
    try:
        number = float(label) if label is not None else 1.0
    except ValueError:
        return 1.0
    return number if 0 <= number <= 1 else 1.0

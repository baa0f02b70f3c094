"""Characters that two texts may use for one thing, and whether hotwords are written with the acoustic model's."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence

from asr.lookalikes import APOSTROPHES
from lm.errors import InputError

MAX_SHOWN = 5
"""Hotwords quoted in an error."""
LOOK_ALIKES = (
    APOSTROPHES,
    "-\u2010\u2011\u2012\u2013\u2014\u2212",  # hyphens
    '"\u00ab\u00bb\u201c\u201d\u201e',  # quotation marks
)
"""Characters that two texts may use for the same thing."""


def check_hotwords(surfaces: Sequence[str], hotwords: Collection[str]) -> None:
    """Refuse hotwords that the labels cannot write.

    Args:
        surfaces: text that each label of the acoustic model writes.
    Raises:
        InputError: names each character that no label writes, with its code point and counterpart.
    """
    heard = frozenset("".join(surfaces))
    phrases = [phrase for phrase in map(_trimmed, hotwords) if not heard.issuperset(phrase)]
    if not phrases:
        return
    listed = []
    for char in sorted(frozenset("".join(phrases)) - heard):
        same = next((other for other in sorted(heard) if _same_thing(char, other)), None)
        listed.append(name_of(char) + (f" (the model has {name_of(same)})" if same else ""))
    shown = ", ".join(map(repr, phrases[:MAX_SHOWN]))
    more = f" and {len(phrases) - MAX_SHOWN} more" if len(phrases) > MAX_SHOWN else ""
    raise InputError(
        f"hotwords {shown}{more} have characters that the acoustic model does not write: "
        f"{', '.join(listed)}. Write them as the model writes its texts."
    )


def _trimmed(phrase: str) -> str:
    return phrase.strip(" ")


def _same_thing(one: str, other: str) -> bool:
    if any(one in group and other in group for group in LOOK_ALIKES):
        return True
    if one.casefold() == other.casefold():
        return True
    # A combining mark on one side and a composed letter that holds it on the other.
    parts = {unicodedata.normalize("NFKD", one), unicodedata.normalize("NFKD", other)}
    return (
        len(parts) == 1
        or one in unicodedata.normalize("NFD", other)
        or other in unicodedata.normalize("NFD", one)
    )


def name_of(char: str) -> str:
    """A character and its code point.

    >>> name_of("ñ"), name_of("\\u0303")
    ('ñ U+00F1', '◌̃ U+0303')
    """
    shown = f"◌{char}" if unicodedata.combining(char) else char
    if char.isspace() or not char.isprintable():
        shown = unicodedata.name(char, "control character").lower()
    return f"{shown} U+{ord(char):04X}"

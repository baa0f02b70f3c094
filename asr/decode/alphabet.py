"""Characters that two texts may use for one thing, and hotwords as the acoustic model writes them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import TypeVar

from asr.decode.hypothesis import plain_text
from asr.lookalikes import APOSTROPHES
from lm.errors import InputError

Weight = TypeVar("Weight")

MAX_SHOWN = 5
"""Hotwords quoted in an error."""
LOOK_ALIKES = (
    APOSTROPHES,
    "-\u2010\u2011\u058a\u05be\u1400\u1806\u2012\u2013\u2014\u2212",  # hyphens
    '"\u00ab\u00bb\u201c\u201d\u201e',  # quotation marks
)
"""Characters that two texts may use for the same thing."""


def letters_of(text: str) -> Iterator[str]:
    """Letters, each with the marks that stand on it.

    >>> [len(letter) for letter in letters_of("n\\u0303a")]
    [2, 1]
    """
    start = 0
    for at in range(1, len(text)):
        # Vowels and finals of Hangul are no marks, but compose like them.
        if unicodedata.category(text[at])[0] != "M" and not "\u1160" <= text[at] <= "\u11ff":
            yield text[start:at]
            start = at
    if text:
        yield text[start:]


def as_written(letter: str, heard: Set[str]) -> str | None:
    """A letter with its marks in the canonical form that consists of characters heard; None where none does."""
    # A model that has a composed letter writes it so, even where it has its parts too.
    forms = (unicodedata.normalize("NFC", letter), letter, unicodedata.normalize("NFD", letter))
    return next((form for form in forms if heard >= set(form)), None)


def written_hotwords(surfaces: Sequence[str], hotwords: Mapping[str, Weight]) -> dict[str, Weight]:
    """Hotwords in the canonical form that the labels write, with single spaces.

    Args:
        surfaces: text that each label of the acoustic model writes.
    Raises:
        InputError: names each character that no label writes, with its code point and counterpart.
    """
    heard = frozenset("".join(surfaces))
    written = {
        "".join(as_written(letter, heard) or letter for letter in letters_of(plain_text(phrase))): weight
        for phrase, weight in hotwords.items()
    }
    phrases = [phrase for phrase in written if not heard.issuperset(phrase)]
    if not phrases:
        return written
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

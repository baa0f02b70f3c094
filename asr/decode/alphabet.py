"""Whether a language model or hotwords are written with the characters of the acoustic model."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence

from asr.decode.fusion import BOUNDARY, LanguageModel
from lm.errors import InputError

MAX_FOREIGN = 0.5
"""Share of either alphabet that the other may lack. A few foreign letters in the text are harmless: the
words that hold them are never heard, or count as unseen."""
MAX_SHOWN = 5
"""Hotwords quoted in an error."""
LOOK_ALIKES = (
    "'`\u00b4\u02b9\u02bb\u02bc\u2018\u2019\u2032\ua78c",  # apostrophes
    "-\u2010\u2011\u2012\u2013\u2014\u2212",  # hyphens
    '"\u00ab\u00bb\u201c\u201d\u201e',  # quotation marks
)
"""Characters that two texts may use for the same thing."""


def check_alphabet(surfaces: Sequence[str], language_model: LanguageModel) -> None:
    """Refuse a language model whose text was normalised unlike the acoustic model's.

    Refused are alphabets of which one lacks more than half of the other, and pairs of characters that
    mean the same but are written differently on the two sides (case, composed or combining marks,
    apostrophes). A model that does not know its alphabet passes.

    Args:
        surfaces: text that each label of the acoustic model writes.
    Raises:
        InputError: names each differing character with its code point and counterpart.
    """
    heard = frozenset("".join(surfaces)) - {" "}
    read = language_model.characters - {BOUNDARY}
    if not read or not heard:
        return
    unwritable, unread = sorted(read - heard), sorted(heard - read)
    pairs = [(one, other) for one in unwritable for other in unread if _same_thing(one, other)]
    few_shared = len(unwritable) > MAX_FOREIGN * len(read) or len(unread) > MAX_FOREIGN * len(heard)
    if not pairs and not few_shared:
        return
    counterparts = dict(pairs)
    listed = ", ".join(
        _name(one) + (f" (the model has {_name(counterparts[one])})" if one in counterparts else "")
        for one in unwritable
    )
    missing = ", ".join(_name(one) for one in unread)
    raise InputError(
        "the language model's alphabet does not match the acoustic model's: "
        + "; ".join(
            part
            for part in (
                f"only the language model has {listed}" if listed else "",
                f"only the acoustic model has {missing}" if missing else "",
            )
            if part
        )
        + ". Build the language model with the acoustic model's text policy."
    )


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
        listed.append(_name(char) + (f" (the model has {_name(same)})" if same else ""))
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


def _name(char: str) -> str:
    shown = f"◌{char}" if unicodedata.combining(char) else char
    if char.isspace() or not char.isprintable():
        shown = unicodedata.name(char, "control character").lower()
    return f"{shown} U+{ord(char):04X}"

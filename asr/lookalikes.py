"""Characters that look alike and are not: tables by sight, for letters that transcribers type."""

from __future__ import annotations

import unicodedata
from functools import cache

LETTERS = (
    # Latin, Greek and Cyrillic letters of the same shape
    "a\u0251\u03b1\u0430", "c\u03f2\u0441", "e\u0435", "\u025b\u03b5\u0454", "\u0259\u01dd\u04d9",
    "g\u0261", "h\u04bb", "i\u0456", "\u0269\u03b9", "j\u03f3\u0458", "k\u03ba\u043a", "o\u03bf\u043e",
    "p\u03c1\u0440", "s\u0455", "v\u03bd\u0475", "x\u03c7\u0445", "y\u0443\u04af", "\u0254\u037b",
    "\u0263\u03b3", "\u014b\u03b7", "\u00df\u03b2\ua7b5", "\u00f8\u03c6\u0278",
    "\u0275\u03b8\u04e9", "\u028b\u03c5", "\u0277\u03c9\u0461", "\u00b5\u03bc", "\u00f0\u03b4",
    "\u028c\u03bb", "A\u0391\u0410", "B\u0392\u0412", "C\u03f9\u0421", "E\u0395\u0415",
    "H\u0397\u041d", "I\u0399\u0406", "J\u037f\u0408", "K\u039a\u041a", "M\u039c\u041c", "N\u039d",
    "O\u039f\u041e", "P\u03a1\u0420", "S\u0405", "T\u03a4\u0422", "X\u03a7\u0425", "Y\u03a5\u04ae",
    "Z\u0396", "\u018f\u018e\u04d8", "\u019f\u0398\u04e8",
    "\u0110\u0189\u00d0", "\u0294\u0241\u0242",
)  # fmt: skip
"""Groups of letters that one eye takes for one letter; marks are compared apart from their letters."""

APOSTROPHES = "'\u2018\u2019\u201b\u02bb\u02bc\u02b9\u2032\u00b4`\u05f3\ua78b\ua78c\uff07"
"""What people type for an apostrophe or a glottal stop: letters (U+02BC, U+A78C) and punctuation."""

JOINERS = "\u200c\u200d"
"""ZERO WIDTH NON-JOINER and JOINER: part of the spelling in Indic scripts and Persian; never remove them."""

INVISIBLE = {
    "\ufeff": "byte order mark",
    "\u200b": "zero width space",
    "\u2060": "word joiner",
    "\u00ad": "soft hyphen",
    "\u200e": "direction mark",
    "\u200f": "direction mark",
    "\u061c": "direction mark",
    **{chr(code): "direction control" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))},
}
"""Characters that one does not see and that no one pronounces."""


@cache
def script(char: str) -> str:
    """LATIN, GREEK or CYRILLIC; empty for any other character.

    >>> script("ω"), script("w"), script("7")
    ('GREEK', 'LATIN', '')
    """
    if not char.isalpha():
        return ""
    word = unicodedata.name(char, "").split(" ", 1)[0]
    return word if word in ("LATIN", "GREEK", "CYRILLIC") else ""


@cache
def base(char: str) -> str:
    """The letter without its marks.

    >>> base("ώ")
    'ω'
    """
    return unicodedata.normalize("NFD", char)[0]

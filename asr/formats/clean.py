"""Text and times made fit for formats that are read line by line, column by column, or as XML."""

from __future__ import annotations

import re

_BREAKS = re.compile("[\t\n\v\f\r\x1c-\x1f\x85\u2028\u2029]+")
_UNWRITABLE = re.compile("[\x00-\x08\x0e-\x1b\x7f\ud800-\udfff\ufeff\ufffe\uffff]")


def one_line(text: str) -> str:
    r"""The text without anything that ends a line or a cell, or that XML and UTF-8 cannot carry.

    Tabs and line breaks of every kind become a space; control characters, lone surrogates and
    byte-order marks go. Spaces inside, combining marks, joiners and direction marks stay.

    >>> one_line("a\tb\r\nc\x00 ")
    'a b c'
    """
    return _UNWRITABLE.sub("", _BREAKS.sub(" ", text)).strip(" ")


def milliseconds(seconds: float) -> int:
    """Whole milliseconds, never negative: the one rounding between a time and its digits."""
    return max(0, round(seconds * 1000))


def span_ms(start: float, end: float) -> tuple[int, int]:
    """A stretch of at least one millisecond, in whole milliseconds, from seconds."""
    first = milliseconds(start)
    return first, max(first + 1, milliseconds(end))


def decimal_seconds(ms: int) -> str:
    """Seconds with three decimals, from integers alone, so that equal times print alike.

    >>> decimal_seconds(61005)
    '61.005'
    """
    return f"{ms // 1000}.{ms % 1000:03d}"

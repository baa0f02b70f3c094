"""The yaml of segments as MuST-C and SHAS have it: a list of `{duration, offset, speaker_id, wav}`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from asr.formats.clean import one_line
from asr.formats.files import read_text
from asr.names import shown
from lm.errors import InputError

NO_SPEAKER = "NA"
"""Speaker where none is known, as SHAS writes it."""

_ITEM = r'(\w+): ([\w./+-]+|"[^"\\]*")'
_ITEMS = re.compile(_ITEM)
_ENTRY = re.compile(rf"- \{{{_ITEM}(?:, {_ITEM})*\}}")
"""An entry as it is published and as we write it: on one line, its values bare words or in quotes without escapes."""

# The resolvers turn the speaker 0012 into 10 and 1_2 into 12; without them every value stays as it is written.
_LOADER: Any = type(
    "_PlainLoader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {"yaml_implicit_resolvers": {}}
)


def read_entries(path: Path) -> list[Any]:
    """Entries in the order of the file, every value as the text it is written as; whether they are whole is not asked.

    Raises:
        InputError: unreadable, not YAML, or no list.
    """
    text = read_text(path)
    plain = _plain_entries(text)
    if plain is not None:
        return plain
    try:
        entries = yaml.load(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        raise InputError(f"{shown(path)} is not YAML: {one_line(str(error))}. Mend it there.") from error
    if not isinstance(entries, list):
        raise InputError(
            f"{shown(path)} holds no list. Give one entry `- {{duration, offset, wav}}` per segment."
        )
    return entries


def _plain_entries(text: str) -> list[Any] | None:
    """What YAML reads in lines that are all an `_ENTRY`; None when one is not.

    libyaml takes half a minute for the 250,000 entries of a large train set, this a second or two.
    """
    entries: list[Any] = []
    for ended in text.removesuffix("\n").split("\n"):
        line = ended.removesuffix("\r")
        # What is not printable YAML refuses, or takes for the end of a line.
        if not (line.isprintable() and _ENTRY.fullmatch(line)):
            return None
        entries.append({key: value.strip('"') for key, value in _ITEMS.findall(line)})
    return entries

"""Which languages rows and models are of, by codes that are written in several ways."""

from __future__ import annotations

import re
from collections.abc import Sequence

from asr.manifest import Utterance
from lm.errors import InputError
from st.model import TextTranslator, TranslationModel


def language_pair(rows: Sequence[Utterance]) -> tuple[str, str]:
    """Source and target of the rows; empty where there are several or none is named."""
    pairs = ({row.language for row in rows}, {row.translation_language for row in rows})
    source, target = (found.pop() if len(found) == 1 else "" for found in pairs)
    return source, target


def differ(one: str, other: str) -> bool:
    """Whether two codes plainly name different languages; an empty one names none.

    Corpora and models write one language as ``quy``, ``quy_Latn``, ``qu`` or ``qu-EC``. So what follows the first part
    does not count, and codes of two letters, codes of three and names tell nothing about each other.

    >>> differ("quy_Latn", "quy"), differ("qu-EC", "quy"), differ("", "es"), differ("fr", "es-MX")
    (False, False, False, True)
    """
    first, second = (re.split("[-_]", code.lower())[0] for code in (one, other))
    return bool(first and second) and first != second and min(len(first), 4) == min(len(second), 4)


def refuse_other_languages(
    name: str, model: TranslationModel, rows: Sequence[Utterance], *, source: bool = True, target: bool = True
) -> None:
    """Refuse a model that was trained on other languages than those of the rows, where both name them.

    Args:
        name: what to call the model.
        source: compare the languages of the transcripts.
        target: compare the languages of the translations.
    Raises:
        InputError: they differ.
    """
    text = isinstance(model, TextTranslator)
    read = list(model.source.languages) if isinstance(model, TextTranslator) else []
    sides = (
        (source, "reads" if text else "hears", read or [model.languages[0]], "language"),
        (target, "writes", [model.languages[1]], "translation_language"),
    )
    for (wanted, does, codes, column), code in zip(sides, language_pair(rows), strict=True):
        if wanted and all(differ(code, each) for each in codes):
            raise InputError(
                f"{name} {does} {', '.join(sorted(codes))}, and the manifest's column `{column}` says {code}. Give a "
                "model of this language, or correct the column where it is wrong."
            )

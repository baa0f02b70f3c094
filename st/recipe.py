"""What the recipes of translation share: rows with a translation, and the labels of one side."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from asr.manifest import Utterance, read_manifest
from asr.recipe import CorpusConfig, TokenizerConfig, training_rows
from asr.text import TextPolicy
from lm.errors import InputError

Side = Literal["text", "translation"]


@dataclass(frozen=True, kw_only=True)
class TargetConfig:
    """Labels of the translations."""

    target_policy: TextPolicy = field(default_factory=lambda: TextPolicy(case="keep", punctuation="keep"))
    target_tokenizer: TokenizerConfig = field(
        default_factory=lambda: TokenizerConfig(unit="piece", num_pieces=1000)
    )

    def __post_init__(self) -> None:
        if self.target_tokenizer.language_labels:
            raise InputError(
                "target_tokenizer.language_labels is on: they open what is read, and a translation is written. "
                "Leave it out, or set tokenizer.language_labels."
            )


def translated_rows(
    config: CorpusConfig, target: Side = "translation", *, need_text: bool = False
) -> tuple[list[Utterance], list[Utterance]]:
    """Training and dev rows with something to write, as their ``translation``.

    Rows without it are left out and counted on stderr.

    Args:
        target: ``text`` learns to write the transcript instead, for pre-training with cross-entropy.
        need_text: leave out rows without a transcript too.
    Raises:
        InputError: nothing is left of one of the two.
    """
    kept = []
    for name, rows in (
        (config.train_split, training_rows(config)),
        (config.dev_split, read_manifest(config.manifest, split=config.dev_split, corpus=config.corpus)),
    ):
        if target == "text":
            rows = [replace(row, translation=row.text, translation_language=row.language) for row in rows]
        whole = [row for row in rows if row.translation.strip() and (row.text.strip() or not need_text)]
        if len(whole) < len(rows):
            print(
                f"{name}: left out {len(rows) - len(whole)} of {len(rows)} rows without {target}",
                file=sys.stderr,
            )
        if not whole:
            needed = f"`{target}`" if target == "text" or not need_text else "`text` and `translation`"
            raise InputError(
                f"manifest {config.manifest}: no row of {name} has {needed}. Import the corpus with its translations: "
                "`loquela corpus import --help`."
            )
        kept.append(whole)
    _warn_of_copies(kept[0])
    return kept[0], kept[1]


def language_pair(rows: Sequence[Utterance]) -> tuple[str, str]:
    """Source and target of the rows; empty where there are several or none is named."""
    pairs = ({row.language for row in rows}, {row.translation_language for row in rows})
    source, target = (found.pop() if len(found) == 1 else "" for found in pairs)
    return source, target


def _warn_of_copies(rows: Sequence[Utterance]) -> None:
    """Say so where the translations are the transcripts once more."""
    same = sum(row.text.strip() == row.translation.strip() for row in rows)
    if same > len(rows) / 2 and any(row.language != row.translation_language for row in rows):
        print(
            f"{same} of {len(rows)} translations equal their transcripts. Check the columns of the manifest.",
            file=sys.stderr,
        )

"""What the recipes of translation share: rows with a translation, and the labels of one side."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from asr.manifest import Utterance, normalised_text
from asr.recogniser import UNWRITABLE, TokenizerConfig, unwritable
from asr.text import TextPolicy
from asr.tokenizer import Tokenizer
from asr.training_rows import CorpusConfig, dev_rows, say_left_out, training_rows
from lm.errors import InputError

Side = Literal["text", "translation"]
SWAPPED = 1.25
"""Labels a character of translations over those of transcripts from which the columns look swapped (Mboshi and French:
0.5, and 2 where they are swapped)."""


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

    Rows without it, and training rows that are too long, are left out and counted on stderr.

    Args:
        target: ``text`` learns to write the transcript instead, for pre-training with cross-entropy.
        need_text: leave out rows without a transcript too.
    Raises:
        InputError: nothing is left of one of the two, or the translations are of several languages.
    """
    kept = []
    train, _ = training_rows(config)
    for name, rows in (
        (config.train_split, train),
        (config.dev_split, dev_rows(config)),
    ):
        if target == "text":
            rows = [replace(row, translation=row.text, translation_language=row.language) for row in rows]
        translated = [row for row in rows if row.translation.strip()]
        say_left_out(name, rows, translated, f"without {target}")
        whole = [row for row in translated if row.text.strip() or not need_text]
        say_left_out(name, translated, whole, "without text")
        if not whole:
            needed = f"`{target}`" if target == "text" or not need_text else "`text` and `translation`"
            raise InputError(
                f"manifest {config.manifest}: no row of {name} has {needed}. Import the corpus with its translations: "
                "`loquela corpus import --help`."
            )
        kept.append(whole)
    if target == "translation":
        _check_one_language(config, [row for rows in kept for row in rows])
    _warn_of_copies(kept[0])
    return kept[0], kept[1]


def check_written(
    name: str,
    tokenizer: Tokenizer,
    train: Sequence[Utterance],
    dev: Sequence[Utterance],
    *,
    translations: bool = False,
) -> None:
    """Tell on stderr which characters of some texts the labels of a model to begin with cannot write.

    And where those that write translations suit the transcripts better.

    Args:
        name: what to call the model.
        translations: it writes these, and not the transcripts.
    Raises:
        InputError: of the training texts, they are more than `build_recogniser` allows.
    """

    def text_of(row: Utterance) -> str:
        return tokenizer.policy(row.translation) if translations else normalised_text(row, tokenizer.policy)

    parts = {"training": train, "dev": dev}
    share, _ = (unwritable(tokenizer, name, [text_of(row) for row in rows]) for name, rows in parts.items())
    if share > UNWRITABLE:
        raise InputError(
            f"{name} has no label for {share:.1%} of the training texts' characters, listed above. Give a model of "
            "texts like these, or write them otherwise in the manifest."
        )
    if translations:
        _warn_of_swapped(name, tokenizer, train)


def _check_one_language(config: CorpusConfig, rows: Sequence[Utterance]) -> None:
    """Refuse translations of several languages: nothing would tell the model which one to write."""
    counts = Counter(row.translation_language for row in rows if row.translation_language)
    if len(counts) > 1:
        found = ", ".join(f"{language} in {count} rows" for language, count in counts.most_common())
        raise InputError(
            f"manifest {config.manifest}: the column `translation_language` says {found}, and a model writes one "
            "language. Make a manifest with the rows of one (of CoVoST and MuST-C: `loquela corpus import "
            "--translation-language`), or write one code where they are one language."
        )


def _warn_of_copies(rows: Sequence[Utterance]) -> None:
    """Say so where the translations are the transcripts once more."""
    same = sum(row.text.strip() == row.translation.strip() for row in rows)
    if same > len(rows) / 2 and any(row.language != row.translation_language for row in rows):
        print(
            f"{same} of {len(rows)} translations equal their transcripts. Check the columns of the manifest.",
            file=sys.stderr,
        )


def _warn_of_swapped(name: str, tokenizer: Tokenizer, rows: Sequence[Utterance]) -> None:
    """Say so where a translator's pieces need more labels a character for the translations than for the transcripts."""

    def labels_of(texts: Sequence[str]) -> float:
        # A character without a label would count as none.
        missing = tokenizer.unknown([tokenizer.policy(text) for text in texts]).total()
        return (missing + sum(len(tokenizer.encode(text)) for text in texts)) / sum(map(len, texts))

    both = [row for row in rows if row.text.strip()]
    if not both:
        return
    wanted, other = labels_of([row.translation for row in both]), labels_of([row.text for row in both])
    if wanted > SWAPPED * other > 0:
        print(
            f"{name} writes {1 / other:.1f} characters of the transcripts with a label, and {1 / wanted:.1f} of the "
            "translations, as if they were of another language. Check whether the two columns are swapped.",
            file=sys.stderr,
        )

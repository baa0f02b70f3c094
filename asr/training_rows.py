"""Which rows of a manifest a training learns from, and which it selects on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.ctc import CtcConfig, trainable
from asr.manifest import Utterance, languages_of, read_manifest, with_text
from asr.mixing import warn_of_lost_groups
from asr.model import CTCModel
from lm.errors import InputError


@dataclass(frozen=True, kw_only=True)
class SplitsConfig:
    """What is learned from and what is selected on."""

    manifest: Path
    corpus: str = ""
    """Folder that relative audio paths start from; the manifest's own when empty."""
    train_split: str = "train"
    dev_split: str = "dev"

    def rows(self, split: str) -> list[Utterance]:
        """All rows of a split."""
        return read_manifest(self.manifest, split=split, corpus=self.corpus)


@dataclass(frozen=True, kw_only=True)
class CorpusConfig(SplitsConfig):
    """Which rows of a manifest are learned from."""

    languages: tuple[str, ...] = ()
    """Train and select on these alone; empty takes all."""
    max_duration_s: float = 30.0
    """Longer training utterances are left out."""

    def asked(self, rows: Sequence[Utterance]) -> list[Utterance]:
        """Those of the languages that are asked for."""
        return [row for row in rows if not self.languages or row.language in self.languages]


def transcribed_rows(config: CorpusConfig) -> tuple[list[Utterance], list[Utterance]]:
    """Training and dev rows that have a text.

    Rows without it, and training rows that are too long, are left out and counted on stderr.

    Raises:
        InputError: there are none of one of the two, or none that is short enough.
    """
    short, asked = training_rows(config)
    train, selected = with_text(short), dev_rows(config)
    dev = with_text(selected)
    if (long := with_text(asked)) and not train:
        raise InputError(
            f"manifest {config.manifest}: all {len(long)} training rows with text are longer than "
            f"max_duration_s={config.max_duration_s:g}. Cut them (`loquela align`, `loquela segment`), or raise it."
        )
    say_left_out(config.train_split, short, train, "without text")
    say_left_out(config.dev_split, selected, dev, "without text")
    if not train or not dev:
        raise InputError(
            f"manifest {config.manifest}: {len(train)} training and {len(dev)} dev rows with text. Both are needed."
        )
    return train, dev


def training_rows(config: CorpusConfig) -> tuple[list[Utterance], list[Utterance]]:
    """Training rows of the languages that the configuration asks for: the short enough, and all of them.

    What is too long is counted on stderr.

    Raises:
        InputError: there is no row at all of one of the languages.
    """
    rows = config.rows(config.train_split)
    known = {row.language for row in rows}
    if missing := [language for language in config.languages if language not in known]:
        raise InputError(
            f"languages names {missing[0]!r}, of which the split {config.train_split!r} of {config.manifest} has no "
            f"row; it has {', '.join(languages_of(rows)) or 'none'}."
        )
    asked = config.asked(rows)
    short = [row for row in asked if row.duration_s <= config.max_duration_s]
    say_left_out(config.train_split, asked, short, f"longer than {config.max_duration_s:g} s")
    return short, asked


def dev_rows(config: CorpusConfig) -> list[Utterance]:
    """Dev rows of the languages that the configuration asks for: others would choose weights for what is not trained.

    Raises:
        InputError: there are rows, and none of these languages.
    """
    rows = config.rows(config.dev_split)
    asked = config.asked(rows)
    if rows and not asked:
        raise InputError(
            f"the split {config.dev_split!r} of {config.manifest} has no row of {', '.join(config.languages)}, to "
            "select on. Give it some of each language, as a few minutes taken from the training split."
        )
    return asked


def say_left_out(split: str, rows: Sequence[Utterance], kept: Sequence[Utterance], why: str) -> None:
    """Count on stderr the rows that were not kept, where there are any."""
    if len(kept) < len(rows):
        print(f"{split}: left out {len(rows) - len(kept)} of {len(rows)} rows {why}", file=sys.stderr)


def trainable_rows(
    model: CTCModel, given: Sequence[Utterance], config: CtcConfig, manifest: Path
) -> list[Utterance]:
    """The rows that CTC can learn from; the reasons of the others are told on stderr.

    Raises:
        InputError: there are none.
    """
    train, reasons = trainable(model, given, config.augment)
    for reason in reasons:
        print(f"left out {reason}", file=sys.stderr)
    if not train:
        raise InputError(f"manifest {manifest}: no training utterance is left. See the reasons above.")
    warn_of_lost_groups(given, train, config.mix.levels)
    return train

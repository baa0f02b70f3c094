"""Figures of a corpus, by hand at toy size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from asr.manifest import Utterance
from asr.stats import corpus_stats, format_stats, quantile


def _corpus() -> list[Utterance]:
    rows = [
        ("a", 1800.0, "Sumak wasi.", "rosa", "F", "train"),
        ("b", 1800.0, "wasi ñan", "bo", "M", "train"),
        ("c", 3600.0, "WASI q\u0303an qan q\u0303an", "rosa", "F", "test"),
        ("d", 900.0, "", "", "", "test"),
    ]
    return [
        Utterance(
            id=name,
            audio=Path(f"{name}.wav"),
            duration_s=seconds,
            text=text,
            translation="x" if name == "a" else "",
            language="qu",
            speaker=speaker,
            gender=gender,
            split=split,
        )
        for name, seconds, text, speaker, gender, split in rows
    ]


def test_figures_by_hand() -> None:
    stats = corpus_stats(_corpus())
    assert list(stats.splits) == ["all", "train", "test"]
    train, test, whole = stats.splits["train"], stats.splits["test"], stats.splits["all"]
    assert (train.utterances, train.hours, train.transcribed, train.translated) == (2, 1.0, 2, 1)
    assert train.speakers == {"rosa": 0.5, "bo": 0.5}
    assert train.genders == {"F": 0.5, "M": 0.5}
    assert (train.words, train.vocabulary) == (4, 3)  # sumak wasi wasi ñan
    assert train.characters_per_second == pytest.approx((9 + 7) / 3600)
    assert train.words_per_second == pytest.approx(4 / 3600)
    assert train.oov_rate is None
    assert (test.utterances, test.transcribed, test.hours) == (2, 1, 1.25)
    assert test.oov_rate == pytest.approx(3 / 4)  # q̃an qan q̃an of four words
    assert test.oov_types == pytest.approx(2 / 3)
    assert whole.duration_s == (900.0, pytest.approx(1035.0), 1800.0, pytest.approx(3330.0), 3600.0)
    assert whole.languages == {"qu": 2.25}
    assert stats.alphabet["w"] == 3
    assert stats.alphabet["\u0303"] == 2  # no composed letter exists: the mark is a character of its own


def test_the_alphabet_is_counted_by_definition_under_the_policy() -> None:
    stats = corpus_stats(_corpus())
    typed = "sumakwasiwasiñanwasiq\u0303anqanq\u0303an"
    assert stats.alphabet == {char: typed.count(char) for char in typed}
    assert list(stats.alphabet.values()) == sorted(stats.alphabet.values(), reverse=True)


@settings(deadline=None)  # a busy machine is no failure
@given(some.lists(some.floats(0.1, 100), min_size=1, max_size=30), some.floats(0, 1))
def test_quantiles_are_numpys(values: list[float], share: float) -> None:
    assert quantile(values, share) == pytest.approx(float(np.quantile(values, share)))


def test_the_table_shows_every_split_and_character() -> None:
    stats = corpus_stats(_corpus())
    lines = format_stats(stats).split("\n")
    assert lines[0].split() == ["all", "train", "test"]
    assert any(line.split() == ["hours", "2.25", "1.00", "1.25"] for line in lines)
    assert any(line.split()[-3:] == ["-", "-", "75.0%"] for line in lines)
    assert any("U+0303 COMBINING TILDE" in line for line in lines)
    assert json.loads(json.dumps(stats.to_dict()))["splits"]["test"]["utterances"] == 2


def test_an_empty_corpus_has_no_figures() -> None:
    stats = corpus_stats([])
    assert stats.splits == {}

"""Labels of a new recogniser: what the texts have and no label writes."""

from __future__ import annotations

import pytest

from asr.recogniser import TokenizerConfig, build_tokenizer, unwritable
from asr.text import TextPolicy
from asr.tokenizer import character_tokenizer
from lm.errors import InputError


def test_training_characters_that_are_too_rare_for_a_label_are_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    train = ["aaaa bbbb", "aaaa c"]
    build_tokenizer(TokenizerConfig(min_count=3), TextPolicy(), train, ["ab c"])
    assert capsys.readouterr().err.splitlines() == [
        "training texts: no label writes 1 characters (6.67%): 1 x c (U+0063 LATIN SMALL LETTER C)",
        "dev texts: no label writes 1 characters (25.00%): 1 x c (U+0063 LATIN SMALL LETTER C)",
    ]


def test_of_many_characters_without_a_label_ten_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = character_tokenizer(["a"], TextPolicy())
    assert unwritable(tokenizer, "dev", ["abcdefghijklm"]) == 12 / 13
    (line,) = capsys.readouterr().err.splitlines()
    assert line.count(" x ") == 10
    assert line.endswith(", and 2 more")


@pytest.mark.parametrize(("min_count", "dev"), [(1, "привет абв"), (5, "bcbc a")])
def test_dev_that_the_labels_hardly_write_is_refused(min_count: int, dev: str) -> None:
    with pytest.raises(InputError, match=r"no label writes \d+% of the dev texts' characters"):
        build_tokenizer(TokenizerConfig(min_count=min_count), TextPolicy(), ["aaaaa bc"], [dev])

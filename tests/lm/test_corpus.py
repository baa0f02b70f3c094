"""Sentences from files, tokens of them, and the set of those seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from lm.corpus import SentenceSet, alphabet_of, characters_of, normalised, read_sentences
from lm.errors import InputError


def test_lines_are_sentences_and_empty_ones_are_none(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes("\ufeffñuka rini\r\n\n  kan  \n".encode())
    (tmp_path / "two").write_text("last", encoding="utf-8")
    assert list(read_sentences([tmp_path / "one", tmp_path / "two"])) == ["ñuka rini", "kan", "last"]


@pytest.mark.parametrize("content", [b"a\0b\n", "ñ".encode("latin-1"), None])
def test_what_is_no_text_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "text"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=str(path)):
        list(read_sentences([path]))


def test_a_policy_may_empty_a_sentence() -> None:
    assert normalised(["A  b", "?!"], lambda text: text.lower().strip("?!")) == ["a b"]
    assert normalised(["A  b"], None) == ["A b"]


def test_combining_marks_are_tokens_and_letters() -> None:
    assert characters_of("e\u0301 a") == ["e", "\u0301", "▁", "a"]
    assert alphabet_of(["e\u0301 a"]) == " ae\u0301"


def test_a_set_of_sentences_survives_its_bytes() -> None:
    seen = SentenceSet.from_bytes(SentenceSet.of(["a b", "c", "c"]).to_bytes())
    assert "a b" in seen
    assert "c" in seen
    assert "a" not in seen
    assert len(seen.hashes) == 2

"""Shares of tokens: what a model would write of itself is near what it was made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lm.corpus import SPECIALS, characters_of
from lm.kneser_ney import estimate
from lm.ngram import NgramModel
from lm.shares import counted_shares, unigram_shares, walked_shares

DATA = Path(__file__).parent / "data"
SENTENCES = (DATA / "sentences.txt").read_text(encoding="utf-8").splitlines()
SILENT = frozenset({*SPECIALS, "▁"})


def test_a_walk_finds_the_shares_of_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    tables, tokens = NgramModel.of(estimate(map(characters_of, SENTENCES), 4), "letters").tables
    text = "".join(SENTENCES)
    counts = np.array([text.count(token) for token in tokens])
    counted = counted_shares(counts, tokens, SILENT)
    walked, unigrams = walked_shares(tables, tokens, SILENT), unigram_shares(tables, tokens, SILENT)
    assert counted is not None
    assert walked is not None
    for shares in (counted, walked, unigrams):
        assert shares.sum() == pytest.approx(1)
        assert not shares[[n for n, token in enumerate(tokens) if token in SILENT]].any()
    assert np.abs(walked - counted).max() < 0.01
    assert np.abs(unigrams - counted).max() > 0.04
    monkeypatch.setattr("lm.shares.MAX_ENTRIES", 1000)
    assert walked_shares(tables, tokens, SILENT) is None


def test_a_walk_settles_where_tokens_take_turns() -> None:
    tables, tokens = NgramModel.of(estimate([["a", "b"] * 30], 3), "turns").tables
    shares = walked_shares(tables, tokens, frozenset(SPECIALS))
    assert shares is not None
    found = dict(zip(tokens, shares.tolist(), strict=True))
    assert found["a"] == pytest.approx(0.5, abs=0.05)


def test_tokens_that_were_never_counted_have_no_shares() -> None:
    assert counted_shares(np.zeros(2, np.int64), ["a", "b"], SILENT) is None
    tables, tokens = NgramModel.of(estimate([["a"]], 2), "one").tables
    assert not unigram_shares(tables, tokens, frozenset(tokens)).any()

"""KenLM's binary format as we write it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from lm.arpa import read_arpa, write_arpa
from lm.binary import arpa_to_binary, check_binary, to_binary
from lm.errors import InputError
from lm.kneser_ney import NGramTable, estimate
from lm.ngram import NgramModel
from lm.tables import load_tables

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize(
    ("name", "sha256"),
    [
        ("words4_pruned", "e6a344d00dbb7f9e5783ff6cebd6f1f28a21d44e0e93ba786ed7a4d0beaa1e87"),
        ("words5_fallback", "71c4195801e3c3d7b0f2a61eaa80d9fc8296f5987a6eb4562c0965ab7d0e54d0"),
    ],
)
def test_the_bytes_are_those_of_build_binary(name: str, sha256: str) -> None:
    """The sums are of ``build_binary probing FILE OUT`` of KenLM 0.3.0 on the same ARPA file."""
    assert hashlib.sha256(to_binary(read_arpa(DATA / f"{name}.arpa.gz"))).hexdigest() == sha256


def test_a_binary_scores_as_the_arpa_file_it_came_from(tmp_path: Path) -> None:
    arpa, binary = tmp_path / "model.arpa", tmp_path / "model.bin"
    sentences = [line.split() for line in (DATA / "sentences.txt").read_text(encoding="utf-8").splitlines()]
    write_arpa(estimate(sentences, 3), arpa)
    arpa_to_binary(arpa, binary)
    from_arpa, from_binary = NgramModel.load(arpa), NgramModel.load(binary)
    assert from_binary.order == 3
    for sentence in [*sentences[:20], ["nobody", *sentences[0], "knows"]]:
        assert from_binary.log_probs(sentence) == pytest.approx(from_arpa.log_probs(sentence), abs=1e-6)
    assert set(from_binary.vocabulary) == set(from_arpa.vocabulary)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.arpa", "model.bin"]


def test_a_model_without_what_an_ngram_begins_with_is_refused(tmp_path: Path) -> None:
    model = read_arpa(DATA / "words5_fallback.arpa.gz")
    # Nothing ends with <s>, so what it begins is not put back as an ending.
    bigrams, start = model.tables[1], model.vocabulary.index("<s>")
    trigram = next(words for words in model.tables[2].words if words[0] == start)
    others = (bigrams.words != trigram[:-1]).any(axis=1)
    shortened = NGramTable(
        words=bigrams.words[others],
        log10_prob=bigrams.log10_prob[others],
        log10_backoff=bigrams.log10_backoff[others],
    )
    with pytest.raises(InputError, match="is no n-gram of the model"):
        to_binary(replace(model, tables=(model.tables[0], shortened, *model.tables[2:])), "toy")


def test_an_ngram_that_comes_twice_is_refused() -> None:
    model = read_arpa(DATA / "words5_fallback.arpa.gz")
    bigrams = model.tables[1]
    doubled = NGramTable(
        words=np.repeat(bigrams.words, 2, axis=0),
        log10_prob=np.repeat(bigrams.log10_prob, 2),
        log10_backoff=np.repeat(bigrams.log10_backoff, 2),
    )
    with pytest.raises(InputError, match="comes twice"):
        to_binary(replace(model, tables=(model.tables[0], doubled, *model.tables[2:])), "toy")


def test_bytes_lost_anywhere_are_noticed(tmp_path: Path) -> None:
    whole = to_binary(read_arpa(DATA / "words5_fallback.arpa.gz"))
    path = tmp_path / "model.bin"
    path.write_bytes(whole)
    check_binary(path)
    words_at = whole.index(b"<unk>\0")
    # Cut within the strings, only the words at the end are lost, which `load_tables` refuses.
    for start, end in pairwise(range(0, words_at, words_at // 40)):
        for damaged in (whole[:end], whole[:start] + whole[start + 7 :]):
            path.write_bytes(damaged)
            with pytest.raises(InputError, match="damaged"):
                check_binary(path)


def test_a_binary_without_words_says_so(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    whole = to_binary(read_arpa(DATA / "words5_fallback.arpa.gz"))
    path.write_bytes(whole[: whole.index(b"<unk>\0")])
    with pytest.raises(InputError, match="holds no words"):
        load_tables(path)
    path.write_bytes(whole[:-20])
    with pytest.raises(InputError, match="cut short"):
        load_tables(path)

"""An n-gram model in arrays scores as kenlm does: every n-gram, random sentences, equal histories."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from lm.arpa import read_arpa, write_arpa
from lm.binary import arpa_to_binary
from lm.errors import InputError
from lm.kneser_ney import BackoffModel, NGramTable
from lm.ngram import NgramModel
from lm.tables import begin, load_tables, more_states, new_states, score, sentence_end
from tests.lm.plain import read_plain

ARPAS = sorted((Path(__file__).parent / "data").glob("*.arpa.gz"))


def log_probs(tables, numbers: dict[str, int], sentence: list[str]) -> list[float]:  # type: ignore[no-untyped-def]
    """Natural log probability of each token, then of the end, as a search would ask for them."""
    states = new_states(tables.order, 4)
    count = 0
    state = begin(tables, states, count)
    count += 1
    found = []
    for token in sentence:
        if count + 1 >= len(states.length):
            states = more_states(states, count, 2 * len(states.length))
        number, log_prob = score(tables, states, count, state, numbers.get(token, 0))
        count += number == count
        state = number
        found.append(log_prob)
    return [*found, sentence_end(tables, states, count, state)]


def test_there_are_models_to_test_with() -> None:
    assert ARPAS


class Kenlm:
    """A model as kenlm itself scores it."""

    def __init__(self, path: Path) -> None:
        self.kenlm = pytest.importorskip("kenlm", reason="kenlm 0.3 does not compile for Python 3.13")
        self.model = self.kenlm.Model(str(path))
        self.order = self.model.order

    def log_probs(self, sentence: list[str]) -> list[float]:
        state, found = self.kenlm.State(), []
        self.model.BeginSentenceWrite(state)
        for token in [*sentence, "</s>"]:
            after = self.kenlm.State()
            found.append(self.model.BaseScore(state, token, after) * math.log(10))
            state = after
        return found


def assert_scores_are_kenlms(path: Path, kenlm: Kenlm, asked: Path) -> None:
    """Of the model at ``path``: on every n-gram of the ARPA file ``asked``, and on random sentences."""
    tables, words = load_tables(path)
    assert tables.order == kenlm.order
    model = NgramModel(tables, words, path)
    numbers = {word: number for number, word in enumerate(words)}
    for grams in read_plain(asked).grams:
        for gram in grams:
            sentence = [word for word in gram if word not in ("<s>", "</s>")]
            np.testing.assert_allclose(
                log_probs(tables, numbers, sentence), kenlm.log_probs(sentence), atol=1e-5, rtol=0
            )
            np.testing.assert_allclose(
                model.log_probs(sentence), kenlm.log_probs(sentence), atol=1e-5, rtol=0
            )
    generator = random.Random(0)
    choices = [*words[:200], "never-seen"]
    for _ in range(200):
        sentence = [generator.choice(choices) for _ in range(generator.randrange(12))]
        sentence = [word for word in sentence if word not in ("<s>", "</s>")]
        np.testing.assert_allclose(
            log_probs(tables, numbers, sentence), kenlm.log_probs(sentence), atol=1e-5, rtol=0
        )


@pytest.mark.parametrize("form", ["arpa", "binary"])
@pytest.mark.parametrize("arpa", ARPAS, ids=lambda path: path.name.split(".")[0])
def test_scores_equal_kenlms(arpa: Path, form: str, tmp_path: Path) -> None:
    if read_plain(arpa).order < 2:
        pytest.skip("kenlm reads orders from 2")
    path = arpa
    if form == "binary":
        path = tmp_path / "model.bin"
        arpa_to_binary(arpa, path)
    assert_scores_are_kenlms(path, Kenlm(path), arpa)


def without_endings(model: BackoffModel, share: float) -> tuple[BackoffModel, list[int]]:
    """The model without some n-grams that longer ones end with and none begins with, and how many of each order."""
    generator = random.Random(0)
    tables, dropped = [model.tables[-1]], [0]
    for longer, table in pairwise(model.tables[:0:-1]):
        begins = {tuple(gram[:-1]) for gram in tables[0].words.tolist()}
        ends = {tuple(gram[1:]) for gram in longer.words.tolist()}
        grams = [tuple(gram) for gram in table.words.tolist()]
        kept = np.array(
            [gram in begins or gram not in ends or generator.random() > share for gram in grams], np.bool_
        )
        tables.insert(
            0,
            NGramTable(
                words=table.words[kept],
                log10_prob=table.log10_prob[kept],
                log10_backoff=table.log10_backoff[kept],
            ),
        )
        dropped.insert(0, int((~kept).sum()))
    return replace(model, tables=(model.tables[0], *tables)), [0, *dropped]


@pytest.mark.parametrize("arpa", ARPAS, ids=lambda path: path.name.split(".")[0])
def test_ngrams_that_only_longer_ones_end_with_are_put_back_as_kenlm_does(arpa: Path, tmp_path: Path) -> None:
    model = read_arpa(arpa)
    if model.order < 3:
        pytest.skip("between unigrams and the longest there is nothing to leave out")
    pruned, dropped = without_endings(model, share=0.4)
    assert any(dropped)
    write_arpa(pruned, tmp_path / "pruned.arpa")
    kenlm = Kenlm(tmp_path / "pruned.arpa")
    assert_scores_are_kenlms(tmp_path / "pruned.arpa", kenlm, arpa)
    arpa_to_binary(tmp_path / "pruned.arpa", tmp_path / "pruned.bin")
    assert_scores_are_kenlms(tmp_path / "pruned.bin", kenlm, arpa)
    assert_scores_are_kenlms(tmp_path / "pruned.arpa", Kenlm(tmp_path / "pruned.bin"), arpa)


def test_equal_histories_have_one_number(tmp_path: Path) -> None:
    arpa = next(path for path in ARPAS if read_plain(path).order > 2)
    tables, _ = load_tables(arpa)
    states = new_states(tables.order, 64)
    start = begin(tables, states, 0)
    count = 1
    last, _ = score(tables, states, count, start, 0)
    count += last == count
    again, _ = score(tables, states, count, last, 0)
    # After an unknown word no history is left, however often it comes.
    assert again == last
    assert states.length[last] == 0


def test_a_binary_of_another_kind_is_refused(tmp_path: Path) -> None:
    arpa = next(path for path in ARPAS if read_plain(path).order > 2)
    arpa_to_binary(arpa, tmp_path / "model.bin")
    data = bytearray((tmp_path / "model.bin").read_bytes())
    from lm.binary import _FIXED, _SANITY

    order, multiplier, _, has_words, version = _FIXED.unpack_from(data, len(_SANITY))
    _FIXED.pack_into(data, len(_SANITY), order, multiplier, 2, has_words, version)
    (tmp_path / "trie.bin").write_bytes(data)
    with pytest.raises(InputError, match="another kind than probing"):
        load_tables(tmp_path / "trie.bin")

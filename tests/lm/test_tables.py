"""An n-gram model in arrays scores as kenlm does: every n-gram, random sentences, equal histories."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from lm.binary import arpa_to_binary
from lm.errors import InputError
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


@pytest.mark.parametrize("form", ["arpa", "binary"])
@pytest.mark.parametrize("arpa", ARPAS, ids=lambda path: path.name.split(".")[0])
def test_scores_equal_kenlms(arpa: Path, form: str, tmp_path: Path) -> None:
    if read_plain(arpa).order < 2:
        pytest.skip("kenlm reads orders from 2")
    path = arpa
    if form == "binary":
        path = tmp_path / "model.bin"
        arpa_to_binary(arpa, path)
    kenlm = NgramModel.load(path)
    tables, words = load_tables(path)
    assert tables.order == kenlm.order
    numbers = {word: number for number, word in enumerate(words)}
    for grams in read_plain(arpa).grams:
        for gram in grams:
            sentence = [word for word in gram if word not in ("<s>", "</s>")]
            np.testing.assert_allclose(
                log_probs(tables, numbers, sentence), kenlm.log_probs(sentence), atol=1e-5, rtol=0
            )
    generator = random.Random(0)
    choices = [*words[:200], "never-seen"]
    for _ in range(200):
        sentence = [generator.choice(choices) for _ in range(generator.randrange(12))]
        sentence = [word for word in sentence if word not in ("<s>", "</s>")]
        np.testing.assert_allclose(
            log_probs(tables, numbers, sentence), kenlm.log_probs(sentence), atol=1e-5, rtol=0
        )


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

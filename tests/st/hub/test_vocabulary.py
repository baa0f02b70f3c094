"""Vocabularies of published MT models, cut down to a corpus."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from asr.text import TextPolicy
from asr.tokenizer import Tokenizer
from lm.corpus import PIECE_SPACE
from lm.errors import InputError
from st.hub.vocabulary import language_codes, open_published, trimmed_tokenizer
from tests.st.hub.conftest import LINES

POLICY = TextPolicy(case="keep", punctuation="keep")
FAMILIES = ("nllb", "m2m", "mbart")


@pytest.mark.parametrize("family", FAMILIES)
def test_texts_are_cut_into_the_pieces_of_the_published_tokenizer(
    published: Callable[[str], Path], family: str
) -> None:
    _, tokenizer = open_published(str(published(family)))
    texts = LINES[2:4]
    labels, numbers = trimmed_tokenizer(tokenizer, texts, POLICY)
    assert len(labels) == len(numbers) < len(tokenizer) / 1.5
    assert numbers[0] == tokenizer.eos_token_id
    for text in texts:
        theirs = tokenizer(text, add_special_tokens=False).input_ids
        assert [numbers[label] for label in labels.encode(text)] == theirs
        assert labels.decode(labels.encode(text)) == text


@pytest.mark.parametrize("family", FAMILIES)
def test_other_words_are_written_in_what_is_left(published: Callable[[str], Path], family: str) -> None:
    _, tokenizer = open_published(str(published(family)))
    labels, _ = trimmed_tokenizer(tokenizer, LINES[2:3], POLICY)
    # No w stands in what the labels were made of.
    other = "the dog, a perro wo"
    known = set(tokenizer.get_vocab())
    written = labels.decode(labels.encode(other))
    assert written == ("the dog, a perro wo" if "w" in known else "the dog, a perro o")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_label_writes_its_piece(published: Callable[[str], Path], family: str) -> None:
    _, tokenizer = open_published(str(published(family)))
    labels, numbers = trimmed_tokenizer(tokenizer, LINES, POLICY)
    names = tokenizer.convert_ids_to_tokens(numbers[1:])
    assert [name.replace(PIECE_SPACE, " ") for name in names] == list(labels.surfaces[1:])
    assert labels.surfaces[0] == ""
    assert not set(numbers) & set(language_codes(tokenizer).values())


def test_a_trimmed_tokenizer_is_read_back_as_it_was(published: Callable[[str], Path], tmp_path: Path) -> None:
    _, tokenizer = open_published(str(published("nllb")))
    labels, _ = trimmed_tokenizer(tokenizer, LINES, POLICY)
    labels.save(tmp_path / "target.json")
    again = Tokenizer.load(tmp_path / "target.json")
    assert again == labels
    assert again.encode(LINES[0]) == labels.encode(LINES[0])
    assert again.between == []


def test_texts_of_another_script_are_refused(published: Callable[[str], Path]) -> None:
    _, tokenizer = open_published(str(published("m2m")))
    with pytest.raises(InputError, match="hold no piece of the MT model's"):
        trimmed_tokenizer(tokenizer, [""], POLICY)

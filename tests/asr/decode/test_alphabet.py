"""Language models whose alphabet does or does not fit."""

from __future__ import annotations

import pytest

from asr.decode import build_decoder, check_alphabet
from lm.errors import InputError
from tests.asr.decode.toy import ToyModel, ToyNgram


def model(alphabet: str) -> ToyModel:
    return ToyModel(word=ToyNgram(("a",), seed=0), characters=frozenset(alphabet) - {" "})


@pytest.mark.parametrize(
    ("surfaces", "alphabet"),
    [
        (("", " ", "a", "b"), "ab "),
        (("", " ", "a", "b", "c"), "ab"),  # a letter the text never had
        (("", " ", "a", "b"), "abk"),  # a foreign letter in the text
        (("", " ", "a", "b"), "▁ab"),
        (("", " a", "ba"), "ab"),
        (("", " ", "a"), ""),  # a model that does not know its alphabet
    ],
)
def test_harmless_differences_pass(surfaces: tuple[str, ...], alphabet: str) -> None:
    check_alphabet(surfaces, model(alphabet))


@pytest.mark.parametrize(
    ("letters", "alphabet", "named"),
    [
        ("abcd", "ABCD", ["A U+0041 (the model has a U+0061)", "D U+0044"]),
        ("abcdñ", "abcdn\u0303", ["\u25cc\u0303 U+0303 (the model has ñ U+00F1)"]),
        ("abcd\u2019", "abcd'", ["' U+0027 (the model has \u2019 U+2019)"]),
        ("abcd", "фбвг", ["ф U+0444", "only the acoustic model has a U+0061"]),
        ("abcdefgh", "ab", ["only the acoustic model has c U+0063"]),
    ],
)
def test_alphabets_of_another_policy_are_refused_by_code_point(
    letters: str, alphabet: str, named: list[str]
) -> None:
    with pytest.raises(InputError) as caught:
        check_alphabet(("", " ", *letters), model(alphabet))
    for part in named:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_decoder_is_not_built_with_a_model_that_does_not_fit() -> None:
    with pytest.raises(InputError, match=r"X U\+0058"):
        build_decoder(("", " ", "x", "y", "z"), 0, model("XYZ"))

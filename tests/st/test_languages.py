"""Which languages rows and models are of."""

from __future__ import annotations

from pathlib import Path

import pytest

from asr.manifest import Utterance
from asr.text import TextPolicy
from asr.tokenizer import character_tokenizer
from lm.errors import InputError
from st.decoder import DecoderConfig
from st.languages import differ, language_pair, refuse_other_languages
from st.model import TextTranslator
from st.text_encoder import TextEncoderConfig


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        ("quy", "quy", False),
        ("quy", "quy_Latn", False),
        ("qu-EC", "qu", False),
        ("qu-ec", "quy", False),  # two letters and three tell nothing about each other
        ("es", "spa", False),
        ("Spanish", "spa", False),
        ("", "spa", False),
        ("quy", "spa", True),
        ("es-MX", "fr", True),
        ("Spanish", "French", True),
        ("mul", "gug", False),  # as opus-mt-mul-en says
        ("itc", "spa", False),
        ("ROMANCE", "Spanish", False),
        ("que", "quy", False),
        ("cmn_Hans", "zho", False),
        ("nb-NO", "no", False),
        ("nb-NO", "fr", True),
        ("mao", "mri", False),
        ("fi_nb_no_nn_ru_sv_en", "sv", False),
        ("deu+eng+spa", "spa_Latn", False),
        ("deu+eng", "gug", True),
        ("deu+eng", "gug+mri", True),
        ("es+fra", "fr", False),
    ],
)
def test_codes_differ_where_that_is_certain(one: str, other: str, wanted: bool) -> None:
    assert differ(one, other) is differ(other, one) is wanted


def test_several_sources_are_named_together_where_every_row_names_one() -> None:
    assert language_pair([*rows("quy", "spa"), *rows("gug", "spa")]) == ("gug+quy", "spa")
    assert language_pair([*rows("quy", "spa"), *rows("", "spa")]) == ("", "spa")
    assert language_pair(rows("quy", "")) == ("quy", "")


def rows(language: str, translation_language: str) -> list[Utterance]:
    return [
        Utterance(
            id=str(number), audio=Path("a.wav"), duration_s=1.0, text="ab", split="train",
            language=language, translation="c", translation_language=translation_language,
        )
        for number in range(2)
    ]  # fmt: skip


def test_a_model_of_another_pair_is_refused_on_the_sides_that_count() -> None:
    target = character_tokenizer(["ab c"], TextPolicy())
    sizes = {"width": 16, "layers": 1, "heads": 2, "inner": 16}
    model = TextTranslator(target, target, TextEncoderConfig(**sizes), DecoderConfig(**sizes))  # type: ignore[arg-type]
    refuse_other_languages("it", model, rows("quy", "spa"))  # it names none
    model.languages = ("quy", "spa")
    refuse_other_languages("it", model, rows("quy_Latn", "es"))
    with pytest.raises(InputError, match="it reads quy, and the manifest's column `language` says mdw"):
        refuse_other_languages("it", model, rows("mdw", "spa"))
    refuse_other_languages("it", model, rows("mdw", "spa"), source=False)
    with pytest.raises(
        InputError, match="it writes spa, and the manifest's column `translation_language` says fra"
    ):
        refuse_other_languages("it", model, rows("quy", "fra"), source=False)
    refuse_other_languages("it", model, [*rows("quy", "fra"), *rows("quy", "spa")])  # several name none

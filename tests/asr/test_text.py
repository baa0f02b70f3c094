"""Text policy and tokenizer."""

from __future__ import annotations

import json
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as strategies

from asr.text import UNIT, TextPolicy, UnicodeForm, _phonemiser, _romaniser
from asr.tokenizer import Tokenizer, character_tokenizer, code_point, piece_tokenizer
from lm.errors import InputError


@pytest.mark.parametrize(
    ("given_text", "normal"),
    [
        ("Ñukanchik, ¡SHAMUY!", "ñukanchik shamuy"),
        ("e\N{COMBINING ACUTE ACCENT}", "é"),
        ("\N{GREEK SMALL LETTER EPSILON}\N{COMBINING ACUTE ACCENT}", "έ"),
        ("don't 'quote' mama-papa - x", "don't quote mama-papa x"),
        ("o\u2018zbek mba\u00b4e g`o", "o\u2018zbek mba\u00b4e g`o"),
        ("\u2018a\u2019 `b\u00b4", "a b"),
        ("कि ताब\N{DEVANAGARI SIGN VIRAMA}", "कि ताब\N{DEVANAGARI SIGN VIRAMA}"),
        ("क्\N{ZERO WIDTH JOINER}ष", "क्\N{ZERO WIDTH JOINER}ष"),
        ("ɔ̀\N{COMBINING TILDE BELOW}", "ɔ\N{COMBINING TILDE BELOW}\N{COMBINING GRAVE ACCENT}"),
        ("ma˥˩ a\ua789bi", "ma˥˩ a\ua789bi"),
        (" a\t b\n", "a b"),
        ("mama\u2011papa", "mama\u2011papa"),
        ("\u0130stanbul", "istanbul"),
        ("love \u2764\ufe0f, \U0001f468\u200d\U0001f469\u200d\U0001f467 x", "love x"),
        ("Ի՞նչ ես անում\u0589 Ինչո՞ւ, \u0570\u0561՜", "ինչ ես անում ինչու \u0570\u0561"),
        ("သူ၏ ၎င်းသည်", "သူ၏ ၎င်းသည်"),
        (
            "ג\u05f3\u05d5רג\u05f3 col·laborar bɜ˞d e˔ Hawai\u201bi k\uff07o",
            "ג\u05f3\u05d5רג col·laborar bɜ˞d e˔ hawai\u201bi k\uff07o",
        ),
        ("a · b, c: d", "a b c d"),
        ("a\u05bea a\u1400a a\u058aa a\u1806a a \u05be a", "a\u05bea a\u1400a a\u058aa a\u1806a a a"),
        ("\u202bשל\u05d5ם\u202c \u200fמה?", "שלום מה"),
        ("ខ្ញុំ\u200bទៅ su\u00admak", "ខ្ញុំ ទៅ sumak"),
        ("ᏣᎳᎩ \uab70\u13f8", "ᏣᎳᎩ \u13a0\u13f0"),
        ("", ""),
    ],
)
def test_the_default_policy(given_text: str, normal: str) -> None:
    assert TextPolicy()(given_text) == normal


@given(strategies.text(), strategies.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
@example("\u2116 \U0001d400", "NFKC")
@example("\u1100\u055e\u1161 e\u055e\u0301 a\u055e'b", "NFC")
def test_normalising_twice_is_normalising_once(text: str, form: UnicodeForm) -> None:
    policy = TextPolicy(unicode_form=form)
    assert policy(policy(text)) == policy(text)


@given(strategies.text(strategies.characters(exclude_categories=("P", "S"))))
def test_marks_on_letters_are_never_stripped(text: str) -> None:
    policy = TextPolicy(unicode_form="NFD", case="keep")
    kept = [c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c)[0] in "LM"]
    assert [c for c in policy(text) if unicodedata.category(c)[0] in "LM"] == kept


def test_a_policy_survives_saving() -> None:
    policy = TextPolicy(case="keep", replace={"[UNK]": ""}, unicode_form="NFD")
    assert TextPolicy.from_dict(policy.to_dict()) == policy
    with pytest.raises(InputError, match=r"unknown key policy\.colour"):
        TextPolicy.from_dict({"colour": "red"})
    with pytest.raises(InputError, match="NFX"):
        TextPolicy(unicode_form="NFX")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "values", [{"replace": {"a": 1}}, {"replace": ["a"]}, {"inside_words": 3}, {"romanise": "no"}]
)
def test_values_of_another_type_are_named(values: dict[str, object]) -> None:
    with pytest.raises(InputError, match=rf"policy\.{next(iter(values))}.* is .*\. Give "):
        TextPolicy.from_dict(values)


def test_invisible_characters_are_the_table_s_where_it_names_them() -> None:
    assert TextPolicy(replace={"\u200b": ""})("su\u200bmak\u200e") == "sumak"


def test_a_policy_of_turkic_languages_writes_two_letters_i() -> None:
    policy = TextPolicy(case="lower-turkic")
    assert policy("Iş\u0131k IRMAK İstanbul I\u0307zmir") == "\u0131ş\u0131k \u0131rmak istanbul izmir"
    assert TextPolicy.from_dict(policy.to_dict()) == policy


def test_a_policy_saved_before_is_as_it_was() -> None:
    saved = TextPolicy.from_dict({"inside_words": "'’-", "case": "lower", "replace": {}})
    assert saved("col·legi g'oza mama-papa") == "col legi g'oza mama-papa"


@pytest.mark.parametrize(
    "policy",
    [TextPolicy(phonemise="spa-Latn"), TextPolicy(replace={"e": "ə", "è": "e"}), TextPolicy(romanise=True)],
)
def test_what_a_model_wrote_is_not_written_again(policy: TextPolicy) -> None:
    written = policy("hielo y joven, llave è e")
    assert policy.of_output()(written) == written
    assert policy.of_written(policy.key) == policy.of_output()
    assert policy.of_written("") == policy.of_written(TextPolicy(case="keep").key) == policy
    assert TextPolicy.from_dict(policy.to_dict()).key == policy.key


def test_a_turkish_capital_leaves_no_dot_in_phones() -> None:
    assert "\u0307" not in TextPolicy(phonemise="tur-Latn")("İstanbul")


def test_labels_of_what_a_model_wrote_are_those_that_it_wrote() -> None:
    policy = TextPolicy(phonemise="spa-Latn")
    tokenizer = character_tokenizer([policy("joven gente k s")], policy)
    written = policy("joven")
    assert tokenizer.decode(tokenizer.encode(written, written=tokenizer.policy.key)) == written
    assert tokenizer.decode(tokenizer.encode(written)) != written


def test_what_a_text_may_be_cut_between() -> None:
    assert UNIT.findall("one  two, x.") == ["one", "  two,", " x."]
    assert UNIT.findall("他说「走」。 ok") == ["他", "说", "「走」。", " ok"]
    assert UNIT.findall("เขากิน น้ำ") == ["เขา", "กิ", "น", " น้ำ"]
    assert UNIT.findall("ខ្ញុំទៅ") == ["ខ្ញុំ", "ទៅ"]


def test_what_is_replaced_is_found_however_it_was_typed() -> None:
    composed, apart = "ma\u00f1ana", "man\u0303ana"
    for key in ("\u00f1", "n\u0303"):
        policy = TextPolicy(replace={key: "ny"})
        assert policy(composed) == policy(apart) == "manyana"
    assert TextPolicy(replace={"n": "m"})(apart) == "ma\u00f1ama"


def test_characters_go_there_and_back(tmp_path: Path) -> None:
    texts = ["Allimanta ripashun", "ñuka wasi"]
    tokenizer = character_tokenizer(map(TextPolicy(), texts), TextPolicy())
    tokenizer.save(tmp_path / "tokenizer.json")
    again = Tokenizer.load(tmp_path / "tokenizer.json")
    assert again == tokenizer
    for text in texts:
        assert again.decode(again.encode(text)) == TextPolicy()(text)
    assert tokenizer.blank not in tokenizer.encode("allimanta ripashun")


def test_characters_that_training_never_saw_are_counted() -> None:
    tokenizer = character_tokenizer(["abc"], TextPolicy())
    assert tokenizer.unknown(["abż ż c"]) == {"ż": 2}
    assert tokenizer.decode(tokenizer.encode("abżc")) == "abc"


def test_pieces_are_learned_from_long_texts_too() -> None:
    tokenizer = piece_tokenizer(["क ख ग " * 400, "क ख"], TextPolicy(), num_pieces=20)
    assert tokenizer.unknown(["ग"]).total() == 0


def test_pieces_go_there_and_back(tmp_path: Path) -> None:
    texts = ["kaypika wasi tiyan", "chaypika runa tiyan", "wasipi runakuna tiyan"] * 5
    tokenizer = piece_tokenizer(texts, TextPolicy(), num_pieces=18)
    tokenizer.save(tmp_path / "tokenizer.json")
    again = Tokenizer.load(tmp_path / "tokenizer.json")
    assert len(again) == 18
    for text in texts:
        assert again.decode(again.encode(text)) == text
    splitter = tokenizer.splitter()
    labels = tokenizer.encode(texts[0])
    assert splitter.split(texts[0]) == [tokenizer.surfaces[label].replace(" ", "▁") for label in labels]
    assert splitter.split(f"{texts[0]}ж") == [*splitter.split(texts[0]), "ж"]
    assert splitter.split(f"{texts[0]}!") == splitter.split(texts[0])  # nor do transcripts have it
    assert len(splitter.pieces) == len(tokenizer) - 1
    with pytest.raises(InputError, match="this tokenizer's labels are letters"):
        character_tokenizer(texts, TextPolicy()).splitter()
    assert len(piece_tokenizer(texts[:1], TextPolicy(), num_pieces=5000)) < 30  # few texts have few pieces
    with pytest.raises(InputError, match="num_pieces"):
        piece_tokenizer(texts, TextPolicy(), num_pieces=5)


def test_texts_that_a_rule_would_change_again_are_cut_into_the_pieces_that_write_them() -> None:
    policy = TextPolicy(replace={"j": "x", "y": "j"})
    texts = [policy(text) for text in ["jatun yaku", "kay jucha", "yuyay"] * 5]
    assert texts[:3] == ["xatun jaku", "kaj xucha", "jujaj"]
    tokenizer = piece_tokenizer(texts, policy, num_pieces=16)
    assert tokenizer.unknown(texts).total() == 0
    for text in texts[:3]:
        assert "".join(tokenizer.splitter().split(text)) == f"▁{text.replace(' ', '▁')}"
    assert "".join(character_tokenizer(texts, policy).surfaces) == " achjkntux"


def test_a_damaged_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"surfaces": 3}')
    with pytest.raises(InputError, match="tokenizer"):
        Tokenizer.load(tmp_path / "tokenizer.json")
    (tmp_path / "policy.json").write_text(json.dumps(TextPolicy().to_dict()))
    with pytest.raises(
        InputError, match=r"policy\.json is no tokenizer: it has no 'surfaces'\. Give a model folder"
    ):
        Tokenizer.load(tmp_path / "policy.json")
    with pytest.raises(InputError, match="No such file"):
        Tokenizer.load(tmp_path / "none.json")


def test_texts_without_letters_are_refused() -> None:
    with pytest.raises(InputError, match="no letters"):
        character_tokenizer(map(TextPolicy(), ["?!"]), TextPolicy())


def test_a_code_point_shows_a_mark_on_a_circle() -> None:
    assert code_point("\N{COMBINING GRAVE ACCENT}") == "◌̀ (U+0300 COMBINING GRAVE ACCENT)"


def test_scripts_meet_in_latin_letters() -> None:
    policy = TextPolicy(romanise=True)
    assert policy("Привет, мир") == "privet mir"
    assert policy.describe().endswith("|romanised")
    assert TextPolicy.from_dict(policy.to_dict()) == policy


@pytest.mark.parametrize(
    ("text", "romanised"),
    [
        ("ᏣᎳᎩ ꮳꮃꭹ Ꮳꮃꭹ", "tsalagi tsalagi tsalagi"),
        ("ߛߓߍ߲߫", "sbe"),
        ("ၽႃႇသႃႇ", "phaasaa"),
        ("ꦏꦺꦴꦧꦶꦱ", "kobis"),
        ("ᬓᬸᬢ", "kut"),
        ("ꯃꯤꯇꯩ", "mitai"),
        ("قُلۡ هُوَۖ", "qul huwa"),
        ("คือ हिन्दी", "khuee hindii"),
    ],
)
def test_marks_are_not_romanised_to_their_names(text: str, romanised: str) -> None:
    policy = TextPolicy(romanise=True)
    assert policy(text) == romanised == policy(romanised)


def test_romanising_without_uroman_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    _romaniser.cache_clear()
    monkeypatch.setitem(sys.modules, "uroman", None)
    with pytest.raises(InputError, match=r"pip install 'loquela\[uroman\]'"):
        TextPolicy(romanise=True)("мир")


def test_letters_become_phones() -> None:
    policy = TextPolicy(phonemise="spa-Latn")
    assert policy("¡Los niños corren!") == "los niɲos koren"
    assert policy.describe().endswith("|phones:spa-Latn")
    assert TextPolicy.from_dict(policy.to_dict()) == policy


def test_phones_of_a_language_without_rules_are_refused() -> None:
    with pytest.raises(InputError, match="no rules for 'zzz-Latn'"):
        TextPolicy(phonemise="zzz-Latn")("a")


def test_phones_without_epitran_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    _phonemiser.cache_clear()
    monkeypatch.setitem(sys.modules, "epitran", None)
    with pytest.raises(InputError, match=r"pip install 'loquela\[phones\]'"):
        TextPolicy(phonemise="spa-Latn")("a")


def test_phones_and_latin_letters_exclude_each_other() -> None:
    with pytest.raises(InputError, match="exclude each other"):
        TextPolicy(phonemise="spa-Latn", romanise=True)

"""Language models that write what the acoustic model writes otherwise, and those that write something else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asr.decode import BeamSearchConfig, build_decoder, reconcile
from asr.decode.fusion import components
from asr.decode.reconcile import MAX_UNWRITTEN
from lm.build import build_language_model
from lm.errors import InputError
from lm.folder import LanguageModel
from tests.asr.decode.toy import LETTERS, ToyModel, ToyNgram, random_emissions


def arpa(path: Path, words: dict[str, float]) -> LanguageModel:
    """A bigram model of these words and their log10 probabilities, as other tools write them."""
    unigrams = [
        "-1\t<unk>",
        "-99\t<s>\t0",
        "-1\t</s>",
        *(f"{logp}\t{word}\t0" for word, logp in words.items()),
    ]
    first = next(iter(words))
    path.write_text(
        "\\data\\\n" + f"ngram 1={len(unigrams)}\nngram 2=1\n\n\\1-grams:\n" + "\n".join(unigrams)
        + f"\n\n\\2-grams:\n-0.1\t<s> {first}\n\n\\end\\\n",
        encoding="utf-8",
    )  # fmt: skip
    return LanguageModel.load(path)


@pytest.mark.parametrize(
    ("letters", "token", "written", "told"),
    [
        ("abñ'", "AB", "ab", "A U+0041 as a U+0061 (case, in 100.00%)"),
        ("ABÑ'", "ab", "AB", "a U+0061 as A U+0041 (case"),
        ("abñ'", "an\u0303", "añ", "n U+006E + ◌̃ U+0303 as ñ U+00F1 (NFC"),
        ("abñn\u0303", "an\u0303", "añ", "(NFC"),  # it has both, and so writes the composed letter
        ("abn\u0303", "añ", "an\u0303", "ñ U+00F1 as n U+006E + ◌̃ U+0303 (NFD"),
        ("abñ'", "AN\u0303", "añ", "N U+004E + ◌̃ U+0303 as ñ U+00F1 (case"),
        ("abñ'", "a\u2019b", "a'b", "\u2019 U+2019 as ' U+0027 (apostrophe"),
        ("ab\u02bc", "a'b", "a\u02bcb", "' U+0027 as \u02bc U+02BC (apostrophe"),
        ("ab-", "a\u2011b", "a-b", "(look-alike"),
        ("\u0131i\u015f", "I\u015e\u0130", "\u0131\u015fi", "I U+0049 as \u0131 U+0131 (case"),
        ("\u0131i\u015f", "I\u0307I", "i\u0131", "I U+0049 + ◌̇ U+0307 as i U+0069 (case"),
        ("\u0131ib", "IB", "ib", "I U+0049 as i U+0069 (case"),  # a slip, not an alphabet
        ("\u0131b", "IB", "\u0131b", "I U+0049 as \u0131 U+0131 (case"),
        ("I\u0130\u015eB", "bi\u0131\u015f", "B\u0130I\u015e", "i U+0069 as \u0130 U+0130 (case"),
        ("I\u0130B", "bi", "BI", "i U+0069 as I U+0049 (case"),  # a slip, not an alphabet
        ("\u0130B", "bi", "B\u0130", "i U+0069 as \u0130 U+0130 (case"),
        ("abc", "\u0410b", "ab", "\u0410 U+0410 as a U+0061 (look-alike"),  # Cyrillic, and upper case
    ],
)
def test_words_are_called_as_the_acoustic_model_writes_them(
    tmp_path: Path, letters: str, token: str, written: str, told: str
) -> None:
    lines: list[str] = []
    model = arpa(tmp_path / "other.arpa", {token: -0.5})
    found = reconcile(("", " ", *letters), model, lines.append)
    assert model.word
    assert found.word
    assert written in found.word
    assert (token in found.word) == (token == written)
    assert found.vocabulary == (written,)
    assert found.word.log_probs([written]) == model.word.log_probs([token])
    assert told in lines[0]
    assert reconcile(("", " ", *letters), found, lines.append) is found


@pytest.mark.parametrize(
    ("surfaces", "alphabet"),
    [
        (("", " ", "a", "b"), "ab "),
        (("", " ", "a", "b"), "▁ab"),
        (("", " a", "ba"), "ab"),
    ],
)
def test_a_model_that_fits_is_left_as_it_is(surfaces: tuple[str, ...], alphabet: str) -> None:
    lines: list[str] = []
    model = ToyModel(word=ToyNgram(("a", "ab"), seed=0), characters=frozenset(alphabet) - {" "})
    assert reconcile(surfaces, model, lines.append) is model
    assert not lines


def test_letters_that_the_text_never_had_are_named() -> None:
    lines: list[str] = []
    reconcile(("", " ", "a", "b", "ñ"), ToyModel(word=ToyNgram(("a",), seed=0)), lines.append)
    assert lines == ["language model: it never has ñ U+00F1; words with that count as unseen"]


@pytest.mark.parametrize("likelier", ["AB", "ab"])
def test_of_words_that_become_one_the_likeliest_stands_for_it(tmp_path: Path, likelier: str) -> None:
    words = {"AB": -0.5, "ab": -0.5, "b": -2.0} | {likelier: -0.4}
    lines: list[str] = []
    found = reconcile(LETTERS, arpa(tmp_path / "other.arpa", words), lines.append)
    assert found.word
    tables, names = found.word.tables
    assert names.count("ab") == names.count("") == 1
    assert abs(float(tables.prob[names.index("ab")])) == pytest.approx(0.4)
    other = "abAB".replace(likelier, "")
    assert lines[1].endswith(f"words then written like a likelier one, which stands for them (1): {other}")
    assert found.word.log_probs(["b", "ab"])[1] / np.log(10) == pytest.approx(-0.4, abs=1e-5)


def test_the_search_and_the_definition_agree_on_a_reconciled_model(tmp_path: Path) -> None:
    words = {"AB": -0.7, "ab": -1.0, "b": -0.8, "B": -0.4, "\u0410": -0.6}
    model = reconcile(LETTERS, arpa(tmp_path / "other.arpa", words), lambda line: None)
    plain = arpa(tmp_path / "plain.arpa", {"ab": -0.7, "b": -0.4, "a": -0.6})
    config = BeamSearchConfig(num_hypotheses=20, word_bonus=0.5, beam_width=400, beam_threshold=60)
    for seed in range(3):
        emissions = random_emissions(7, len(LETTERS), seed)
        found = build_decoder(LETTERS, 0, model, config).decode(emissions)
        for hypothesis in found:
            parts = components(model, hypothesis.text)
            assert hypothesis.lm_score + hypothesis.word_score == pytest.approx(parts.total(config), abs=1e-4)
        same = build_decoder(LETTERS, 0, plain, config).decode(emissions)
        assert [each.text for each in found] == [each.text for each in same]
        assert [each.score for each in found] == pytest.approx([each.score for each in same], abs=1e-4)


def test_more_than_a_thousandth_of_the_words_by_probability_is_refused(tmp_path: Path) -> None:
    rare = {"ab": -0.01, "b": -0.5, "x\u00f8": -3.2}  # a little less than a thousandth
    lines: list[str] = []
    assert reconcile(LETTERS, arpa(tmp_path / "rare.arpa", rare), lines.append).word
    assert "0.05% of its words cannot be written: x U+0078 (0.05%), ø U+00F8 (0.05%)" in lines[-1]
    assert MAX_UNWRITTEN == 0.001
    often = arpa(tmp_path / "often.arpa", {**rare, "x\u00f8": -2.5})
    with pytest.raises(
        InputError, match=r"0\.24% of the language model's words cannot .* x U\+0078 \(0\.24%\)"
    ) as caught:
        build_decoder(LETTERS, 0, often)
    assert "\n" not in str(caught.value)
    unweighed = arpa(tmp_path / "unweighed.arpa", {"ab": -400, "b": -400, "x": -400})
    with pytest.raises(InputError, match=r"^33\.33% "):
        build_decoder(LETTERS, 0, unweighed)
    cyrillic = arpa(tmp_path / "cyrillic.arpa", {"\u0444\u0431\u0432\u0433": -0.1})
    with pytest.raises(InputError, match=r"^100\.00% .* U\+0431 .* text policy"):
        build_decoder(LETTERS, 0, cyrillic)


def sentences(rare: int) -> list[str]:
    """800 of six words of random letters a and b; in some, "a-b" stands where any word could."""
    rng = np.random.default_rng(0)
    texts = [["".join(rng.choice(["a", "b"], rng.integers(1, 7))) for _ in range(6)] for _ in range(800)]
    for number in range(rare):
        texts[7 * number][1 + number % 4] = "a-b"
    return [" ".join(text) for text in texts]


def test_what_stands_in_a_fixed_expression_is_counted(tmp_path: Path) -> None:
    texts = [f"{text} baab \u00f8" if place % 20 == 0 else text for place, text in enumerate(sentences(0))]
    build_language_model(texts, tmp_path / "lm", word_order=3, character_order=0)
    with pytest.raises(
        InputError, match=r"^0\.82% of the language model's words .* \u00f8 U\+00F8 \(0\.82%\)\. Build"
    ):
        reconcile(LETTERS, LanguageModel.load(tmp_path / "lm"))  # 40 of 4880
    lines: list[str] = []
    reconcile(LETTERS, LanguageModel.load(tmp_path / "lm" / "word.arpa"), lines.append)
    assert lines[-1].endswith("\u00f8 U+00F8 (0.02%) (estimated from its unigrams)")


def test_few_signs_in_many_places_count_as_few(tmp_path: Path) -> None:
    build_language_model(sentences(4), tmp_path / "lm", word_order=3, character_order=5)
    lines: list[str] = []
    found = reconcile(LETTERS, LanguageModel.load(tmp_path / "lm"), lines.append)
    assert found.word
    assert lines == [
        "language model: 0.08% of its words cannot be written: - U+002D (0.08%)",
        "language model: 0.02% of its characters cannot be written: - U+002D (0.02%)",
    ]
    lines.clear()
    reconcile(("", " ", "A", "B"), found, lines.append)  # for another recogniser
    assert "language model: 0.08% of its words cannot be written: - U+002D (0.08%)" in lines
    lines.clear()
    bare = LanguageModel.load(tmp_path / "lm" / "character.arpa", unit="character")
    assert reconcile(LETTERS, bare, lines.append).character
    assert lines[-1].endswith("%) (estimated from its n-grams)")


def test_character_models_are_reconciled_character_by_character(tmp_path: Path) -> None:
    lines: list[str] = []

    def characters(tokens: str) -> ToyModel:
        return ToyModel(character=ToyNgram(tuple(tokens), seed=1), characters=frozenset(tokens) - {"▁"})

    found = reconcile(LETTERS, characters("AB▁"), lines.append)
    assert "characters are read as the acoustic model writes them: " in lines[0]
    assert found.characters == {"a", "b"}
    emissions = random_emissions(6, 4, seed=2)
    config = BeamSearchConfig(num_hypotheses=5)
    same = build_decoder(LETTERS, 0, characters("ab▁"), config).decode(emissions)
    assert build_decoder(LETTERS, 0, found, config).decode(emissions) == same
    # A letter and its mark are two characters of such a model, and one of this: that needs other n-grams.
    with pytest.raises(InputError, match=r"characters cannot be written .* U\+0303"):
        reconcile(("", " ", *"abnñ"), characters("abn\u0303▁"), lines.append)


def test_a_model_of_another_language_in_the_same_letters_is_taken_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing in it says so; what it costs, dev shows."""
    build_language_model(["ab ba bab", "ba ab"] * 5, tmp_path / "lm", word_order=2, character_order=2)
    decoder = build_decoder(LETTERS, 0, LanguageModel.load(tmp_path / "lm"), BeamSearchConfig())
    assert decoder.decode(random_emissions(8, len(LETTERS), seed=3))
    assert capsys.readouterr().err == ""

"""BLEU, chrF++, TER and COMET: against sacrebleu's own corpus scores, the definition of the draws, stored values."""

from __future__ import annotations

import random
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF, TER

from asr.bootstrap import Bootstrap
from lm.errors import InputError
from st.score import (
    TranslationScore,
    bleu,
    chrf,
    score_translations,
    source_match,
    without_spaces,
)
from st.score_report import (
    format_translation_report,
    length_groups,
    training_groups,
    translation_report,
    verbatim,
)
from st.tokenisers import TOKENIZERS, Tokenizer

TEXT = "The cat, the dog and a horse went to market; nobody came back home."


def corpus(size: int = 30, errors: float = 0.3, seed: int = 0) -> tuple[dict[str, str], dict[str, str]]:
    """References, which depend on the size alone, and hypotheses with some words changed or left out."""
    vocabulary = TEXT.split()
    words, noise = random.Random(0), random.Random(seed)
    references, hypotheses = {}, {}
    for number in range(size):
        text = [words.choice(vocabulary) for _ in range(words.randrange(1, 14))]
        heard = [noise.choice(vocabulary) if noise.random() < errors else word for word in text]
        references[f"u{number}"] = " ".join(text)
        hypotheses[f"u{number}"] = " ".join(word for word in heard if noise.random() > errors / 3)
    return references, hypotheses


def by_sacrebleu(score: TranslationScore, tokenize: str = "13a", lowercase: bool = False) -> dict[str, float]:
    texts, references = list(score.hypotheses), [list(score.references)]
    asian = tokenize in ("char", "zh", "ja-mecab")
    metrics = {
        "bleu": BLEU(tokenize=tokenize, lowercase=lowercase),
        "chrf": CHRF(word_order=2, lowercase=lowercase),
        "ter": TER(case_sensitive=not lowercase, normalized=asian, asian_support=asian),
    }
    return {key: metric.corpus_score(texts, references).score for key, metric in metrics.items()}


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("tokenize", ["13a", "none", "char", "intl", "zh"])
def test_scores_are_sacrebleu_s(tokenize: Tokenizer, lowercase: bool) -> None:
    score = score_translations(*corpus(), tokenize=tokenize, lowercase=lowercase)
    expected = by_sacrebleu(score, tokenize, lowercase)
    assert {key: score.score(key) for key in expected} == pytest.approx(expected, abs=1e-9)
    case = "lc" if lowercase else "mixed"
    assert f"|case:{case}|eff:no|tok:{tokenize}|" in score.metrics["bleu"].signature


def test_scores_are_the_stored_ones() -> None:
    """Printed by the command line `sacrebleu ref.txt -i hyp.txt -m bleu chrf ter -w 4 --chrf-word-order 2
    --ter-case-sensitive`, version 2.6.0, for `corpus()`."""
    score = score_translations(*corpus())
    assert [round(score.score(key), 4) for key in ("bleu", "chrf", "ter")] == [47.6885, 62.7211, 31.2821]


def test_the_signatures_are_sacrebleu_s() -> None:
    metrics = score_translations(*corpus()).metrics
    version = metrics["bleu"].signature.rpartition("version:")[2]
    assert [metric.signature for metric in metrics.values()] == [
        f"BLEU|nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:{version}",
        f"chrF2++|nrefs:1|case:mixed|eff:yes|nc:6|nw:2|space:no|version:{version}",
        f"TER|nrefs:1|case:mixed|tok:tercom|norm:no|punct:yes|asian:no|version:{version}",
    ]


def test_every_draw_is_the_score_of_the_drawn_texts() -> None:
    score = score_translations(*corpus(8))
    drawn = np.random.default_rng(3).integers(8, size=(100, 8))
    scores = []
    for places in drawn:
        texts = [[side[place] for place in places] for side in (score.hypotheses, score.references)]
        scores.append(bleu(*texts))
    interval = score.interval("bleu", Bootstrap(resamples=100, seed=3))
    expected = np.percentile(scores, [2.5, 97.5])
    assert [interval.low, interval.high] == pytest.approx(expected.tolist(), abs=1e-9)


def test_units_are_drawn_whole() -> None:
    score = score_translations(*corpus(20))
    one = score.interval("chrf", Bootstrap(units=dict.fromkeys(score.ids, "x")))
    assert np.isnan([one.low, one.high]).all()
    speakers = {name: "xy"[place % 2] for place, name in enumerate(score.ids)}
    two = score.interval("chrf", Bootstrap(units=speakers))
    halves = sorted(
        score.select({name for name in score.ids if speakers[name] == speaker}).score("chrf")
        for speaker in "xy"
    )
    assert [two.low, two.high] == pytest.approx(halves, abs=1e-9)


def test_a_better_system_is_called_better_and_an_equal_one_is_not() -> None:
    references, good = corpus(60, errors=0.1)
    bad = corpus(60, errors=0.5)[1]
    first, second = (score_translations(references, texts) for texts in (good, bad))
    report = translation_report(first, against=second, how=Bootstrap(resamples=200))
    for key in ("bleu", "chrf", "ter"):
        assert report["against"][key]["better"] == "a"
        assert report["against"][key]["p"] == round(2 / 201, 5)
    assert report["against"]["bleu"]["difference"] > 0 > report["against"]["ter"]["difference"]
    swapped = translation_report(second, against=first, how=Bootstrap(resamples=200))
    assert {swapped["against"][key]["better"] for key in ("bleu", "chrf", "ter")} == {"b"}
    equal = translation_report(first, against=first, how=Bootstrap(resamples=200))
    assert {equal["against"][key]["better"] for key in ("bleu", "chrf", "ter")} == {""}
    assert equal["against"]["bleu"]["p"] == 1


def test_systems_on_different_references_are_not_compared() -> None:
    first, second = score_translations(*corpus(5)), score_translations(*corpus(6))
    with pytest.raises(InputError, match="different references"):
        first.compare(second, "bleu")


def test_missing_and_empty_hypotheses_count_as_empty() -> None:
    references, hypotheses = corpus(10)
    whole = score_translations(references, hypotheses | {"u1": "", "u2": " "})
    del hypotheses["u1"], hypotheses["u2"]
    score = score_translations(references, hypotheses)
    assert score.missing == whole.empty == ("u1", "u2")
    assert score.empty == whole.missing == ()
    assert score.score("bleu") == whole.score("bleu") == pytest.approx(by_sacrebleu(score)["bleu"])
    nothing = score_translations(references, dict.fromkeys(references, ""))
    assert [nothing.score(key) for key in ("bleu", "chrf", "ter")] == [0, 0, 100]


def test_an_utterance_without_a_reference_is_left_out() -> None:
    references, hypotheses = corpus(10)
    score = score_translations(references | {"u3": " "}, hypotheses)
    assert score.no_reference == ("u3",)
    assert "u3" not in score.ids


def test_ids_that_do_not_fit_are_errors() -> None:
    references, hypotheses = corpus(10)
    with pytest.raises(
        InputError, match=r"none of the 1 hypotheses .*'v'; reference: 'u0'.*--recording-level"
    ):
        score_translations(references, {"v": "a"}, ignore_unknown=True)
    with pytest.raises(InputError, match="1 of 11 hypotheses have an id"):
        score_translations(references, hypotheses | {"v": "a"})
    score = score_translations(references, hypotheses | {"v": "a"}, ignore_unknown=True)
    assert score.unknown == ("v",)
    with pytest.raises(InputError, match="no translation to score against"):
        score_translations(dict.fromkeys(references, ""), hypotheses)


def test_the_groups_of_lengths_hold_every_utterance_once_in_order_of_length() -> None:
    score = score_translations(*corpus())
    groups = length_groups(score)
    assert len(groups) == 3
    assert sorted(name for ids in groups.values() for name in ids) == sorted(score.ids)
    tokens = dict(zip(score.ids, score.metrics["bleu"].statistics[:, 1], strict=True))
    ends = [(min(tokens[name] for name in ids), max(tokens[name] for name in ids)) for ids in groups.values()]
    assert [f"{low:.0f}-{high:.0f} tokens" for low, high in ends] == list(groups)
    assert ends == sorted(ends)


def test_references_of_one_length_are_one_group() -> None:
    texts = {f"u{number}": "one two three" for number in range(5)}
    assert length_groups(score_translations(texts, texts)) == {"3-3 tokens": list(texts)}


def test_a_reference_is_seen_only_verbatim() -> None:
    references = {"a": "How are  you?", "b": "how are you?", "c": "Fine."}
    score = score_translations(references, references)
    groups = training_groups(score, verbatim(["How are you? ", "", "Fine"]))
    assert groups == {"seen in training": ["a"], "unseen": ["b", "c"]}


def test_a_group_is_scored_as_its_texts_alone_and_an_empty_one_has_no_score() -> None:
    score = score_translations(*corpus())
    part = score.select(set(score.ids[:7]))
    assert {key: part.score(key) for key in ("bleu", "chrf", "ter")} == pytest.approx(by_sacrebleu(part))
    groups = {"training": {"seen in training": [], "unseen": list(score.ids)}}
    report = translation_report(score, groups=groups)
    assert report["by"]["training"]["seen in training"]["bleu"] == {"score": None, "interval": [None, None]}
    assert "seen in training           0" in format_translation_report(report)


def test_transcripts_in_place_of_translations_are_noticed() -> None:
    references = {"a": "the child sleeps in the house", "b": "we drink water"}
    sources = {"a": "wawa wasipi puñun", "b": "yakuta upyanchik"}
    to_source, to_reference = source_match(score_translations(references, sources), sources)
    assert to_source == 100
    assert to_reference < 20
    assert source_match(score_translations(references, sources), {}) == (0, 0)


def test_line_breaks_and_runs_of_spaces_do_not_count() -> None:
    score = score_translations({"a": "the  child\nsleeps here"}, {"a": " the child sleeps\t here\n"})
    assert [score.score(key) for key in ("bleu", "chrf", "ter")] == pytest.approx([100, 100, 0])


def test_letters_with_marks_are_the_same_in_one_piece_and_in_two() -> None:
    text = "La fille est arrivée à l'école très tôt"
    apart = unicodedata.normalize("NFD", text)
    score = score_translations({"a": apart}, {"a": text})
    assert [score.score(key) for key in ("bleu", "chrf", "ter")] == pytest.approx([100, 100, 0])
    assert training_groups(score, verbatim([apart])) == {"seen in training": ["a"], "unseen": []}
    assert source_match(score, {"a": apart}) == pytest.approx((100, 100))


def test_characters_as_tokens_are_ter_s_too() -> None:
    score = score_translations(
        {"a": "那个女孩今天早上到达了村庄。"}, {"a": "那个女孩今天早晨到达了村庄。"}, tokenize="char"
    )
    assert score.score("ter") == pytest.approx(100 / 14)
    assert "|asian:yes|" in score.metrics["ter"].signature


@pytest.mark.parametrize("text", ["我们去。", "みずをのむ", "カタカナ", "ไปไหน", "ໄປໃສ", "ទៅណា", "သွား"])
def test_scripts_without_spaces_are_known(text: str) -> None:
    assert without_spaces([text * 3, "OK"])
    assert not without_spaces([text, "the child sleeps in the big house"])
    assert not without_spaces(["우리는 물을 마신다", "हम पानी पीते हैं", "12", ""])


def test_the_scores_for_training_are_the_same() -> None:
    score = score_translations(*corpus())
    texts = score.hypotheses, score.references
    assert bleu(*texts) == pytest.approx(score.score("bleu"))
    assert chrf(*texts) == pytest.approx(score.score("chrf"))


def test_every_tokeniser_is_one_of_sacrebleu_s() -> None:
    assert set(TOKENIZERS) <= set(BLEU.TOKENIZERS)


def test_a_tokeniser_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "MeCab", None)
    monkeypatch.delitem(sys.modules, "sacrebleu.tokenizers.tokenizer_ja_mecab", raising=False)
    with pytest.raises(
        InputError, match=r"--tokenize ja-mecab cannot be had: .*sacrebleu\[ja,ko\]"
    ) as raised:
        score_translations(*corpus(), tokenize="ja-mecab")
    assert "\n" not in str(raised.value)


COMET_SCORE = """#!{python}
# In place of unbabel-comet's command: the share of the reference's words that the hypothesis has.
import argparse, json, os, sys
parser = argparse.ArgumentParser()
for name in ("sources", "translations", "references", "model", "gpus", "to_json"):
    parser.add_argument("--" + name)
for name in ("quiet", "only_system"):
    parser.add_argument("--" + name, action="store_true")
asked = parser.parse_args()
if asked.model == "nothing":
    print("Traceback", "KeyError: Model 'nothing' not supported by COMET.", sep="\\n", file=sys.stderr)
    sys.exit(1)
assert "PYTHONPATH" not in os.environ
sides = (open(path, encoding="utf-8") for path in (asked.sources, asked.translations, asked.references))
rows = []
for source, text, reference in zip(*sides, strict=True):
    words = set(reference.split())
    rows.append(dict(src=source.strip(), mt=text.strip(), COMET=len(words & set(text.split())) / len(words)))
assert asked.model == "short" or rows[1]["src"] == "upyanchik"
with open(asked.to_json, "w") as out:
    json.dump({{asked.translations: rows[: 1 if asked.model == "short" else None]}}, out)
"""


@pytest.fixture
def comet_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tmp_path / "comet-score"
    command.write_text(COMET_SCORE.format(python=sys.executable))
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", "ours")


@pytest.mark.usefixtures("comet_score")
def test_comet_reads_source_hypothesis_and_reference() -> None:
    references = {"a": "the child", "b": "we drink"}
    sources = {"a": "wawa", "b": " upyanchik\n"}
    hypotheses = {"a": "the child", "b": "you drink"}
    score = score_translations(references, hypotheses, comet="Unbabel/some", sources=sources)
    assert score.score("comet") == pytest.approx(75)
    assert score.metrics["comet"].signature == "COMET|model:Unbabel/some|nrefs:1|scale:100"
    assert "COMET" in format_translation_report(translation_report(score, against=score))


def test_comet_without_its_command_or_sources_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    references, hypotheses = corpus(3)
    with pytest.raises(InputError, match="pipx install unbabel-comet"):
        score_translations(references, hypotheses, comet="m", sources=dict.fromkeys(references, "x"))
    with pytest.raises(InputError, match="1 of 3 utterances have none, such as 'u2'"):
        score_translations(references, hypotheses, comet="m", sources={"u0": "x", "u1": "y"})


@pytest.mark.usefixtures("comet_score")
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "nothing",
            r"--comet nothing: .* no scores: KeyError: Model 'nothing' not supported by COMET\. Give",
        ),
        ("short", r"gave 1 scores of 3\. Update"),
    ],
)
def test_a_comet_that_does_not_score_is_named(model: str, message: str) -> None:
    references, hypotheses = corpus(3)
    with pytest.raises(InputError, match=message):
        score_translations(references, hypotheses, comet=model, sources=references)

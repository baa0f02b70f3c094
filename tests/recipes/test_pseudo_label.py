"""Self-training: pseudo-labels are sifted, counted, and a student learns from them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import pytest

from asr.manifest import Utterance, read_manifest, write_manifest
from asr.pseudo import Heard, SiftConfig, sift
from asr.text import TextPolicy
from lm.errors import InputError
from recipes import pseudo_label
from recipes.finetune_ctc import finetune
from recipes.pseudo_label import main
from tests.conftest import configure, handed_on

ROOT = Path(__file__).parents[2]


def utterance(name: str, text: str = "", seconds: float = 2.0, split: str = "train") -> Utterance:
    return Utterance(id=name, audio=Path("x.wav"), duration_s=seconds, text=text, split=split)


def test_what_is_kept_and_why_the_rest_is_not() -> None:
    gold = [utterance(f"g{n}", "abcdefghij"[:n] * 2) for n in range(4, 9)]  # 4 to 8 characters a second
    names = ("good", "better", "fast", "mute", "unsure", "lost")
    unlabelled = [utterance(name, split="unlabelled") for name in names]
    heard = {
        "good": Heard("abcdefghijk", 0.8),
        "better": Heard("abcdefghijkl", 0.9),
        "fast": Heard("a" * 40, 0.9),
        "mute": Heard("", 1.0),
        "unsure": Heard("abcdefghijk", 0.2),
    }
    sifted = sift(gold, unlabelled, heard, SiftConfig(min_confidence=0.5), TextPolicy())
    assert [each.id for each in sifted.utterances] == ["better", "good"]
    assert dict(sifted.left_out) == {
        "too fast or too slow": 1, "no words": 1, "unsure": 1, "not decoded": 1,
    }  # fmt: skip
    assert {each.split for each in sifted.utterances} == {"train"}
    assert sifted.utterances[0].extra == {
        "label": "pseudo", "confidence": "0.9000", "written": TextPolicy().key,
    }  # fmt: skip
    half = sift(gold, unlabelled, heard, SiftConfig(min_confidence=0.5, keep_share=0.5), TextPolicy())
    assert [each.id for each in half.utterances] == ["better"]
    truth = {"good": "abcdefghijk", "better": "abcdefghijkx"}
    assert sifted.error_rate(truth, TextPolicy()) == (pytest.approx(1 / 23), 2)
    assert sifted.error_rate({"good": "abcdefghijk"}, TextPolicy()) == (0.0, 1)
    with pytest.raises(InputError, match="have none of the 2 pseudo-labelled utterances, such as 'better'"):
        sifted.error_rate({"corpus-good": "abcdefghijk", "better": " "}, TextPolicy())
    # What the policy takes away nobody says: gold texts full of marks are no faster speech.
    marked = [replace(each, text="¿¡" * 20 + each.text) for each in gold]
    assert sift(marked, unlabelled, heard, SiftConfig(min_confidence=0.5), TextPolicy()) == sifted


def test_each_language_has_its_own_pace() -> None:
    def row(name: str, language: str, text: str = "") -> Utterance:
        return replace(utterance(name, text), language=language)

    # 20 gold texts of one language at 5 characters a second, and of another at 15; a third has one text alone.
    gold = [row(f"s{n}", "slow", "a" * 10) for n in range(20)] + [
        row(f"f{n}", "fast", "a" * 30) for n in range(20)
    ]
    gold.append(row("o", "other", "a" * 20))
    unlabelled = [
        row(name, name[:-1]) for name in ("slow1", "slow2", "fast1", "fast2", "other1", "other2", "none1")
    ]
    heard = {
        each.id: Heard("a" * {"slow1": 10, "slow2": 30, "fast1": 30, "fast2": 10}.get(each.id, 15), 0.9)
        for each in unlabelled
    }
    sifted = sift(gold, unlabelled, heard, SiftConfig(), TextPolicy())
    assert [each.id for each in sifted.utterances] == ["fast1", "none1", "other1", "other2", "slow1"]


@pytest.mark.parametrize(
    ("text", "words", "remedy"),
    [
        ("a" * 99, "", r"\(1 too fast or too slow\). Lower --rate-quantile"),
        ("", "", r"\(1 no words\). Train the recogniser for longer"),
        ("abcabc", "--min-confidence 0.95", r"\(1 unsure\). Lower --min-confidence.$"),
        ("abcabc", "--keep 0", r"Raise --keep.$"),
    ],
)
def test_what_to_do_where_nothing_is_left_follows_from_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str, remedy: str
) -> None:
    write_manifest([utterance("g", "abcabc"), utterance("u", split="unlabelled")], tmp_path / "manifest.tsv")
    (tmp_path / "heard.tsv").write_text(f"id\ttext\tconfidence\nu\t{text}\t0.9\n", encoding="utf-8")
    paths = [str(tmp_path / name) for name in ("manifest.tsv", "heard.tsv", "new.tsv")]
    command = ["pseudo_label", paths[0], "--hypothesis", paths[1], "--out", paths[2], *words.split()]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(InputError, match=remedy):
        main()


def test_phones_that_were_heard_are_not_phonemised_again() -> None:
    policy, said = TextPolicy(phonemise="spa-Latn"), "joven gente"
    heard = {"u": Heard(policy(said), 0.9)}
    sifted = sift([utterance("g", said)], [utterance("u")], heard, SiftConfig(), policy)
    assert sifted.error_rate({"u": said}, policy) == (0.0, 1)


def test_mistakes_are_named() -> None:
    with pytest.raises(InputError, match="no gold utterance has a text"):
        sift([utterance("g")], [], {}, SiftConfig(), TextPolicy())
    with pytest.raises(InputError, match="'u', was decoded"):
        sift([utterance("g", "abc")], [utterance("u")], {}, SiftConfig(), TextPolicy())
    with pytest.raises(InputError, match="Give a share"):
        SiftConfig(keep_share=2)


@pytest.mark.parametrize(
    ("words", "where", "value"),
    [
        ("--keep 0.5", "config.keep_share", 0.5),
        ("--min-confidence 0.25", "config.min_confidence", 0.25),
        ("--rate-quantile 0.05", "config.rate_quantile", 0.05),
    ],
)
def test_what_an_option_says_reaches_the_sifting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, where: str, value: float
) -> None:
    write_manifest([utterance("u", split="unlabelled")], tmp_path / "manifest.tsv")
    (tmp_path / "heard.tsv").write_text("id\ttext\tconfidence\nu\tabc\t0.9\n", encoding="utf-8")
    paths = [str(tmp_path / name) for name in ("manifest.tsv", "heard.tsv", "new.tsv")]
    command = ["pseudo_label", paths[0], "--hypothesis", paths[1], "--out", paths[2], *words.split()]
    monkeypatch.setattr(sys, "argv", command)
    assert attrgetter(where)(handed_on(pseudo_label, "sift", main)) == value


def test_a_manifest_that_is_there_is_kept(tone_corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tone_corpus.read_bytes()
    words = ["pseudo_label", str(tone_corpus), "--hypothesis", "h.tsv", "--out", str(tone_corpus)]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(InputError, match=r"exists and is kept\. Give --overwrite"):
        main()
    monkeypatch.setattr(sys, "argv", [*words, "--overwrite"])
    with pytest.raises(InputError, match="is one of the inputs, and is kept"):
        main()
    assert tone_corpus.read_bytes() == before


def test_the_gold_rows_are_not_written_twice(
    tmp_path: Path, tone_corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = read_manifest(tone_corpus, split="train")
    heard = "".join(f"{row.id}\t{row.text}\t0.9\n" for row in rows)
    (tmp_path / "h.tsv").write_text(f"id\ttext\tconfidence\n{heard}", encoding="utf-8")
    out = tmp_path / "new.tsv"
    words = ["pseudo_label", str(tone_corpus), "--split", "train", "--hypothesis", str(tmp_path / "h.tsv")]
    monkeypatch.setattr(sys, "argv", [*words, "--out", str(out)])
    with pytest.raises(InputError, match=r"would be written twice.*a split of their own, or --without-gold"):
        main()
    assert not out.exists()
    monkeypatch.setattr(sys, "argv", [*words, "--out", str(out), "--without-gold"])
    assert main() == 0
    assert {row.extra["label"] for row in read_manifest(out, split="train")} == {"pseudo"}


def test_pseudo_labels_of_an_earlier_round_stay_what_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def a_round(name: str, rows: list[Utterance], *words: str) -> list[Utterance]:
        given, heard, out = (tmp_path / f"{name}{end}.tsv" for end in ("", "-heard", "-new"))
        write_manifest(rows, given)
        # A field of decode_ctc's alternatives may be longer than csv reads.
        lines = [f"{row.id}\tdefghi\t0.9\t{'x' * 140_000}" for row in rows if row.split == "unlabelled"]
        table = "\n".join(["id\ttext\tconfidence\talternatives", *lines])
        heard.write_text(table + "\n", encoding="utf-8")
        command = ["pseudo_label", str(given), "--hypothesis", str(heard), "--out", str(out), *words]
        monkeypatch.setattr(sys, "argv", command)
        assert main() == 0
        return read_manifest(out)

    first = a_round("one", [utterance("a", "abcdef"), utterance("b", split="unlabelled")])
    assert [(row.id, row.extra["label"]) for row in first] == [("a", "gold"), ("b", "pseudo")]
    capsys.readouterr()
    given = [*first, utterance("c", split="unlabelled")]
    second = a_round("two", given)
    assert [(row.id, row.extra["label"]) for row in second] == [
        ("a", "gold"),
        ("b", "pseudo"),
        ("c", "pseudo"),
    ]
    assert second[1] == first[1]
    report = json.loads(capsys.readouterr().out)
    assert (report["gold_hours"], report["earlier_pseudo_hours"]) == (0.001, 0.001)
    assert [row.id for row in a_round("three", given, "--without-gold")] == ["b", "c"]


def test_a_round_of_self_training(tmp_path: Path, tone_corpus: Path, trained: Path) -> None:
    rows = read_manifest(tone_corpus)
    split = [
        replace(row, split="unlabelled", text="") if row.split == "train" and number % 2 else row
        for number, row in enumerate(rows)
    ]
    write_manifest(split, tmp_path / "half.tsv")

    def run(*words: object) -> str:
        command = [sys.executable, "-m", *map(str, words)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(
        "recipes.decode_ctc",
        trained,
        tmp_path / "half.tsv",
        "--split",
        "unlabelled",
        "--out",
        tmp_path / "h.tsv",
    )
    said = run(
        "recipes.pseudo_label", tmp_path / "half.tsv", "--hypothesis", tmp_path / "h.tsv", "--truth", tone_corpus,
        "--policy", trained, "--out", tmp_path / "new.tsv",
    )  # fmt: skip
    report = json.loads(said)
    assert report["cer"] < 0.2
    assert report["compared"] == report["of"] > 0
    assert 0 < report["pseudo_hours"] <= report["unlabelled_hours"]
    new = read_manifest(tmp_path / "new.tsv", split="train")
    assert {row.extra["label"] for row in new} == {"gold", "pseudo"}
    best = finetune(
        configure(
            tmp_path, tmp_path / "new.tsv", "ctc.mix.levels=[label]", "ctc.mix.temperature=[0]",
            "trainer.updates=4",
        )
    )  # fmt: skip
    assert best["update"] == 4
    drawn = (tmp_path / "exp" / "drawn.tsv").read_text().splitlines()
    assert drawn[0].startswith("label\t")
    assert len(drawn) == 3

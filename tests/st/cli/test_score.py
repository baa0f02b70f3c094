"""`loquela score` with --translation: files in, table or JSON out, one line for each mistake."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
from sacrebleu.metrics import BLEU

from asr.transcript import Transcript, TranscriptSegment
from st.cli import COMMANDS, main, score

Capture = pytest.CaptureFixture[str]

TRANSLATIONS = [f"The child number {number} sleeps in the big house." for number in range(20)]
TEXTS = [f"wawa {number} hatun wasipi puñun" for number in range(20)]
HEADER = "id\taudio\toffset_s\tduration_s\ttext\ttranslation\tspeaker\tsplit"


def manifest(path: Path, translations: list[str], texts: list[str] = TEXTS) -> Path:
    """A talk `r` of 20 utterances; the first half is x's and of split dev, the rows are not in order of time."""
    rows = []
    for number, (text, translation) in enumerate(zip(texts, translations, strict=True)):
        speaker, split = ("x", "dev") if number < 10 else ("y", "test")
        cells = [f"u{number}", "r.wav", str(2 * number), "2", text, translation, speaker, split]
        rows.append("\t".join(cells))
    path.write_text("\n".join([HEADER, *rows[::-1]]) + "\n", encoding="utf-8")
    return path


def table(path: Path, texts: list[str]) -> Path:
    lines = [f"u{number}\t{text}" for number, text in enumerate(texts)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    manifest(tmp_path / "manifest.tsv", TRANSLATIONS)
    table(tmp_path / "good.tsv", [text.replace("big", "large") for text in TRANSLATIONS[:19]])
    table(tmp_path / "bad.tsv", [text.replace("sleeps in", "is at") for text in TRANSLATIONS])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*options: str, reference: str = "manifest.tsv") -> int:
    return main(["score", "--reference", reference, "--resamples", "100", *options])


def report_of(capsys: Capture, *options: str, reference: str = "manifest.tsv") -> dict[str, Any]:
    assert run("--translation", "--json", *options, reference=reference) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    report: dict[str, Any] = json.loads(out)
    return report


def test_json_has_every_metric_with_interval_and_signature(files: Path, capsys: Capture) -> None:
    report = report_of(capsys, "--hypothesis", "bad.tsv")
    expected = BLEU().corpus_score(
        [text.replace("sleeps in", "is at") for text in TRANSLATIONS], [TRANSLATIONS]
    )
    assert report["all"]["utterances"] == 20
    assert report["all"]["bleu"]["score"] == round(expected.score, 3)
    low, high = report["all"]["bleu"]["interval"]
    assert low <= report["all"]["bleu"]["score"] <= high
    assert list(report["signature"]) == ["bleu", "chrf", "ter"]
    assert report["signature"]["bleu"].startswith("BLEU|nrefs:1|case:mixed|eff:no|tok:13a|")


def test_the_table_has_groups_comparison_and_what_was_left_out(files: Path, capsys: Capture) -> None:
    manifest(files / "train.tsv", TRANSLATIONS[:12] + ["Nothing."] * 8)
    options = ["--against", "bad.tsv", "--by", "speaker", "--train-manifest", "train.tsv"]
    assert run("--translation", "--hypothesis", "good.tsv", *options) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[0].replace("95 % interval", "").split() == ["utterances", "BLEU", "chrF++", "TER"]
    assert [line[:18].split() for line in lines[3:7]] == [
        ["seen", "in", "training"],
        ["unseen"],
        ["speaker", "x"],
        ["speaker", "y"],
    ]
    assert [line[18:].split()[0] for line in lines[3:7]] == ["12", "8", "10", "10"]
    assert any(line.startswith("  BLEU    +") for line in lines)
    assert any(line.startswith("signature  TER|") for line in lines)
    assert said.err == "good.tsv: 1 without a hypothesis, scored as empty: u19\n"
    assert lines[-1] == "unpaired   good.tsv: 1 without a hypothesis, scored as empty"


def test_two_groups_of_a_column_are_compared(files: Path, capsys: Capture) -> None:
    # Speaker x is translated, y is not.
    table(files / "half.tsv", [*TRANSLATIONS[:10], *["Nothing."] * 10])
    gaps = report_of(capsys, "--hypothesis", "half.tsv", "--by", "speaker")["gaps"]
    assert list(gaps) == ["speaker"]
    found = gaps["speaker"]
    assert found["groups"] == ["x", "y"]
    assert [found[key]["better"] for key in ("bleu", "chrf", "ter")] == ["a", "a", "a"]
    assert found["bleu"]["difference"] > 90 > 0 > found["ter"]["difference"]
    assert found["bleu"]["relative"]["better"] == pytest.approx(found["bleu"]["difference"])  # x has 100
    assert run("--translation", "--hypothesis", "half.tsv", "--by", "speaker") == 0
    said = capsys.readouterr().out
    assert "speaker x minus y, each drawn by itself:" in said
    assert said.count("x is better") == 3


def test_training_translations_are_those_of_split_train_where_there_is_one(
    files: Path, capsys: Capture
) -> None:
    path = manifest(files / "train.tsv", TRANSLATIONS)
    path.write_text(path.read_text(encoding="utf-8").replace("\tx\tdev", "\tx\ttrain"), encoding="utf-8")
    report = report_of(capsys, "--hypothesis", "bad.tsv", "--train-manifest", "train.tsv")
    counts = {name: figures["utterances"] for name, figures in report["by"]["training"].items()}
    assert counts == {"seen in training": 10, "unseen": 10}


def test_split_and_lowercase_and_tokeniser_reach_the_metrics(files: Path, capsys: Capture) -> None:
    table(files / "lower.tsv", [text.lower() for text in TRANSLATIONS])
    options = ["--hypothesis", "lower.tsv", "--split", "test", "--ignore-unknown", "--tokenize", "char"]
    report = report_of(capsys, *options, "--lowercase")
    assert report["all"]["utterances"] == 10
    assert report["unknown"] == 10
    assert [report["all"][key]["score"] for key in ("bleu", "chrf", "ter")] == [100, 100, 0]
    assert "case:lc|eff:no|tok:char" in report["signature"]["bleu"]
    assert report_of(capsys, *options)["all"]["ter"]["score"] > 0


def test_references_may_be_a_table_and_hypotheses_a_manifest(files: Path, capsys: Capture) -> None:
    table(files / "reference.tsv", TRANSLATIONS)
    report = report_of(capsys, "--hypothesis", "manifest.tsv", reference="reference.tsv")
    assert report["all"]["bleu"]["score"] == 100
    manifest(files / "text.tsv", [""] * 20, texts=TRANSLATIONS)
    report = report_of(capsys, "--hypothesis", "text.tsv", reference="reference.tsv")
    assert report["all"]["bleu"]["score"] == 100


def transcript(path: Path, texts: list[str], *, translation: bool = True) -> None:
    segments = tuple(
        TranscriptSegment(
            start=float(number),
            end=number + 1.0,
            text="wawa puñun" if translation else text,
            translation=text if translation else "",
        )
        for number, text in enumerate(texts)
    )
    Transcript(recording=path.stem, audio=Path("r.wav"), duration=99.0, segments=segments).save(path)


@pytest.mark.parametrize("translation", [True, False])
def test_a_recording_that_was_cut_elsewhere_is_cut_like_its_reference(
    files: Path, capsys: Capture, translation: bool
) -> None:
    """The translations stand beside the texts, or in their place."""
    words = " ".join(TRANSLATIONS).split()
    texts = [" ".join(words[first : first + 7]) for first in range(0, len(words), 7)]
    transcript(files / "r.json", texts, translation=translation)
    report = report_of(capsys, "--hypothesis", "r.json", "--recording-level", "--by", "recording")
    assert report["all"]["utterances"] == 20
    assert report["all"]["bleu"]["score"] == 100
    assert report["resegmented"].startswith("mwer|")
    assert list(report["by"]["recording"]) == ["r"]
    assert run("--translation", "--hypothesis", "r.json", "--recording-level") == 0
    assert "found by minimum word error rate: mwer|" in capsys.readouterr().out


def test_recordings_of_one_name_in_two_folders_are_cut_apart(files: Path, capsys: Capture) -> None:
    path = files / "manifest.tsv"
    for day, speaker, texts in (("day1", "x", TRANSLATIONS[:10]), ("day2", "y", TRANSLATIONS[10:])):
        rows = [
            line.replace("r.wav", f"{day}/r.wav") if f"\t{speaker}\t" in line else line
            for line in path.read_text(encoding="utf-8").splitlines()
        ]
        path.write_text("\n".join(rows) + "\n", encoding="utf-8")
        (files / "out" / day).mkdir(parents=True)
        transcript(files / "out" / day / "r.json", [" ".join(texts)])
    report = report_of(capsys, "--hypothesis", "out", "--recording-level", "--by", "recording")
    assert report["all"]["bleu"]["score"] == 100
    assert list(report["by"]["recording"]) == ["day1/r", "day2/r"]


def test_the_transcript_is_no_translation_where_other_files_have_one(files: Path, capsys: Capture) -> None:
    (files / "out").mkdir()
    for number, text in enumerate(TRANSLATIONS):
        segment = TranscriptSegment(start=0.0, end=1.0, text=text, translation="" if number < 4 else text)
        Transcript(recording="r", audio=Path("r.wav"), duration=1.0, segments=(segment,)).save(
            files / "out" / f"u{number}.json"
        )
    assert run("--translation", "--hypothesis", "out") == 0
    assert "out: 4 with an empty hypothesis: u3, u2, u1, u0" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["json", "txt", "tsv", "eaf", "TextGrid"])
def test_a_translation_whose_transcript_is_empty_is_scored(files: Path, capsys: Capture, ending: str) -> None:
    segments = tuple(
        TranscriptSegment(start=2.0 * n, end=2.0 * n + 1, text="wawa" if n % 3 else "", translation=text)
        for n, text in enumerate(TRANSLATIONS)
    )
    path = files / f"r.{ending}"
    Transcript(recording="r", audio=Path("r.wav"), duration=99.0, segments=segments).save(path)
    report = report_of(capsys, "--hypothesis", path.name, "--recording-level")
    assert report["all"]["bleu"]["score"] == 100


@pytest.mark.parametrize("ending", ["srt", "vtt"])
def test_subtitles_of_one_line_are_translations_and_those_of_two_may_be_anything(
    files: Path, capsys: Capture, ending: str
) -> None:
    transcript(files / f"r.{ending}", TRANSLATIONS, translation=False)
    options = ["--hypothesis", f"r.{ending}", "--recording-level"]
    assert report_of(capsys, *options)["all"]["bleu"]["score"] == 100
    (files / f"r.{ending}").unlink()
    transcript(files / f"r.{ending}", TRANSLATIONS)
    assert run("--translation", *options) == 1
    assert f"r.{ending} has cues of several lines" in capsys.readouterr().err


@pytest.mark.parametrize("ending", ["ctm", "stm"])
def test_forms_without_translations_are_refused(files: Path, capsys: Capture, ending: str) -> None:
    transcript(files / f"r.{ending}", TRANSLATIONS)
    assert run("--translation", "--hypothesis", f"r.{ending}", "--recording-level") == 1
    said = f"r.{ending} holds a transcript, and no translation. Give the .json, .eaf or .tsv."
    assert said in capsys.readouterr().err


def test_the_reference_of_one_recording_may_be_lines_of_text(files: Path, capsys: Capture) -> None:
    (files / "talk.txt").write_text("\n".join(TRANSLATIONS) + "\n", encoding="utf-8")
    (files / "out.txt").write_text(" ".join(TRANSLATIONS), encoding="utf-8")
    report = report_of(capsys, "--hypothesis", "out.txt", "--recording-level", reference="talk.txt")
    assert report["all"]["utterances"] == 20
    assert report["all"]["bleu"]["score"] == 100


def test_transcripts_in_place_of_translations_get_a_warning(files: Path, capsys: Capture) -> None:
    table(files / "heard.tsv", TEXTS)
    assert run("--translation", "--hypothesis", "heard.tsv") == 0
    assert "heard.tsv: nearer to the reference's `text` than to its `translation`" in capsys.readouterr().err
    assert run("--translation", "--hypothesis", "bad.tsv") == 0
    assert capsys.readouterr().err == ""


def test_references_without_spaces_need_a_tokeniser_that_cuts_them(files: Path, capsys: Capture) -> None:
    table(files / "zh.tsv", ["他们昨天晚上没有吃饭。"])
    for options, said in (([], 1), (["--tokenize", "13a"], 1), (["--tokenize", "zh"], 0)):
        assert run("--translation", "--hypothesis", "zh.tsv", *options, reference="zh.tsv") == 0
        assert capsys.readouterr().err.count("Give --tokenize zh, ja-mecab or char.") == said


def test_translations_that_are_lacking_are_counted_and_empty_ones_too(files: Path, capsys: Capture) -> None:
    manifest(files / "some.tsv", ["", *TRANSLATIONS[1:]])
    table(files / "empty.tsv", [*TRANSLATIONS[:19], ""])
    assert run("--translation", "--hypothesis", "empty.tsv", reference="some.tsv") == 0
    said = capsys.readouterr()
    assert "1 without a reference translation, left out: u0" in said.err
    assert "1 with an empty hypothesis: u19" in said.err
    assert said.out.splitlines()[1].split()[:2] == ["all", "19"]
    transcript(files / "r.json", TRANSLATIONS)
    assert run("--translation", "--hypothesis", "r.json", "--recording-level", reference="some.tsv") == 0
    said = capsys.readouterr()
    assert "1 without a reference translation; what was translated there goes to the utterances" in said.err


def test_a_recording_without_a_reference_is_counted_where_it_is_left_out(
    files: Path, capsys: Capture
) -> None:
    transcript(files / "r.json", TRANSLATIONS)
    transcript(files / "other.json", TRANSLATIONS)
    options = ["--hypothesis", "r.json", "other.json", "--recording-level", "--ignore-unknown"]
    assert run("--translation", *options) == 0
    said = capsys.readouterr()
    assert "1 hypotheses without a reference utterance, left out: other" in said.err
    assert said.out.endswith("\nunpaired   r.json and 1 more: 1 hypotheses without a reference, left out\n")
    report = report_of(capsys, *options)
    assert (report["all"]["bleu"]["score"], report["unknown"]) == (100, 1)


def test_ids_are_compared_by_letter(files: Path, capsys: Capture) -> None:
    text = (files / "manifest.tsv").read_text(encoding="utf-8").replace("\nu", "\nu\u0301")
    (files / "apart.tsv").write_text(text, encoding="utf-8")
    (files / "together.tsv").write_text(text.replace("u\u0301", "\u00fa"), encoding="utf-8")
    report = report_of(capsys, "--hypothesis", "together.tsv", reference="apart.tsv")
    assert report["all"]["bleu"]["score"] == 100
    transcript(files / "r.json", TRANSLATIONS)
    report = report_of(capsys, "--hypothesis", "r.json", "--recording-level", reference="apart.tsv")
    assert (report["all"]["bleu"]["score"], report["missing"]) == (100, 0)


@pytest.mark.parametrize(
    ("options", "reference", "said"),
    [
        (["--hypothesis", "bad.tsv"], "blank.tsv", "no translation to score against"),
        (
            ["--hypothesis", "good.tsv", "bad.tsv"],
            "manifest.tsv",
            "good.tsv is a table of many utterances, which is read alone, and 2 files are given",
        ),
        (["--hypothesis", "other.tsv"], "manifest.tsv", "none of the 1 hypotheses has an id"),
        (
            ["--hypothesis", "r.json", "--recording-level", "--ignore-unknown"],
            "two.tsv",
            "has a recording's name that the reference has a text for. Hypotheses: 'r'; reference: 'a', 'b'. "
            "Name each after its recording.\n",
        ),
        (
            ["--hypothesis", "r.json", "a.json", "--recording-level"],
            "two.tsv",
            "1 of 2 hypotheses have a recording's name that the reference does not, such as 'r'; it has 'a', 'b'.",
        ),
        (["--hypothesis", "bad.tsv", "--case", "keep"], "manifest.tsv", "--case is for error rates"),
        (["--hypothesis", "bad.tsv", "--by", "dialect"], "manifest.tsv", "no column 'dialect'"),
        (["--hypothesis", "bad.tsv", "--split", "tset"], "manifest.tsv", "no row with split 'tset'"),
        (["--hypothesis", "bad.tsv", "--split", "test"], "bad.tsv", "is no manifest and has no split"),
        (["--hypothesis", "bad.tsv"], "r.json", "Add --recording-level"),
        (["--hypothesis", "bad.tsv", "--tier", "A"], "manifest.tsv", "--tier names tiers"),
        (["--hypothesis", "broken.tsv"], "manifest.tsv", "broken.tsv, line 2: 1 cells for 2 columns"),
        (["--hypothesis", "twice.tsv"], "manifest.tsv", "twice.tsv, line 3: the id 'u0'"),
        (["--hypothesis", "nowhere.tsv"], "manifest.tsv", "nowhere.tsv"),
        (["--hypothesis", "bad.tsv", "--train-manifest", "blank.tsv"], "manifest.tsv", "has no translation"),
        (["--hypothesis", "bad.tsv", "--comet", "m"], "silent.tsv", "20 of 20 utterances have none"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(
    files: Path, capsys: Capture, options: list[str], reference: str, said: str
) -> None:
    manifest(files / "blank.tsv", [""] * 20)
    manifest(files / "silent.tsv", TRANSLATIONS, texts=[""] * 20)
    two = manifest(files / "two.tsv", TRANSLATIONS).read_text(encoding="utf-8")
    (files / "two.tsv").write_text(
        two.replace("r.wav", "a.wav", 3).replace("r.wav", "b.wav"), encoding="utf-8"
    )
    transcript(files / "r.json", TRANSLATIONS)
    transcript(files / "a.json", TRANSLATIONS)
    (files / "other.tsv").write_text("v\tThe child.\n", encoding="utf-8")
    (files / "broken.tsv").write_text("id\ttranslation\nu0\n", encoding="utf-8")
    (files / "twice.tsv").write_text("id\ttranslation\nu0\ta\nu0\tb\n", encoding="utf-8")
    assert run("--translation", *options, reference=reference) == 1
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_options_of_translations_alone_are_a_mistake(files: Path, capsys: Capture) -> None:
    assert run("--hypothesis", "bad.tsv", "--train-manifest", "manifest.tsv") == 1
    assert "--train-manifest is for translations. Add --translation." in capsys.readouterr().err


def test_error_rates_are_scored_as_before(files: Path, capsys: Capture) -> None:
    table(files / "heard.tsv", TEXTS)
    assert run("--hypothesis", "heard.tsv", "--json") == 0
    assert json.loads(capsys.readouterr().out)["all"]["wer"]["score"] == 0


def test_the_command_offers_the_tokenisers_that_scoring_knows() -> None:
    from st.tokenisers import TOKENIZERS

    assert COMMANDS["score"][0] == score.__name__
    parser = argparse.ArgumentParser()
    score.add_arguments(parser)
    for name in TOKENIZERS:
        given = ["--reference", "a", "--hypothesis", "b", "--tokenize", name]
        assert parser.parse_args(given).tokenize == name


def test_texts_without_ids_are_doubted(tmp_path: Path, capsys: Capture) -> None:
    files = {"some": "The dog sleeps\nA cat eats\n", "many": "The dog sleeps\nA cat eats\nThe end\n"}
    files["named"] = "u_1 The dog sleeps\nu_2 A cat eats\n"
    for name, text in files.items():
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
    said = {}
    for name in files:
        path = str(tmp_path / f"{name}.txt")
        said[name] = run("--translation", "--hypothesis", path, reference=path), capsys.readouterr().err
    assert said["named"] == (0, "")
    assert said["some"][0] == 0
    assert said["many"][0] == 1
    for name in ("some", "many"):
        assert "the first word of each line, as 'The', is taken for its id. If these" in said[name][1]
    assert "line 3: the id 'The' occurs twice" in said["many"][1]

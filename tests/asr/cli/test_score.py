"""`loquela score` from files to table, JSON, alignments and errors."""

from __future__ import annotations

import argparse
import ast
import json
import math
import statistics
from pathlib import Path
from typing import Any

import pytest

from asr.bootstrap import Bootstrap, unpaired_bootstrap
from asr.cli import score
from asr.text import TextPolicy
from lm.errors import InputError

Capture = pytest.CaptureFixture[str]
EDITS = ("substitutions", "deletions", "insertions", "length")
TEXTS = {f"u{number}": f"ari kan kayman shamuy {number}" for number in range(20)}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    rows = []
    for number, (name, text) in enumerate(TEXTS.items()):
        speaker, split = "xy"[number % 2], "test" if number < 16 else "dev"
        cells = [name, f"{name}.wav", "1", f"{text.title()}!", speaker, split, f"r@{number}-{number + 1}"]
        rows.append("\t".join(cells))
    header = "id\taudio\tduration_s\ttext\tspeaker\tsplit\trecording"
    (tmp_path / "manifest.tsv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    good = [f"{name}\t{text}" for name, text in list(TEXTS.items())[:15]]
    bad = [f"{name}\t{text.replace('kan', 'kam')}" for name, text in list(TEXTS.items())[:16]]
    (tmp_path / "good.tsv").write_text("id\ttext\n" + "\n".join(good) + "\n", encoding="utf-8")
    (tmp_path / "bad.tsv").write_text("\n".join(bad) + "\n", encoding="utf-8")
    return tmp_path


def run(folder: Path, *options: str) -> int:
    parser = argparse.ArgumentParser()
    score.add_arguments(parser)
    reference = ["--reference", str(folder / "manifest.tsv")]
    return score.run(parser.parse_args([*reference, *options]))


def report_of(folder: Path, capsys: Capture, *options: str) -> dict[str, Any]:
    assert run(folder, *options, "--json") == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    report: dict[str, Any] = json.loads(out)
    return report


def test_json_is_one_line_with_every_figure(files: Path, capsys: Capture) -> None:
    report = report_of(files, capsys, "--hypothesis", str(files / "bad.tsv"), "--split", "test")
    words = report["all"]["wer"]
    assert words["score"] == 20.0
    assert words["interval"] == [20.0, 20.0]
    assert [words[edit] for edit in EDITS] == [16, 0, 0, 80]
    assert report["signature"]["wer"].startswith("wer|nrefs:1|unicode:NFC|case:lower|")
    assert "spaces:counted" in report["signature"]["cer"]


def test_the_table_shows_groups_comparison_and_signature(files: Path, capsys: Capture) -> None:
    options = [
        "--hypothesis",
        str(files / "good.tsv"),
        "--against",
        str(files / "bad.tsv"),
        "--split",
        "test",
    ]
    assert run(files, *options, "--by", "speaker", "--by", "recording") == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[1].split() == ["all", "16", "WER", "6.25", "[0.00,", "18.75]", "0", "5", "0", "80"]
    assert [line.split()[:3] for line in lines[3:8:2]] == [
        ["speaker", "x", "8"],
        ["speaker", "y", "8"],
        ["recording", "r", "16"],
    ]
    assert any(line.startswith("  WER  -13.75") and "A is better" in line for line in lines)
    assert any(line.startswith("signature  wer|") for line in lines)
    assert "good.tsv: 1 without a hypothesis, counted as deletions: u15" in said.err
    told = [line for line in lines if line.startswith("unpaired")]
    assert told == [f"unpaired   {files / 'good.tsv'}: 1 without a hypothesis, counted as deletions"]


def test_two_groups_of_a_column_are_compared(files: Path, capsys: Capture) -> None:
    options = [
        "--hypothesis",
        str(files / "good.tsv"),
        "--split",
        "test",
        "--by",
        "speaker",
        "--by",
        "recording",
    ]
    report = report_of(files, capsys, *options)
    assert list(report["gaps"]) == ["speaker"]  # the recordings are one
    speaker = report["gaps"]["speaker"]
    assert speaker["groups"] == ["x", "y"]  # u15, which is missing, is y's
    words = speaker["wer"]
    assert words["difference"] == -12.5
    assert words["relative"] == {"mean": -200.0, "better": None, "all": -200.0}
    assert words["interval"][0] < -12.5 < words["interval"][1] == 0.0
    assert words["better"] == ""
    assert run(files, *options) == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("speaker x minus y, each drawn by itself:")
    assert lines[at + 1].startswith("  WER  -12.50  [")
    assert "not shown: it covers zero" in lines[at + 1]
    assert lines[at + 1].endswith("(of the mean of both -200.00 %, of the better - %, of all -200.00 %)")
    # Each speaker is one unit, which says nothing of how speakers differ.
    assert run(files, *options, "--draw", "speaker") == 0
    assert "p 1.0000  not shown: fewer than two to draw from" in capsys.readouterr().out
    # Everything of y's is wrong: now it is shown.
    rows = [f"u{number}\t{TEXTS[f'u{number}'] if number % 2 == 0 else 'mana'}" for number in range(16)]
    (files / "half.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    assert run(files, "--hypothesis", str(files / "half.tsv"), "--split", "test", "--by", "speaker") == 0
    assert "x is better" in capsys.readouterr().out


def test_groups_are_drawn_apart() -> None:
    """Drawn together, two groups with the same errors would never differ."""
    errors, lengths = [0, 1, 2, 4] * 5, [5] * 20
    found = unpaired_bootstrap((errors, lengths), (errors, lengths), Bootstrap(resamples=4000))
    assert found.difference == 0
    assert found.p_value > 0.9
    # The difference of two independent means of 20: 1.96 standard deviations.
    expected = 1.96 * math.sqrt(2 * statistics.pvariance(errors) / 20) / 5
    assert found.interval.high == pytest.approx(expected, rel=0.08)
    assert found.interval.low == pytest.approx(-expected, rel=0.08)


def test_transcripts_of_other_recordings_are_no_score(files: Path, capsys: Capture) -> None:
    options = two_days(files)
    (files / "out" / "day1").rename(files / "out" / "x")
    assert run(files, *options, "--ignore-unknown") == 0
    said = "1 without a hypothesis, counted as deletions; 1 hypotheses without a reference, left out"
    assert capsys.readouterr().out.splitlines()[-1] == f"unpaired   {files / 'out'}: {said}"
    (files / "out" / "day2").rename(files / "out" / "y")
    with pytest.raises(InputError, match=r"a second transcript of 'talk'"):
        run(files, *options, "--ignore-unknown")
    (files / "out" / "y" / "talk.ctm").rename(files / "out" / "y" / "speech.ctm")
    with pytest.raises(InputError, match=r"none of the 2 hypotheses has a recording's name"):
        run(files, *options, "--ignore-unknown")


def test_equal_systems_are_not_called_different(files: Path, capsys: Capture) -> None:
    bad = str(files / "bad.tsv")
    assert run(files, "--hypothesis", bad, "--against", bad, "--split", "test") == 0
    assert "not shown: it covers zero" in capsys.readouterr().out


def test_policy_options_change_the_score_and_the_signature(files: Path, capsys: Capture) -> None:
    options = ["--hypothesis", str(files / "good.tsv"), "--split", "test"]
    kept = report_of(files, capsys, *options, "--case", "keep", "--no-spaces")
    assert kept["all"]["wer"]["score"] > 70
    assert "case:keep" in kept["signature"]["wer"]
    assert "spaces:ignored" in kept["signature"]["cer"]
    (files / "tokenizer.json").write_text(json.dumps({"policy": {"case": "keep"}}), encoding="utf-8")
    from_model = report_of(files, capsys, *options, "--policy", str(files))
    assert from_model["all"]["wer"] == kept["all"]["wer"]


def test_a_table_that_says_who_wrote_it_is_not_replaced_again(files: Path, capsys: Capture) -> None:
    policy = TextPolicy(replace={"n": "m", "i": "n"})
    (files / "policy.json").write_text(json.dumps(policy.to_dict()))
    options = ("--hypothesis", str(files / "own.tsv"), "--policy", str(files / "policy.json"))
    for key, errors in ((policy.key, 0), ("", 20)):
        rows = [f"{name}\t{policy(text)}\t{key}" for name, text in TEXTS.items()]
        (files / "own.tsv").write_text("id\ttext\twritten\n" + "\n".join(rows) + "\n")
        assert run(files, *options, "--json") == 0
        told = capsys.readouterr()
        assert json.loads(told.out)["all"]["cer"]["substitutions"] == errors
        assert ("20 references that the policy's `replace` changes a second time" in told.err) == (not key)
    (files / "own.tsv").write_text(f"id\ttext\twritten\nu0\tarn kam\t{policy.key}\n")
    assert run(files, *options[:2]) == 0
    assert "its model writes by another text policy than it is scored by" in capsys.readouterr().err


def test_a_file_without_a_policy_is_an_error(files: Path) -> None:
    for text in ("[]", "{", '{"policy": 3}', '{"kase": "lower"}'):
        (files / "p.json").write_text(text, encoding="utf-8")
        with pytest.raises(InputError):
            run(files, "--hypothesis", str(files / "good.tsv"), "--policy", str(files / "p.json"))


def test_alignments_are_written_and_an_existing_file_is_kept(files: Path, capsys: Capture) -> None:
    path = files / "alignments.txt"
    options = ["--hypothesis", str(files / "bad.tsv"), "--split", "test", "--alignments", str(path)]
    assert run(files, *options) == 0
    text = path.read_text(encoding="utf-8")
    assert text.startswith("wer|nrefs:1|")
    assert "REF: ari kan kayman shamuy 0\nHYP: ari kam kayman shamuy 0\n         S\n" in text
    assert text.count("REF:") == 16
    with pytest.raises(InputError, match="--overwrite"):
        run(files, *options)
    assert run(files, *options, "--overwrite") == 0
    capsys.readouterr()


@pytest.mark.parametrize("named", ["manifest.tsv", "good.tsv", "bad.tsv"])
def test_alignments_never_replace_an_input(files: Path, named: str) -> None:
    before = (files / named).read_bytes()
    texts = ["--hypothesis", str(files / "bad.tsv"), "--against", str(files / "good.tsv")]
    with pytest.raises(InputError, match=r"is one of the inputs, .* Give another --alignments"):
        run(files, *texts, "--alignments", str(files / named), "--overwrite")
    assert (files / named).read_bytes() == before


def test_a_whole_recording_is_scored_under_any_name(files: Path, capsys: Capture) -> None:
    """The transcript is cut elsewhere and has one word too many."""
    words = " ".join(list(TEXTS.values())[:16]).split()
    lines = [" ".join(words[first : first + 7]) for first in range(0, len(words), 7)]
    (files / "out.txt").write_text("\n".join([*lines, "na"]), encoding="utf-8")
    options = ["--hypothesis", str(files / "out.txt"), "--split", "test", "--recording-level"]
    report = report_of(files, capsys, *options, "--by", "recording")
    figures = report["all"]["wer"]
    assert [figures[edit] for edit in EDITS] == [0, 0, 1, 80]
    assert list(report["by"]["recording"]) == ["r"]


def two_days(folder: Path) -> list[str]:
    """Two recordings of one name with their transcripts, whose words have confidences; options that score them."""
    texts = {"day1": "ari kan", "day2": "kayman shamuy"}
    rows = [f"{day}\taudio/{day}/talk.wav\t1\t{text}" for day, text in texts.items()]
    (folder / "days.tsv").write_text("id\taudio\tduration_s\ttext\n" + "\n".join(rows) + "\n")
    for day, text in texts.items():
        words = [f"talk 1 {number} 0.5 {word} 0.75" for number, word in enumerate(text.split())]
        (folder / "out" / day).mkdir(parents=True)
        (folder / "out" / day / "talk.ctm").write_text("\n".join(words) + "\n")
    return ["--reference", str(folder / "days.tsv"), "--hypothesis", str(folder / "out"), "--recording-level"]


def test_recordings_of_one_name_in_two_folders_are_two(files: Path, capsys: Capture) -> None:
    options = [*two_days(files), "--by", "recording", "--draw", "recording", "--calibration"]
    report = report_of(files, capsys, *options)
    assert report["all"]["wer"]["score"] == 0
    assert list(report["by"]["recording"]) == ["day1/talk", "day2/talk"]
    assert report["calibration"]["words"] == 4
    (files / "out" / "talk.ctm").write_text("talk 1 0 0.5 ari 0.5\n")
    with pytest.raises(
        InputError, match=r"1 of 3 hypotheses have a recording's name .* 'talk'; it has 'day1/talk', "
    ):
        run(files, *options)


@pytest.mark.parametrize("mark", ["/", "_"])
def test_recordings_of_sub_folders_are_found_as_imports_name_them(
    files: Path, capsys: Capture, mark: str
) -> None:
    options = two_days(files)
    header, *rows = (files / "days.tsv").read_text().splitlines()
    named = [f"{row}\tday{number}{mark}talk" for number, row in enumerate(rows, start=1)]
    (files / "days.tsv").write_text("\n".join([f"{header}\trecording", *named]) + "\n")
    assert report_of(files, capsys, *options)["all"]["wer"]["score"] == 0


def test_what_was_heard_where_a_recording_has_no_reference_is_said_to_be_inserted(
    files: Path, capsys: Capture
) -> None:
    rows = (files / "manifest.tsv").read_text(encoding="utf-8")
    (files / "manifest.tsv").write_text(rows.replace("Ari Kan Kayman Shamuy 3!", ""), encoding="utf-8")
    (files / "out.txt").write_text("\n".join(list(TEXTS.values())[:16]), encoding="utf-8")
    options = ["--hypothesis", str(files / "out.txt"), "--split", "test"]
    assert run(files, *options, "--recording-level") == 0
    said = capsys.readouterr()
    assert "1 without a reference; what was heard there counts as insertions: u3" in said.err
    assert said.out.splitlines()[1].split()[-4:] == ["0", "0", "5", "75"]
    options[1] = str(files / "bad.tsv")
    assert run(files, *options) == 0
    assert "1 without a reference, left out: u3" in capsys.readouterr().err


def test_a_recording_without_any_reference_is_said_to_be_left_out(files: Path, capsys: Capture) -> None:
    options = two_days(files)
    manifest = files / "days.tsv"
    manifest.write_text(manifest.read_text().replace("kayman shamuy", ""))
    assert run(files, *options) == 0
    said = capsys.readouterr()
    assert "1 without a reference, left out: day2" in said.err
    assert "insertions" not in said.err
    (files / "out" / "day2" / "talk.ctm").unlink()
    assert run(files, *options, "--ignore-unknown") == 0
    assert "without a hypothesis" not in capsys.readouterr().err


def test_whole_recordings_are_scored_by_speaker(files: Path, capsys: Capture) -> None:
    """The words that every recording's alignment deals out to the speakers' utterances."""
    texts = [text.replace("kan", "kam") if number % 2 else text for number, text in enumerate(TEXTS.values())]
    (files / "out.txt").write_text("\n".join(texts), encoding="utf-8")
    options = ["--hypothesis", str(files / "out.txt"), "--recording-level", "--draw", "speaker"]
    report = report_of(files, capsys, *options, "--by", "speaker")
    rates = {name: figures["wer"]["score"] for name, figures in report["by"]["speaker"].items()}
    assert rates == {"x": 0, "y": 20}
    assert report["bootstrap"]["drawn"] == "speaker"
    assert "|aligned:recording|" in report["signature"]["wer"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--hypothesis", "nowhere.tsv"], "nowhere.tsv"),
        (["--hypothesis", "good.tsv", "--split", "tset"], "no row with split 'tset'"),
        (["--hypothesis", "bad.tsv", "--split", "dev"], "none of the 16 hypotheses has an id"),
        (
            ["--hypothesis", "bad.tsv", "--split", "dev", "--ignore-unknown"],
            "none of the 16 hypotheses has an id",
        ),
        (["--hypothesis", "good.tsv", "--by", "dialect"], "no column 'dialect'"),
        (["--hypothesis", "good.tsv", "--tier", "A", "--recording-level"], "has no tiers"),
        (["--hypothesis", "good.tsv", "--tier", "A"], "--tier is given without --recording-level"),
        (["--hypothesis", "good.tsv", "--reference", "nowhere.tsv"], "nowhere.tsv"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(
    files: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.chdir(files)
    with pytest.raises(InputError, match=said) as raised:
        run(files, *options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("draws", ["99", "-5", "many", "1e4"])
def test_too_few_draws_are_wrong_usage(files: Path, draws: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(files, "--hypothesis", str(files / "good.tsv"), "--resamples", draws)
    assert stopped.value.code == 2
    assert "number of draws" in capsys.readouterr().err


def test_the_options_are_known_without_a_heavy_import() -> None:
    tree = ast.parse(Path(score.__file__).read_text(encoding="utf-8"))
    imported = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    assert imported <= {
        "__future__",
        "argparse",
        "json",
        "sys",
        "pathlib",
        "typing",
        "asr.names",
        "lm.errors",
    }

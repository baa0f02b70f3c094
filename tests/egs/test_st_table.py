"""The table of translation scores by arm."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from lm.errors import InputError

TEXTS = [f"the child number {number} sleeps" for number in range(5)]


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, beside a manifest of a few rows and what the arms `ctc` and `ot` make of them."""
    rows = [f"u{number}\tr.wav\t1\tx\t{text}\ttest" for number, text in enumerate(TEXTS)]
    lines = ["id\taudio\tduration_s\ttext\ttranslation\tsplit", *rows]
    (tmp_path / "manifest.tsv").write_text("\n".join(lines) + "\n")
    for name in ("ctc/1", "ctc/2", "ot/1"):
        (tmp_path / name).mkdir(parents=True)
        rows = [f"u{number}\t{text}" for number, text in enumerate(TEXTS)]
        (tmp_path / name / "test.tsv").write_text("\n".join(rows) + "\n")
    monkeypatch.chdir(tmp_path)
    path = Path(__file__).parents[2] / "egs" / "st_table.py"
    spec = importlib.util.spec_from_file_location("st_table", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(table: ModuleType, monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    monkeypatch.setattr(sys, "argv", ["st_table.py", ".", "manifest.tsv", *options])
    table.main()


def test_what_is_missing_is_named_and_no_difference_is_not_negative(
    table: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(table, monkeypatch, "--arms", "ctc ot", "--seeds", "1 2")
    said = capsys.readouterr()
    assert said.err == "left out ot/2: there is no ot/2/test.tsv\n"
    rows = [line for line in said.out.splitlines() if line.startswith(("| ctc", "| ot"))]
    assert [row.split(" | ")[1] for row in rows] == ["2", "1"]
    assert "+0.0 (+0.0 to +0.0)" in rows[1]


class Slightly:
    """Of a difference that rounds to nothing."""

    difference, p_value = -0.01, 0.9
    interval = type("Interval", (), {"low": -1.04, "high": -0.04})


def test_zero_has_no_minus(table: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    score = type("Score", (), {"compare": lambda *_: Slightly})()
    monkeypatch.setattr(table, "together", lambda scores: scores[0])
    assert table.against({"1": score}, {"1": score}, ["1"], "chrf") == "+0.0 (-1.0 to +0.0), p 0.900"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--arms", "ot", "--seeds", "1"), "--base is ctc, which is not among --arms ot"),
        (
            ("--arms", "ctc", "--seeds", "7 8"),
            r"has nothing of the arms ctc with these seeds, as ctc/7/test\.tsv",
        ),
        (("--arms", "x", "--seeds", "1", "--base", "x"), "has nothing of the arms x with these seeds"),
    ],
)
def test_arms_and_seeds_that_are_not_there_are_refused(
    table: ModuleType, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        run(table, monkeypatch, *options)

"""Who helps whom, from the losses of runs alone and in pairs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lm.errors import InputError
from recipes.skill_graph import check_drawn_alike, graph, last_evaluation, main

ROOT = Path(__file__).parents[2]


def test_an_edge_is_a_lower_loss_than_alone() -> None:
    losses = {
        frozenset({"a"}): {"a": 1.0, "b": 3.0},
        frozenset({"b"}): {"a": 3.0, "b": 1.0},
        frozenset({"a", "b"}): {"a": 1.2, "b": 0.8},
    }
    assert graph(losses, 0.5) == {"a": {"a": 1.0, "b": 0.5}, "b": {"b": 1.0}}
    named = {frozenset({"a"}): {"qu": 1.0, "ay": 3.0}}
    with pytest.raises(InputError, match="the run on a has no dev loss of a; it has those of ay, qu"):
        graph(named, 0.5)
    del losses[frozenset({"b"})]
    with pytest.raises(InputError, match="no run on b"):
        graph(losses, 0.5)


def test_the_command_reads_runs(tmp_path: Path) -> None:
    for name, a, b in (("a", 1.0, 3.0), ("b", 3.0, 1.0), ("ab", 0.9, 1.1)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "history.jsonl").write_text(
            json.dumps({"update": 40, "loss/a": a, "loss/b": b}) + "\n"
        )
    config = tmp_path / "ab" / "config.yaml"
    config.write_text("ctc: {mix: {levels: [language], temperature: [0.0]}}")
    command = [
        sys.executable,
        "-m",
        "recipes.skill_graph",
        f"a={tmp_path}/a",
        f"b={tmp_path}/b",
        f"a+b={tmp_path}/ab",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert yaml.safe_load(done.stdout) == {"skill_graph": {"a": {"a": 1.0}, "b": {"a": 0.5, "b": 1.0}}}
    config.write_text("ctc: {mix: {levels: [language], temperature: []}}")
    with pytest.raises(
        InputError, match=r"ab was trained with ctc\.mix\.temperature=\[\], which does not draw"
    ):
        check_drawn_alike(tmp_path / "ab")
    (tmp_path / "a" / "history.jsonl").write_text('{"update": 40}\n')
    with pytest.raises(InputError, match="not evaluated by language"):
        last_evaluation(tmp_path / "a")
    with pytest.raises(InputError, match="no history"):
        last_evaluation(tmp_path / "none")


def test_runs_of_different_length_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, update in (("a", 4000), ("b", 4000), ("ab", 1000)):
        (tmp_path / name).mkdir()
        row = {"update": update, "loss/a": 1.0, "loss/b": 1.0}
        (tmp_path / name / "history.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "ab" / "config.yaml").write_text("ctc: {mix: {levels: [language], temperature: [0.0]}}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["skill_graph", "a=a", "b=b", "a+b=ab"])
    with pytest.raises(
        InputError, match=r"a=a at update 4000, .*a\+b=ab at update 1000\. Train all to the same"
    ):
        main()
    assert not capsys.readouterr().out

"""The recipes' own scripts, with a `python` that does nothing but end as a test says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

EGS = Path(__file__).resolve().parents[2] / "egs"
RECIPES = sorted(path.parent.name for path in EGS.glob("*/run.sh"))

# Tells its arguments; WHEN is a case of them, DO what is then done.
PYTHON = """#!/usr/bin/env bash
echo "$*"
case "$*" in {when}) {do} ;; esac
"""


@pytest.fixture
def egs(tmp_path: Path) -> Path:
    """The scripts alone, without what was trained beside them."""
    for script in [*EGS.glob("*.sh"), *EGS.glob("*/*.sh")]:
        copy = tmp_path / "egs" / script.relative_to(EGS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(script, copy)
    return tmp_path / "egs"


def run(
    egs: Path, recipe: str, *options: str, when: str = "none", do: str = ":"
) -> subprocess.CompletedProcess[str]:
    python = egs.parent / "bin" / "python"
    python.parent.mkdir(exist_ok=True)
    python.write_text(PYTHON.format(when=when, do=do))
    python.chmod(0o755)
    environment = {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}"}
    command = ["bash", str(egs / recipe / "run.sh"), *options]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("recipe", ["killkan", "mboshi"])
@pytest.mark.parametrize(("status", "goes_on"), [(0, True), (1, True), (2, False), (130, False)])
def test_findings_do_not_stop_a_recipe_but_ctrl_c_does(
    egs: Path, recipe: str, status: int, goes_on: bool
) -> None:
    done = run(egs, recipe, "--stage", "2", "--stop_stage", "2", when="*check*", do=f"exit {status}")
    assert ("corpus stats" in done.stdout) == goes_on
    assert done.returncode == (0 if goes_on else status)


IMPORTING = ["adapt", "killkan", "killkan_es", "mboshi", "mboshi_fr"]


def test_these_recipes_import() -> None:
    assert [name for name in RECIPES if "import_corpus" in (EGS / name / "run.sh").read_text()] == IMPORTING


@pytest.mark.parametrize("recipe", IMPORTING)
def test_recordings_that_were_left_out_do_not_stop_a_recipe(egs: Path, recipe: str) -> None:
    # The manifest is the last word but none; it is younger than what lay there before.
    wrote = 'sleep 0.05; echo >"${@: -1}"; exit 1'
    done = run(egs, recipe, "--stop_stage", "1", when="*import*", do=wrote)
    assert done.returncode == 0, done.stderr
    imports = done.stdout.count("corpus import")
    assert done.stderr.count("without what was left out above") == imports >= 1
    assert not list((egs / recipe / "data").glob("*.began"))


@pytest.mark.parametrize("recipe", IMPORTING)
@pytest.mark.parametrize("status", [1, 2, 130])
def test_an_import_that_wrote_nothing_stops_a_recipe(egs: Path, recipe: str, status: int) -> None:
    data = egs / recipe / "data"
    data.mkdir()
    for name in ("killkan", "manifest", "published"):
        (data / f"{name}.tsv").touch()  # of an earlier run
    done = run(egs, recipe, "--stop_stage", "1", when="*import*", do=f"exit {status}")
    assert done.returncode == status
    assert len(done.stdout.splitlines()) == 1
    assert "going on" not in done.stderr


@pytest.mark.parametrize(
    ("options", "stage"),
    [([], 9), (["--stage", "12"], 12), (["--target", "mboshi", "--recogniser", "x"], 11)],
)
def test_adapt_says_at_the_start_that_a_recogniser_is_missing(
    egs: Path, options: list[str], stage: int
) -> None:
    done = run(egs, "adapt", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"stage {stage} needs a recogniser of mboshi" in done.stderr
    assert f"Run ../mboshi/run.sh first, give --{'scratch' if stage == 11 else 'recogniser'}" in done.stderr
    assert run(egs, "adapt", *options, "--stage", "2", "--stop_stage", "2").returncode == 0


@pytest.mark.parametrize(("trained", "taken"), [(False, "../killkan/model"), (True, "../killkan/exp/ctc")])
def test_adapt_begins_with_what_was_trained_to_a_model_or_else_what_ships(
    egs: Path, trained: bool, taken: str
) -> None:
    for card in ("model/loquela.json", "exp/ctc/model/loquela.json" if trained else "exp/ctc/config.yaml"):
        (egs / "killkan" / card).parent.mkdir(parents=True)
        (egs / "killkan" / card).touch()
    done = run(egs, "adapt", "--target", "mboshi", "--stage", "9", "--stop_stage", "9")
    assert f"encoder.source={taken} encoder.shrink=true head_from={taken}" in done.stdout


@pytest.mark.parametrize("recipe", ["killkan_es", "mboshi_fr"])
def test_a_cascade_without_a_language_model_says_at_the_start_how_to_build_one(
    egs: Path, recipe: str
) -> None:
    (egs / "recogniser").mkdir()
    given = ["--recogniser", "../recogniser"]
    done = run(egs, recipe, *given)
    assert (done.returncode, done.stdout) == (2, "")
    said = "--manifest data/manifest.tsv --split train --policy ../recogniser --out ../recogniser/lm"
    assert f"loquela lm build {said}" in done.stderr
    assert "loquela lm tune --model ../recogniser --lm ../recogniser/lm" in done.stderr
    assert run(egs, recipe, *given, "--stop_stage", "1").returncode == 0
    (egs / "lm").mkdir()
    done = run(egs, recipe, *given, "--lm", "../lm", "--stage", "6", "--stop_stage", "6")
    assert "decode_ctc ../recogniser data/manifest.tsv --split test --lm ../lm --out" in done.stdout


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_stops_by_default_at_its_last_stage(recipe: str) -> None:
    script = (EGS / recipe / "run.sh").read_text()
    stages = [int(number) for number in re.findall(r"^if at (\d+) ", script, flags=re.MULTILINE)]
    assert stages == list(range(1, len(stages) + 1))
    assert f"stop_stage={len(stages)}\n" in script  # by which parse_options.sh knows the last one


def test_adapt_makes_the_labels_that_it_mixes_whatever_it_compares(egs: Path) -> None:
    amounts = ["--labels", "1", "--gold", "1 2", "--mixed", "3"]
    made = run(egs, "adapt", *amounts, "--stop_stage", "1").stdout
    assert re.findall(r"subset.py data/killkan.tsv (\d+) ", made) == ["1", "2", "3"]
    done = run(egs, "adapt", *amounts, "--stage", "7", "--stop_stage", "8")
    assert "killkan=data/killkan.3.tsv" in done.stdout
    assert "exp=exp/killkan/mixed.skill/3.1" in done.stdout
    assert "--labels 3 " in done.stdout

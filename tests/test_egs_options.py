"""The options of recipe scripts: what `egs/parse_options.sh` makes of the variables above it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HELPER = Path(__file__).resolve().parents[1] / "egs" / "parse_options.sh"

SCRIPT = r"""#!/usr/bin/env bash
# Makes a thing.
#
#     ./run.sh --stage 2
set -euo pipefail
stage=1 stop_stage=3 corpus=/data/mini   # where it lies, as in other=5
text="a b=c d"; flag=false
learning_rate=0.1
langs=(a b)
ROOT=1
. HELPER
late=1
if at 1 "prepare"; then echo prepare; fi
if at 2 "train"; then echo train; fi
if at 3 "decode"; then echo decode; fi
echo "corpus=$corpus text=$text flag=$flag learning_rate=$learning_rate root=$ROOT late=$late"
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "my recipe" / "run.sh"
    path.parent.mkdir()
    path.write_text(SCRIPT.replace("HELPER", f"'{HELPER}'"), encoding="utf-8")
    return path


def run(script: Path, *options: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the script with a name in the environment that must not become an option."""
    environment = {**os.environ, "http_proxy": "http://localhost"}
    command = ["bash", str(script), *options]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)


def test_without_options_the_defaults_stand_and_every_stage_runs(script: Path) -> None:
    done = run(script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "prepare",
        "train",
        "decode",
        "corpus=/data/mini text=a b=c d flag=false learning_rate=0.1 root=1 late=1",
    ]


@pytest.mark.parametrize(
    ("options", "stages"),
    [
        (["--stage", "2"], ["train", "decode"]),
        (["--stop_stage=2"], ["prepare", "train"]),
        (["--stage", "2", "--stop-stage", "2"], ["train"]),
        (["--stage", "03"], ["decode"]),
        (["--stop_stage", "08"], ["prepare", "train", "decode"]),
    ],
)
def test_stages_run_from_stage_to_stop_stage(script: Path, options: list[str], stages: list[str]) -> None:
    assert run(script, *options).stdout.splitlines()[:-1] == stages


def test_a_stage_that_runs_says_its_number_and_name(script: Path) -> None:
    banners = run(script, "--stage", "3").stderr.splitlines()
    assert len(banners) == 1
    assert banners[0].startswith("== stage 3: decode  (20")


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["--corpus", "a b"], "corpus=a b text"),
        (["--corpus=x=y"], "corpus=x=y text"),
        (["--corpus="], "corpus= text"),
        (["--corpus", "-1"], "corpus=-1 text"),
        (["--corpus=$(echo no)"], "corpus=$(echo no) text"),
        (["--learning-rate", "0.2", "--flag", "true"], "flag=true learning_rate=0.2"),
        (["--learning_rate=1", "--learning-rate=2"], "learning_rate=2"),
    ],
)
def test_an_option_sets_its_variable_to_exactly_what_was_given(
    script: Path, options: list[str], shown: str
) -> None:
    assert shown in run(script, *options).stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--stagee", "2"], "unknown option --stagee. Did you mean --stage?"),
        (["--learning-rat", "2"], "Did you mean --learning_rate?"),
        (["--zzzzzz", "2"], "The options are --stage --stop_stage --corpus --text --flag --learning_rate."),
        (["--late", "2"], "unknown option --late"),
        (["--other", "2"], "unknown option --other"),
        (["--langs", "2"], "unknown option --langs"),
        (["--ROOT", "2"], "unknown option --ROOT"),
        (["--http_proxy", "2"], "unknown option --http_proxy"),
        (["--corpus"], "--corpus needs a value"),
        (["--corpus", "--stage", "2"], "--corpus needs a value"),
        (["--flag", "yes"], "Give true or false"),
        (["--stage", "two"], "Give a number"),
        (["--stage", "4"], "--stage 4 is after the last stage, 3, so nothing would run."),
        (["--stage", "4", "--stop_stage", "9"], "--stage 4 is after the last stage, 3"),
        (["--stage", "3", "--stop_stage", "2"], "--stage 3 is after --stop_stage 2, so nothing would run."),
        (["--stop_stage", "0"], "--stage 1 is after --stop_stage 0"),
        (["talk.wav"], "unexpected argument 'talk.wav'"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(script: Path, options: list[str], said: str) -> None:
    done = run(script, *options)
    assert done.returncode == 2
    assert done.stdout == ""
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_help_shows_the_comment_and_the_defaults_and_runs_nothing(script: Path) -> None:
    done = run(script, "--help")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[:3] == ["Makes a thing.", "", "    ./run.sh --stage 2"]
    assert lines[5].split() == ["--stage", "1"]
    assert lines[7].split() == ["--corpus", "/data/mini"]
    assert lines[11:] == ["", f"Relative paths start from {Path.cwd()}."]


@pytest.fixture
def moving(script: Path) -> Path:
    """The script as recipes are: it changes to its own folder; here under its path from the one above."""
    text = script.read_text(encoding="utf-8")
    script.write_text(
        text.replace("set -euo pipefail", 'set -euo pipefail; cd "$(dirname "$0")"'), encoding="utf-8"
    )
    return script.relative_to(script.parents[1])


def test_the_options_are_found_after_the_script_changed_its_folder(moving: Path, tmp_path: Path) -> None:
    done = run(moving, "--corpus", "x", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "corpus=x text" in done.stdout


def test_a_path_of_the_folder_where_the_user_stands_is_pointed_out(moving: Path, tmp_path: Path) -> None:
    (tmp_path / "corp").mkdir()
    done = run(moving, "--corpus", "corp", "--stage", "3", folder=tmp_path)
    own = tmp_path / "my recipe"
    said = f"run.sh: --corpus corp is looked for in {own}; there is one in {tmp_path}: give {tmp_path}/corp."
    assert done.stderr.splitlines()[0] == said
    assert "corpus=corp" in done.stdout
    # No path by its default; absolute; and there in the script's own folder as well.
    (own / "corp").mkdir()
    for options in (["--text", "my recipe"], ["--corpus", str(own)], ["--corpus", "corp"], ["--corpus="]):
        assert "looked for" not in run(moving, *options, folder=tmp_path).stderr
    assert run(moving, "--help", folder=tmp_path).stdout.endswith(f"Relative paths start from {own}.\n")


def test_the_helper_is_clean_to_shellcheck() -> None:
    beside_python = Path(sys.executable).parent / "shellcheck"
    shellcheck = str(beside_python) if beside_python.exists() else shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run([shellcheck, str(HELPER)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout

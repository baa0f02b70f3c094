"""The steps that the recipes of translation share."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import yaml

EGS = Path(__file__).resolve().parents[2] / "egs"


def test_every_arm_is_pre_trained_alike_by_what_one_file_says(tmp_path: Path) -> None:
    said = {"updates": 7, "lr": 3.0e-4, "warmup": 0.2}
    (tmp_path / "pretrain.yaml").write_text(yaml.safe_dump({"siamese": {"weight": 0.1}, "trainer": said}))
    steps = f"""set -euo pipefail
        conf={shlex.quote(str(tmp_path))}
        . {shlex.quote(str(EGS / "st_steps.sh"))}
        python() {{ if [ "$1" = -m ]; then printf '%s\\t' "$@"; echo; else {shlex.quote(sys.executable)} "$@"; fi; }}
        pretrain_arms exp/ctc "1 2"
    """
    environment = {**os.environ, "PYTHONPATH": str(EGS.parent)}
    done = subprocess.run(["bash", "-c", steps], capture_output=True, text=True, env=environment, check=True)
    calls = [line.split("\t") for line in done.stdout.splitlines()]
    assert [(call[1], call[2].rpartition("/")[2]) for call in calls[:4]] == [
        ("recipes.train_st", "st.yaml"),
        *(3 * [("recipes.pretrain_siamese", "pretrain.yaml")]),
    ]
    assert len(calls) == 8
    for seed, call in ((1, calls[0]), (2, calls[4])):
        overrides = [word.split("=", 1) for word in call if "=" in word]
        trainer = [
            (name, yaml.safe_load(value)) for name, value in overrides if name.partition(".")[0] == "trainer"
        ]
        # The whole group first: it would undo a single setting before it.
        assert trainer == [("trainer", said), ("trainer.seed", seed)]


def test_a_retrieval_that_fails_is_no_result() -> None:
    for command, status, out in (("return 3", 3, ""), ("echo '{}'", 0, "m dev, text encoder of mt: {}\n")):
        steps = f"""set -euo pipefail
            . {shlex.quote(str(EGS / "st_steps.sh"))}
            python() {{ {command}; }}
            find_texts m manifest dev mt
        """
        done = subprocess.run(["bash", "-c", steps], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (status, out)


def test_arms_that_were_not_trained_are_left_out_of_decoding(tmp_path: Path) -> None:
    (tmp_path / "exp" / "st" / "ctc" / "1" / "model").mkdir(parents=True)
    steps = f"""set -euo pipefail
        . {shlex.quote(str(EGS / "st_steps.sh"))}
        python() {{ echo "$3"; }}
        decode_arms "ctc distilled" "1 2" manifest test
    """
    done = subprocess.run(["bash", "-c", steps], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "exp/st/ctc/1\n")
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == [
        "left out ctc/2",
        "left out distilled/1",
        "left out distilled/2",
    ]

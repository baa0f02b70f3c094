"""COMET (Rei et al. 2020) by the command of its own package, ``comet-score``.

unbabel-comet asks for older transformers and numpy than the rest, so it lives in an environment of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from lm.errors import InputError

COMMAND = "comet-score"
INSTALL = "pipx install unbabel-comet && pipx inject unbabel-comet 'setuptools<81'"
"""Version 2.2.7 uses the second without asking for it."""


def comet_scores(
    model: str, sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str]
) -> list[float]:
    """Score of each utterance, from 0 to about 1.

    Args:
        model: name or checkpoint.
        sources: texts of one line each, as ``hypotheses`` and ``references``.
    Raises:
        InputError: the command is not there, or cannot score.
    """
    command = shutil.which(COMMAND)
    if command is None:
        raise InputError(
            f"--comet needs the command {COMMAND}, and there is none. Install it beside loquela, whose packages are "
            f"too new for it: {INSTALL}."
        )
    import torch

    texts = {"sources": sources, "translations": hypotheses, "references": references}
    with TemporaryDirectory() as folder:
        words = [command, "--model", model, "--gpus", str(int(torch.cuda.is_available())), "--quiet"]
        for name, lines in texts.items():
            path = Path(folder, name)
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            words += [f"--{name}", str(path)]
        out = Path(folder, "scores.json")
        # A recipe's PYTHONPATH would put our packages before its own.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        run = subprocess.run(
            [*words, "--only_system", "--to_json", str(out)],
            env=environment, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False,
        )  # fmt: skip
        try:
            (rows,) = json.loads(out.read_text(encoding="utf-8")).values()
            scores = [float(row["COMET"]) for row in rows]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            said = (
                run.stderr.strip().rpartition("\n")[2].rstrip(".") or f"it ended with status {run.returncode}"
            )
            raise InputError(
                f"--comet {model}: {COMMAND} gave no scores: {said}. Give a checkpoint, or a name such as "
                "Unbabel/wmt22-comet-da and a network."
            ) from error
    if len(scores) != len(hypotheses):
        raise InputError(
            f"--comet {model}: {COMMAND} gave {len(scores)} scores of {len(hypotheses)}. Update unbabel-comet."
        )
    return scores

"""Which language helps which: ``python -m recipes.skill_graph a=exp/a b=exp/b a+b=exp/ab ...``.

Skill-it's graph (Chen et al. 2023, sec. 3.2): an edge from one language to another says that training
on both for as many updates leaves a lower dev loss on the second than training on the second
alone. Each run is one of ``recipes.finetune_ctc`` with ``languages: [a]`` or ``[a, b]``, the same
updates and ``ctc.mix.levels=[language] ctc.mix.temperature=[0]``, which draws a pair half and half. What is
printed is ``mix.skill_graph`` as YAML.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from itertools import permutations
from pathlib import Path

import yaml

from asr.cli import guarded
from asr.config import read_yaml
from lm.errors import InputError


def main() -> int:
    """Read the runs, print the graph."""
    parser = argparse.ArgumentParser(prog="python -m recipes.skill_graph", description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="LANGUAGES=EXP", help="a=exp/a, a+b=exp/ab")
    parser.add_argument("--weight", type=float, default=0.5, help="of an edge between two (paper: 0.5)")
    args = parser.parse_args()
    losses: dict[frozenset[str], dict[str, float]] = {}
    updates: dict[str, int] = {}
    for run in args.runs:
        names, equals, folder = run.partition("=")
        if not (names and equals and folder):
            raise InputError(f"{run!r}: write LANGUAGES=EXP, as in a+b=exp/ab.")
        updates[run], losses[frozenset(names.split("+"))] = last_evaluation(Path(folder))
        if "+" in names:
            check_drawn_alike(Path(folder))
    check_equally_long(updates)
    print(yaml.safe_dump({"skill_graph": graph(losses, args.weight)}, allow_unicode=True), end="")
    return 0


def graph(losses: dict[frozenset[str], dict[str, float]], weight: float) -> dict[str, dict[str, float]]:
    """Edges by who helps whom.

    Args:
        losses: languages of a run -> dev loss of each language at its end.
    Raises:
        InputError: a run is missing, or has no loss of its own languages.
    """
    for names, found_losses in losses.items():
        if missing := sorted(names - found_losses.keys()):
            raise InputError(
                f"the run on {'+'.join(sorted(names))} has no dev loss of {missing[0]}; it has those of "
                f"{', '.join(sorted(found_losses))}. Write the languages as its manifest does."
            )
    languages = sorted({language for run in losses for language in run})
    found: dict[str, dict[str, float]] = {language: {language: 1.0} for language in languages}
    for source, target in permutations(languages, 2):
        for needed in ({target}, {source, target}):
            if frozenset(needed) not in losses:
                raise InputError(
                    f"no run on {'+'.join(sorted(needed))}. Each language needs one alone and one with each other."
                )
        if losses[frozenset({source, target})][target] < losses[frozenset({target})][target]:
            found[source][target] = weight
    return found


def last_evaluation(exp: Path) -> tuple[int, dict[str, float]]:
    """After how many updates a run was last evaluated, and the dev loss of each language then.

    Raises:
        InputError: the folder has no evaluations by language.
    """
    try:
        lines = (exp / "history.jsonl").read_text(encoding="utf-8").splitlines()
        row = json.loads(lines[-1])
        update = int(row["update"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(f"{exp} has no history.jsonl with an evaluation. Train it first.") from error
    found = {name.removeprefix("loss/"): value for name, value in row.items() if name.startswith("loss/")}
    if not found:
        raise InputError(f"{exp} was not evaluated by language. Train it with ctc.mix.levels=[language].")
    return update, found


def check_equally_long(updates: Mapping[str, int]) -> None:
    """Refuse runs of different length: the longer has the lower loss whoever helps whom.

    Args:
        updates: a run -> the update of its last evaluation.
    Raises:
        InputError: they are not all the same.
    """
    if len(set(updates.values())) > 1:
        ends = ", ".join(f"{run} at update {update}" for run, update in updates.items())
        raise InputError(
            f"the runs were last evaluated after different numbers of updates: {ends}. Train all to the same "
            "trainer.updates, with trainer.patience=0; a run that broke off goes on when it is started again."
        )


def check_drawn_alike(exp: Path) -> None:
    """Refuse a run that did not draw as much of each of its languages.

    Raises:
        InputError: its ``config.yaml`` says so, or is missing.
    """
    temperature = read_yaml(exp / "config.yaml").get("ctc", {}).get("mix", {}).get("temperature")
    if temperature != [0]:
        raise InputError(
            f"{exp} was trained with ctc.mix.temperature={temperature}, which does not draw its languages half and "
            "half. Train it with ctc.mix.levels=[language] ctc.mix.temperature=[0]."
        )


if __name__ == "__main__":
    sys.exit(guarded(main))

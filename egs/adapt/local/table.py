"""Error rates of every arm over its seeds: ``table.py EXP MANIFEST --arms "none target" --labels "10" --seeds "1 2"``.

Means over the seeds; intervals by drawing utterances, with the errors of all seeds of an utterance
together; each arm against one of them on the same draws and seeds. What is not there is named on stderr.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml

from asr.bootstrap import paired_bootstrap, rate_interval
from asr.cli import guarded
from asr.score import METRICS, CorpusScore, score_corpus
from asr.score_files import read_hypotheses, read_references
from asr.text import TextPolicy
from egs.arms import by_seed, difference, runs_found


def main() -> int:
    """Score what is there, print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("exp", type=Path)
    parser.add_argument("manifest", type=Path)
    for name in ("arms", "labels", "seeds"):
        parser.add_argument(f"--{name}", required=True, type=str.split)
    parser.add_argument("--base", default="none", help="the arm that the others are compared with")
    args = parser.parse_args()
    runs = [f"{minutes}.{seed}" for minutes in args.labels for seed in args.seeds]
    files = {arm: {run: args.exp / arm / run / "test.tsv" for run in runs} for arm in args.arms}
    found = runs_found(files, args.base, args.exp)
    references = read_references(args.manifest, split="test").texts
    settings = yaml.safe_load(
        (Path(__file__).parents[1] / "conf" / "finetune.yaml").read_text(encoding="utf-8")
    )
    policy = TextPolicy.from_dict(settings["policy"])
    print(
        f"| labels | arm | seeds | CER % (95 %) | by seed | minus {args.base} | WER % (95 %) | minus {args.base} |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for minutes in args.labels:
        scores = {
            arm: {
                run: score_corpus(references, read_hypotheses([path]), policy)
                for run, path in own.items()
                if run.startswith(f"{minutes}.")
            }
            for arm, own in found.items()
        }
        for arm, own in scores.items():
            if own:
                row = [minutes, arm, *cells(own, {} if arm == args.base else scores[args.base])]
                print("| " + " | ".join(row) + " |")
    return 0


def cells(own: dict[str, CorpusScore], base: dict[str, CorpusScore]) -> list[str]:
    """The rest of an arm's row, from its scores and the base's by run."""
    row = [str(len(own))]
    shared = [run for run in own if run in base]
    for metric in METRICS[::-1]:
        errors, lengths = totals(list(own.values()), metric)
        interval = rate_interval(errors, lengths)
        rate = 100 * sum(errors) / sum(lengths)
        row.append(f"{rate:.1f} ({100 * interval.low:.1f} to {100 * interval.high:.1f})")
        if metric == "cer":
            row.append(by_seed([100 * score.counts(metric).rate for score in own.values()]))
        pairs = [own[run] for run in shared], [base[run] for run in shared]
        row.append(against(*pairs, metric) if shared else "")
    return row


def totals(scores: list[CorpusScore], metric: str) -> tuple[list[int], list[int]]:
    """Errors and lengths of each utterance, summed over the seeds."""
    counts = [[each.counts(metric) for each in score.utterances] for score in scores]  # type: ignore[arg-type]
    errors = [sum(count.errors for count in utterance) for utterance in zip(*counts, strict=True)]
    lengths = [sum(count.length for count in utterance) for utterance in zip(*counts, strict=True)]
    return errors, lengths


def against(scores: list[CorpusScore], base: list[CorpusScore], metric: str) -> str:
    """Difference to the base with its interval and p-value."""
    errors, lengths = totals(scores, metric)
    found = paired_bootstrap(errors, totals(base, metric)[0], lengths)
    return difference(found.difference, found.interval, found.p_value, scale=100)


if __name__ == "__main__":
    sys.exit(guarded(main))

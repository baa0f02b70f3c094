"""Error rates of every arm over its seeds: ``table.py EXP MANIFEST --arms "none target" --labels "10" --seeds "1 2"``.

Means over the seeds; intervals by drawing utterances, with the errors of all seeds of an utterance
together; each arm against one of them on the same draws.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

import yaml

from asr.bootstrap import paired_bootstrap, rate_interval
from asr.cli import guarded
from asr.score import METRICS, CorpusScore, score_corpus
from asr.score_files import read_hypotheses, read_references
from asr.text import TextPolicy


def main() -> int:
    """Score what is there, print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("exp", type=Path)
    parser.add_argument("manifest", type=Path)
    for name in ("arms", "labels", "seeds"):
        parser.add_argument(f"--{name}", required=True, type=str.split)
    parser.add_argument("--base", default="none", help="the arm that the others are compared with")
    args = parser.parse_args()
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
        base: list[CorpusScore] = []
        for arm in args.arms:
            scores = []
            for seed in args.seeds:
                run = args.exp / arm / f"{minutes}.{seed}"
                if (run / "test.tsv").is_file():
                    scores.append(score_corpus(references, read_hypotheses([run / "test.tsv"]), policy))
            if not scores:
                continue
            base = base or (scores if arm == args.base else [])
            cells = [minutes, arm, str(len(scores))]
            for metric in METRICS[::-1]:
                errors, lengths = totals(scores, metric)
                interval = rate_interval(errors, lengths)
                rate = 100 * sum(errors) / sum(lengths)
                cells.append(f"{rate:.1f} ({100 * interval.low:.1f} to {100 * interval.high:.1f})")
                if metric == "cer":
                    rates = [100 * score.counts(metric).rate for score in scores]
                    deviation = f" ±{statistics.stdev(rates):.1f}" if len(rates) > 1 else ""
                    cells.append(" ".join(f"{rate:.1f}" for rate in rates) + deviation)
                cells.append(
                    "" if arm == args.base or len(base) != len(scores) else against(scores, base, metric)
                )
            print("| " + " | ".join(cells) + " |")
    return 0


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
    low, high = 100 * found.interval.low, 100 * found.interval.high
    return f"{100 * found.difference:+.1f} ({low:+.1f} to {high:+.1f}), p {found.p_value:.3f}"


if __name__ == "__main__":
    sys.exit(guarded(main))

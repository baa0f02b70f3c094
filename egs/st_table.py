"""Scores of translation by arm: ``st_table.py EXP MANIFEST --split test --arms "ctc ot" --seeds "1 2 3" --base ctc``.

EXP holds ARM/SEED/SPLIT.tsv; what is not there is left out and named on stderr. The statistics of an utterance are
those of all seeds together; intervals by drawing utterances; each arm against one of them on the same draws and seeds.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from asr.cli import guarded
from asr.manifest import read_manifest
from asr.score_files import read_hypotheses
from egs.arms import by_seed, difference, runs_found
from st.score import TranslationScore, one_line, score_translations
from st.score_report import verbatim

METRICS = ("chrf", "bleu")


def main() -> int:
    """Score what is there, print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("exp", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--split", default="test")
    for name in ("arms", "seeds"):
        parser.add_argument(f"--{name}", required=True, type=str.split)
    parser.add_argument("--base", default="ctc", help="the arm that the others are compared with")
    parser.add_argument("--unseen", action="store_true", help="leave out references that occur in training")
    args = parser.parse_args()
    files = {
        arm: {seed: args.exp / arm / seed / f"{args.split}.tsv" for seed in args.seeds} for arm in args.arms
    }
    paths = runs_found(files, args.base, args.exp)
    references = {row.id: row.translation for row in read_manifest(args.manifest, split=args.split)}
    wanted, what = {name for name, text in references.items() if text.strip()}, "utterances"
    if args.unseen:
        training = verbatim([row.translation for row in read_manifest(args.manifest, split="train")])
        wanted = {name for name in wanted if one_line(references[name]) not in training}
        what += " whose reference occurs in no training translation"
    scores = {
        arm: {
            seed: score_translations(references, read_hypotheses([path])).select(wanted)
            for seed, path in of_arm.items()
        }
        for arm, of_arm in paths.items()
    }
    print(f"\n{args.split}: {len(wanted)} {what}\n")
    columns = [f"{name} (95 %) | by seed | minus {args.base}" for name in ("chrF++", "BLEU")]
    print(f"| arm | seeds | {' | '.join(columns)} |\n|{'---|' * 8}")
    for arm, found in scores.items():
        if not found:
            continue
        own, cells = together(list(found.values())), [arm, str(len(found))]
        shared = [seed for seed in found if seed in scores.get(args.base, {})]
        for metric in METRICS:
            interval = own.interval(metric)
            cells += [
                f"{own.score(metric):.1f} ({interval.low:.1f} to {interval.high:.1f})",
                by_seed([score.score(metric) for score in found.values()]),
                against(found, scores[args.base], shared, metric) if shared and arm != args.base else "",
            ]
        print("| " + " | ".join(cells) + " |")
    return 0


def together(scores: list[TranslationScore]) -> TranslationScore:
    """One score of several seeds: their statistics added up, utterance by utterance."""
    return replace(
        scores[0],
        metrics={
            key: replace(
                metric, statistics=np.sum([score.metrics[key].statistics for score in scores], axis=0)
            )
            for key, metric in scores[0].metrics.items()
        },
    )


def against(
    own: dict[str, TranslationScore], base: dict[str, TranslationScore], seeds: list[str], metric: str
) -> str:
    """Difference to the base over the seeds that both have, with its interval and p-value."""
    found = together([own[seed] for seed in seeds]).compare(together([base[seed] for seed in seeds]), metric)
    return difference(found.difference, found.interval, found.p_value)


if __name__ == "__main__":
    sys.exit(guarded(main))

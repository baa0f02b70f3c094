"""``loquela corpus align``: recordings with loose transcripts in, a manifest of what is surely said out."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from asr.cli.align import add_aligner_arguments, add_tier_argument, aligner_of, report_doubts
from asr.cli.jobs import check_manifest_out, progress_bar, report
from asr.names import given_path
from lm.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options in the order a recording travels."""
    parser.add_argument("recordings", type=given_path, help="folder of recordings")
    parser.add_argument(
        "--transcripts",
        type=given_path,
        metavar="DIR",
        help="folder of transcripts with the recordings' names, .txt with a line for each utterance or another "
        "format that loquela writes, or .eaf or .TextGrid of others (default: that of the recordings)",
    )
    add_tier_argument(
        parser,
        "tier of .eaf or .TextGrid files, which then are the only transcripts, or a pattern; repeatable",
    )
    parser.add_argument(
        "--out",
        required=True,
        type=given_path,
        metavar="DIR",
        help="where manifest.tsv goes, rejected.tsv with the lines below the threshold, and alignments.jsonl, from "
        "which a run that was stopped goes on",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace manifests that exist")
    parser.add_argument("--language", default="", metavar="CODE", help="of every utterance")
    add_aligner_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Align every recording that can be; 1 when one could not."""
    from asr.align.corpus import align_corpus, find_pairs
    from asr.align.scores import table_of_scores
    from asr.manifest import total_hours, write_manifest
    from asr.names import shown

    manifest, rejected = args.out / "manifest.tsv", args.out / "rejected.tsv"
    for path in (manifest, rejected):
        check_manifest_out(path, args.overwrite)
    pairs, problems = find_pairs(
        args.recordings,
        args.transcripts or args.recordings,
        tiered=bool(args.tier),
        channel=args.channel,
    )
    for problem in problems:
        report(problem)
    if not pairs:
        raise InputError(f"{shown(args.recordings)}: no recording that can be aligned. See above.")
    aligner = aligner_of(args)
    with ExitStack() as bars:

        def begin(recording: Path) -> Callable[[float], None]:
            bars.pop_all().close()
            return bars.enter_context(progress_bar(recording))

        made = align_corpus(
            aligner,
            pairs,
            args.out / "alignments.jsonl",
            tiers=args.tier,
            language=args.language,
            begin=begin,
        )
    for problem in made.problems:
        report(problem)
    if not made.utterances:
        raise InputError(f"{shown(args.recordings)}: no line is surely said; nothing was written. See above.")
    for alignment in made.alignments:
        report_doubts(alignment, made.threshold)
    placed = [each.score for alignment in made.alignments for each in alignment.placed]
    decoys = [score for alignment in made.alignments for score in alignment.decoys]
    passing = sum(score > made.threshold for score in decoys)
    print(table_of_scores({"lines": placed, "decoys": decoys}))
    print(
        f"threshold {made.threshold:.2f}: above it are {passing} of {len(decoys)} decoys (wanted: at most "
        f"{100 * args.false_accepts:g} %) and {len(made.utterances)} of {len(made.utterances) + len(made.rejected)} "
        f"lines; {len(made.utterances) + len(made.rejected) - len(placed)} lines were not heard at all"
    )
    write_manifest(made.utterances, manifest)
    write_manifest(made.rejected, rejected)
    print(f"{shown(manifest)}: {len(made.utterances)} utterances, {total_hours(made.utterances):.2f} hours")
    print(f"{shown(rejected)}: {len(made.rejected)} lines to look at")
    return int(bool(problems or made.problems))

"""``loquela corpus recut``: a manifest of recordings in, one whose utterances begin and end within sentences out."""

from __future__ import annotations

import argparse
import sys
from functools import partial

from asr.cli.jobs import check_manifest_out, report
from asr.names import given_path
from lm.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``corpus recut``."""
    parser.add_argument(
        "manifest", type=given_path, help="manifest.tsv of recordings with several utterances each"
    )
    parser.add_argument("--corpus", default="", metavar="DIR", help="where relative audio paths start")
    parser.add_argument("--split", default="", metavar="NAME", help="only this split")
    parser.add_argument("--model", required=True, metavar="M", help="recogniser that finds the words in time")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument(
        "--alignment",
        type=given_path,
        metavar="FILE",
        help="words of text and translation that belong together, as fast_align writes them, a line for each row "
        "that has both; without it translations are cut in proportion",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the draws (default: 1)")
    parser.add_argument(
        "--max-duration", type=float, default=30.0, metavar="S", help="longest new utterance (default: 30)"
    )
    parser.add_argument(
        "--max-pause",
        type=float,
        default=1.0,
        metavar="S",
        help="longest pause between two utterances that are joined: in a longer one something may be said that has "
        "no text; how many are kept apart for it is told (default: 1)",
    )
    parser.add_argument("--out", required=True, type=given_path, metavar="TSV", help="manifest to write")
    parser.add_argument("--overwrite", action="store_true", help="replace a manifest of an earlier run")


def run(args: argparse.Namespace) -> int:
    """Align, cut, write; 1 when an utterance had to be passed over."""
    from asr.align.texts import words_of
    from asr.align.words import words_in_time
    from asr.manifest import Utterance, read_manifest, total_hours, write_manifest
    from asr.names import shown
    from asr.opened import open_model
    from asr.recut import read_alignments, recut

    if not args.max_duration > 0:  # nan, too
        raise InputError(f"--max-duration is {args.max_duration:g}. Give seconds above 0.")
    if not args.max_pause >= 0:
        raise InputError(f"--max-pause is {args.max_pause:g}. Give seconds from 0.")
    check_manifest_out(args.out, args.overwrite, filter(None, [args.manifest, args.alignment]))
    rows = read_manifest(args.manifest, split=args.split, corpus=args.corpus)
    whole = read_manifest(args.manifest, corpus=args.corpus)
    others = [row for row in whole if args.split and row.split != args.split]
    alignments = read_alignments(args.alignment, rows) if args.alignment else None
    model = open_model(args.model, device=args.device).model
    words, failed = {}, False
    for row, found in words_in_time(model, rows):
        if isinstance(found, InputError):
            failed |= report(found)
        else:
            words[row.id] = found
    apart: list[tuple[Utterance, Utterance]] = []
    # The other splits' rows have no words here, so that nothing reaches across them; behind ours, they leave
    # the draws as they are.
    made = list(
        recut(
            [*rows, *others],
            words,
            seed=args.seed,
            longest_s=args.max_duration,
            max_pause_s=args.max_pause,
            alignments=alignments,
            words_of=partial(words_of, policy=model.tokenizer.policy),
            apart=lambda one, other: apart.append((one, other)),
        )
    )
    if not made:
        raise InputError(
            f"{shown(args.manifest)}: nothing to cut. Give rows with texts of more than one word."
        )
    write_manifest(made, args.out)
    if apart:
        print(
            f"note: {len(apart)} time(s) two utterances were not joined, as the pause between them is longer than "
            f"{args.max_pause:g} s, the first of them {apart[0][0].id} and {apart[0][1].id}. If nothing is said in "
            "such pauses, give a longer --max-pause.",
            file=sys.stderr,
        )
    print(
        f"{shown(args.out)}: {len(made)} utterances, {total_hours(made):.2f} hours, of {len(rows)} of "
        f"{total_hours(rows):.2f}"
    )
    return int(failed)

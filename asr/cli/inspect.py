"""``loquela inspect``: codes by language, what layers know, how far attention looks."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from asr.cli.jobs import positive
from asr.names import given_path

if TYPE_CHECKING:
    from asr.manifest import Utterance


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "model", type=given_path, help="experiment or model folder, or the name of a published encoder"
    )
    parser.add_argument("manifest", type=given_path, help="manifest.tsv of what the encoder is to hear")
    parser.add_argument("--split", default="dev", metavar="NAME", help="rows to hear (default dev)")
    parser.add_argument(
        "--by", default="language", metavar="COLUMN", help="column that groups them (default language)"
    )
    parser.add_argument(
        "--recogniser",
        type=given_path,
        metavar="MODEL",
        help="whose letters the frame probe tells apart (default: the model itself)",
    )
    parser.add_argument(
        "--most", type=positive, default=200, metavar="N", help="utterances of each group (default 200)"
    )
    parser.add_argument("--no-plots", action="store_true", help="tables alone")
    parser.add_argument(
        "--out", type=given_path, required=True, metavar="DIR", help="where tables and plots go"
    )


def run(args: argparse.Namespace) -> int:
    """Measure, write; an analysis that does not apply, and audio that gives nothing, is named and left out.

    Returns:
        1 if audio was left out, or if no analysis applied.
    """
    import sys

    from asr.inspect.report import inspect_model
    from asr.manifest import read_manifest
    from asr.mixing import group_of

    groups: dict[str, list[Utterance]] = {}
    for row in read_manifest(args.manifest, split=args.split):
        members = groups.setdefault(group_of(row, (args.by,))[0] or "-", [])
        if len(members) < args.most:
            members.append(row)
    found = inspect_model(
        args.model, groups, args.out, by=args.by, recogniser=args.recogniser, pictures=not args.no_plots
    )
    for line in found.skipped:
        print(f"left out: {line}", file=sys.stderr)
    for path in found.written:
        print(path)
    return int(bool(found.unheard) or not found.written)

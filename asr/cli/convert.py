"""``loquela convert``: wav2vec 2.0 between the layouts of transformers, fairseq and fairseq2."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "source", help="hub name, folder of transformers', fairseq's or fairseq2's .pt, or asset name"
    )
    parser.add_argument("out", type=Path, help="folder (transformers) or .pt file to write")
    parser.add_argument(
        "--to", required=True, choices=("transformers", "fairseq", "fairseq2"), help="layout to write"
    )


def run(args: argparse.Namespace) -> int:
    """Read, write, compare, print the difference."""
    from asr.encoder.convert import convert
    from asr.encoder.pretrained import load_checkpoint, load_pretrained

    checkpoint = load_checkpoint(args.source)
    found = convert(checkpoint.encoder, checkpoint.head, args.out, args.to, load_pretrained)
    print(f"{args.out}: largest difference of the outputs on fixed audio {found:.2g}")
    return 0

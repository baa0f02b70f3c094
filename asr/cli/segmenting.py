"""The options of commands that cut recordings."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from asr.names import given_path
from lm.errors import InputError

if TYPE_CHECKING:
    from asr.segment import SegmenterConfig


def add_segmenter_arguments(group: argparse._ArgumentGroup) -> None:
    """``--segmenter`` and its settings."""
    group.add_argument(
        "--segmenter",
        default="vad",
        metavar="S",
        help="vad: in pauses; energy: where it is no louder than around; dac: at the longest pauses until all fits; "
        "hybrid: at the longest pause between two lengths; ctc-dac, ctc-hybrid: the same with the pauses that a "
        "recogniser hears; fixed: in even windows; pdac, pstrm, pthr: where a trained "
        "classifier hears sentences end, the least likely frames until all fits, the least likely one in each "
        "stretch, or below a threshold (default: vad)",
    )
    group.add_argument("--max-segment", type=float, metavar="S", help="longest segment in seconds")
    group.add_argument("--min-segment", type=float, metavar="S", help="shortest segment in seconds")
    group.add_argument(
        "--vad-mode", type=int, choices=range(4), help="how readily webrtcvad calls a sound no speech, 0 to 3"
    )
    group.add_argument(
        "--segmenter-option",
        type=_named_number,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other setting of the segmenter, as keep_s=0.25 or threshold=0.3 (a name that it has not lists those "
        "that it has); may be given several times",
    )
    group.add_argument(
        "--segmenter-model",
        type=given_path,
        metavar="DIR",
        help="classifier for pdac, pstrm and pthr, from recipes.train_segmenter (default: the one that comes along); "
        "recogniser for ctc-dac and ctc-hybrid (default: --model, where there is one)",
    )


def segmenter_settings(args: argparse.Namespace) -> SegmenterConfig:
    """What the arguments say of the segmenter.

    Raises:
        InputError: a setting is not this segmenter's or is given twice, or its model is given to one that has none.
    """
    from asr.segment import CLASSIFIED, RECOGNISED, settings_for

    if args.segmenter_model and args.segmenter not in (*CLASSIFIED, *RECOGNISED):
        raise InputError(
            f"--segmenter-model is given, and --segmenter {args.segmenter} has none. "
            f"Choose one of {', '.join((*CLASSIFIED, *RECOGNISED))}."
        )
    given = {"max_segment_s": args.max_segment, "min_segment_s": args.min_segment, "mode": args.vad_mode}
    for name, value in args.segmenter_option:
        if given.get(name) is not None:
            raise InputError(
                f"setting {name} is given twice, as {given[name]:g} and {value:g}. Leave one out."
            )
        given[name] = value
    return settings_for(args.segmenter, **given)


def _named_number(word: str) -> tuple[str, float]:
    """A name and its number; whole ones stay whole.

    >>> _named_number("frame_ms=20"), _named_number("keep_s=0.25")
    (('frame_ms', 20), ('keep_s', 0.25))
    """
    name, _, text = word.partition("=")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (name and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"{word!r} is no NAME=VALUE with a number, as keep_s=0.25.")
    return name.strip(), int(text) if text.strip().lstrip("+-").isdigit() else value

"""``loquela translate``: recordings in, transcripts with translations out."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from asr.cli import transcribe
from lm.errors import InputError

if TYPE_CHECKING:
    from st.translate import Translator


TRANSCRIPTS_ALONE = ("ctm", "stm")
"""Formats of recognition, which have words and times and no place for a translation."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of ``loquela transcribe``, and those of the translation."""
    transcribe.add_arguments(parser)
    group = parser.add_argument_group("translation")
    group.add_argument(
        "--cascade",
        metavar="MT",
        help="translate the transcripts of --model, a recogniser, with this text translator: "
        "a folder, or a model of transformers (NLLB, M2M-100, mBART, Marian) by folder or hub name",
    )
    group.add_argument(
        "--source-language", default="", metavar="CODE", help="of the recordings, as the MT model names it"
    )
    group.add_argument(
        "--target-language", default="", metavar="CODE", help="of the translations, as the MT model names it"
    )
    group.add_argument("--translation-beam", type=int, default=5, metavar="N", help="beam width (default: 5)")
    group.add_argument(
        "--length-penalty",
        type=float,
        default=1.0,
        metavar="P",
        help="power of the length that scores are divided by (default: 1)",
    )
    group.add_argument(
        "--ctc-weight",
        type=float,
        default=0.0,
        metavar="W",
        help="share of the CTC score of translations, for a model trained with it (default: 0)",
    )
    group.add_argument(
        "--max-labels",
        type=int,
        default=1000,
        metavar="N",
        help="most labels of a translation (default: 1000)",
    )
    group.add_argument(
        "--max-ratio",
        type=float,
        default=2.0,
        metavar="R",
        help="most labels for each frame that is heard, or label that is read, beyond 200 (default: 2)",
    )
    group.add_argument(
        "--hand-over",
        type=int,
        default=1,
        metavar="N",
        help="readings of each segment that a cascade translates; the best by both scores is kept (default: 1)",
    )
    group.add_argument(
        "--no-transcript", action="store_true", help="leave out the text in the source language"
    )


def run(args: argparse.Namespace) -> int:
    """Translate every input that can be; 1 when one could not."""
    for option, given in (
        ("--source-language", args.source_language),
        ("--hand-over", args.hand_over != 1),
    ):
        if given and not args.cascade:
            raise InputError(f"{option} is for a cascade. Give --cascade too, or leave it out.")
    if bare := [name for name in args.format or () if name in TRANSCRIPTS_ALONE]:
        named = " and ".join(f".{name}" for name in bare)
        if args.no_transcript:
            raise InputError(
                f"{named} files have no place for translations, and --no-transcript leaves out the rest. Give another "
                "--format, as srt or json."
            )
        print(f"{named} files have no place for translations: they get the transcript alone", file=sys.stderr)
    return transcribe.run_with(args, _load)


def _load(args: argparse.Namespace) -> Translator:
    from st.search import TranslationSearchConfig
    from st.translate import TranslateConfig, Translator

    return Translator.load(
        args.model,
        cascade=args.cascade,
        lm=args.lm,
        language=args.language,
        source_language=args.source_language,
        target_language=args.target_language,
        device=args.device,
        config=TranslateConfig(
            transcribe=transcribe.settings_of(args),
            search=TranslationSearchConfig(
                beam=args.translation_beam,
                length_penalty=args.length_penalty,
                ctc_weight=args.ctc_weight,
                max_labels=args.max_labels,
                max_ratio=args.max_ratio,
            ),
            transcript=not args.no_transcript,
            hand_over=args.hand_over,
        ),
        decoding=transcribe.decoding_of(args),
    )

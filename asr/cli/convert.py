"""``loquela convert``: encoders, with their CTC layer, to the layout of transformers, fairseq or fairseq2."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from asr.names import given_path
from lm.errors import InputError

if TYPE_CHECKING:
    from asr.encoder import Encoder
    from asr.encoder.export import CtcHead


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "source",
        help="experiment or model folder, hub name, folder of transformers', .pt of fairseq or fairseq2, or asset name",
    )
    parser.add_argument("out", type=given_path, help="folder (transformers) or .pt file to write")
    parser.add_argument(
        "--to", required=True, choices=("transformers", "fairseq", "fairseq2"), help="layout to write"
    )
    parser.add_argument("--encoder", action="store_true", help="the encoder alone, without its CTC layer")
    parser.add_argument(
        "--language", default="", metavar="CODE", help="of a model with an adapter for each (MMS)"
    )


def run(args: argparse.Namespace) -> int:
    """Read, write, compare, print the difference; what the layout has no place for is told on stderr."""
    from asr.encoder.convert import convert
    from asr.encoder.published import are_pieces

    encoder, head, left = read_parts(
        args.source, encoder_only=args.encoder, language=args.language, to=args.to
    )
    found = convert(encoder, head, args.out, args.to)
    for what in left:
        print(f"left behind: {what}", file=sys.stderr)
    if args.to == "fairseq" and head and are_pieces(head.surfaces):
        print("its labels are pieces: decode in fairseq with post_process=sentencepiece", file=sys.stderr)
    of = "CTC layer's outputs" if head else "encoder's outputs"
    print(f"{args.out}: largest difference of the {of} on fixed audio {found:.2g}")
    return 0


def read_parts(
    source: str, *, encoder_only: bool, language: str, to: str
) -> tuple[Encoder, CtcHead | None, list[str]]:
    """Encoder and CTC layer of any model, and what of it cannot be taken along."""
    from asr.card import own_folder, read_card
    from asr.encoder import build_encoder
    from asr.encoder.export import CtcHead
    from asr.encoder.pretrained import open_published, published_encoder, published_objective
    from asr.encoder.published import is_recogniser, load_published
    from asr.encoder.saved import saved_objective
    from asr.model import load_model

    left: list[str] = []
    encoder: Encoder
    if own := own_folder(source):
        if encoder_only or read_card(own).get("holds", "recogniser") != "recogniser":
            left += ["the layers of the pretraining objective"] * bool(saved_objective(own))
            return build_encoder({"kind": "saved", "source": str(own)}), None, left
        model = load_model(own)
        if model.per_frame != 1:
            raise InputError(
                f"model {source}: it emits {model.per_frame} times a frame, which no other layout does. Give --encoder."
            )
        encoder = model.encoder
        head = CtcHead(model.head, tuple(model.tokenizer.surfaces), model.tokenizer.blank)
        head = head.without(model.tokenizer.languages.values())
    else:
        files = open_published(source)
        if encoder_only or not is_recogniser(files):
            left += ["the quantiser and projections of pretraining"] * bool(published_objective(files))
            # What its files say of normalisation goes along as it is: nothing is trained or heard with it here.
            return published_encoder(files, language=language), None, left
        try:
            published = load_published(files, language=language)
        except InputError as error:
            raise InputError(f"{error} Or give --encoder, which leaves the CTC layer.") from error
        encoder, head = published.encoder, CtcHead(published.head, published.surfaces, published.blank)
    if to == "fairseq2":
        left.append("what the labels write: fairseq2 keeps that in a sentencepiece model")
    return encoder, head, left

"""Pack a model for shipping: ``python -m recipes.pack EXP --lm EXP/lm --card CARD.md --out DIR``.

Half-precision weights, the language model as ``lm/`` inside the folder, and the model card. The
result is what ``loquela transcribe`` or ``loquela translate`` take as ``--model DIR`` (a segmenter's: as
``--segmenter-model DIR``), and is scored as it ships.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from asr.cli import guarded
from asr.decode import reconcile
from asr.model import pack_model
from asr.names import given_path
from asr.opened import tuned_search
from asr.segment.classifier import is_classifier, pack_classifier
from asr.text import tokenizer_file
from asr.tokenizer import Tokenizer
from lm.errors import InputError
from lm.folder import LanguageModel
from st.model import is_translator, pack_translator


def main() -> int:
    """Parse, pack, print the size."""
    parser = argparse.ArgumentParser(prog="python -m recipes.pack", description=__doc__)
    parser.add_argument("model", help="experiment or model folder")
    parser.add_argument("--lm", type=given_path, help="language model folder to put inside")
    parser.add_argument(
        "--card", type=given_path, help="model card in Markdown: data, licence, scores, limits"
    )
    parser.add_argument(
        "--out", type=given_path, required=True, help="folder to write; replaced if it exists"
    )
    args = parser.parse_args()
    # A damaged one is refused before it is shipped.
    language_model = LanguageModel.load(args.lm) if args.lm else None
    if args.card and not args.card.is_file():
        raise InputError(
            f"--card {args.card}: no such file. Write down where the data come from and what the model is good for."
        )
    if is_classifier(args.model):
        if args.lm:
            raise InputError(f"--lm is given, and {args.model} is a segmenter. Leave it out.")
        pack_classifier(args.model, args.out, readme=args.card)
    else:
        if language_model:
            refuse_unfit(Path(args.model), language_model)
        pack = pack_translator if is_translator(args.model) else pack_model
        pack(args.model, args.out, lm=args.lm, readme=args.card)
    for path in sorted(args.out.rglob("*")):
        if path.is_file():
            print(f"{path.stat().st_size:>10}  {path.relative_to(args.out)}")
    print(f"{sum(path.stat().st_size for path in args.out.rglob('*')) / 1e6:.2f} MB in {args.out}")
    return 0


def refuse_unfit(model: Path, language_model: LanguageModel) -> None:
    """Fail as `loquela transcribe` would with this model and what of the language model was chosen in tuning.

    Raises:
        InputError: it is for another alphabet, or for other pieces.
    """
    chosen, config = tuned_search(language_model, {})
    assert chosen
    assert config
    surfaces = Tokenizer.load(tokenizer_file(model)).surfaces
    reconcile(surfaces, chosen, with_pieces=config.piece_weight > 0)


if __name__ == "__main__":
    sys.exit(guarded(main))

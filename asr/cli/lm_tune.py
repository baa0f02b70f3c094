"""``loquela lm tune``: the decoder's weights on dev, saved with the language model."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asr.decode import BeamSearchConfig, FloatArray
    from asr.tune import MakeDecoder

HELP = "choose the decoder's weights on dev and save them with the language model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``lm tune``."""
    parser.add_argument("--model", required=True, metavar="M", help="experiment or model folder")
    parser.add_argument(
        "--lm",
        required=True,
        type=Path,
        metavar="DIR",
        help="language model folder; its lm.json takes the weights",
    )
    parser.add_argument("--language", default="", help="of a published model that has several")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--manifest", required=True, type=Path, metavar="TSV")
    parser.add_argument(
        "--split", default="dev", help="utterances to tune on; never the test split (default: dev)"
    )
    parser.add_argument(
        "--corpus", default="", metavar="DIR", help="folder that relative audio paths start from"
    )
    parser.add_argument(
        "--units",
        choices=("both", "word", "character"),
        default="both",
        help="which of the language models to tune with; only `both` is saved in lm.json",
    )
    parser.add_argument("--beam", type=int, default=64, metavar="N", help="beam width (default: 64)")
    parser.add_argument("--table", type=Path, metavar="TSV", help="write everything that was tried")


def run(args: argparse.Namespace) -> int:
    """Tune; prints the chosen weights and whether they lie on the edge of what was tried."""
    from dataclasses import asdict

    from asr.decode import BeamSearchConfig, build_decoder
    from asr.emissions import utterance_emissions
    from asr.manifest import read_manifest, with_text
    from asr.transcribe import open_model
    from asr.tune import tune
    from lm.errors import InputError
    from lm.folder import LanguageModel, set_decoding

    model = open_model(args.model, args.language, args.device).model
    tokenizer = model.tokenizer
    language_model = LanguageModel.load(args.lm).only(args.units)
    emissions, references, failed = [], [], False
    for utterance, values in utterance_emissions(
        model, with_text(read_manifest(args.manifest, split=args.split, corpus=args.corpus))
    ):
        if isinstance(values, InputError):
            print(f"left out: {values}", file=sys.stderr)
            failed = True
        else:
            emissions.append(values)
            references.append(tokenizer.policy(utterance.text))
    result = tune(
        emissions,
        references,
        lambda config: build_decoder(tokenizer.surfaces, tokenizer.blank, language_model, config),
        language_model,
        start=BeamSearchConfig(beam_width=args.beam),
        report=lambda line: print(line, file=sys.stderr, flush=True),
    )
    config, before, after = _calibrated(
        result.config,
        lambda config: build_decoder(tokenizer.surfaces, tokenizer.blank, language_model, config),
        emissions,
        references,
    )
    chosen = {name: value for name, value in asdict(config).items() if name != "num_hypotheses"}
    if args.units == "both":
        set_decoding(args.lm, chosen)
    print(
        json.dumps(
            {
                "wer": round(result.wer, 5),
                "cer": round(result.cer, 5),
                "utterances": len(references),
                "on_edge": list(result.edges),
                "calibration_error": {"raw": round(before, 5), "calibrated": round(after, 5)},
                "decoding": chosen,
            }
        )
    )
    if args.table:
        args.table.parent.mkdir(parents=True, exist_ok=True)
        names = sorted({name for trial in result.trials for name in trial.weights})
        rows = [
            [
                *(f"{trial.weights[name]:g}" for name in names),
                f"{trial.wer:.5f}",
                f"{trial.cer:.5f}",
                str(trial.decoded),
            ]
            for trial in result.trials
        ]
        args.table.write_text(
            "\n".join("\t".join(row) for row in [[*names, "wer", "cer", "decoded"], *rows]) + "\n",
            encoding="utf-8",
        )
    return int(failed)


def _calibrated(
    config: BeamSearchConfig,
    make_decoder: MakeDecoder,
    emissions: Sequence[FloatArray],
    references: Sequence[str],
) -> tuple[BeamSearchConfig, float, float]:
    """The settings with confidences of words that fit dev, and the expected calibration errors there, raw and so.

    The second is measured on what it was fitted to.
    """
    from dataclasses import replace

    from asr.calibration import fit_calibration, reliability, words_judged
    from asr.decode import decode_all
    from asr.decode.confidence import calibrated

    sure: list[float] = []
    right: list[bool] = []
    for reference, (best, *_) in zip(references, decode_all(make_decoder(config), emissions), strict=True):
        sure += [word.confidence for word in best.words]
        right += words_judged(reference, best.text)
    if not sure:
        return config, 0.0, 0.0
    scale, shift = fit_calibration(sure, right)
    fitted = [calibrated(each, scale, shift) for each in sure]
    errors = [reliability(each, right).ece for each in (sure, fitted)]
    return replace(config, confidence_scale=scale, confidence_shift=shift), errors[0], errors[1]

"""``loquela lm tune``: the decoder's weights, and which n-grams to use, on dev; saved with the language model."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr.names import given_path

if TYPE_CHECKING:
    from asr.decode import Hypothesis
    from asr.decode import LanguageModel as FusedModel
    from asr.tune import ArmResult, TuneResult
    from lm.folder import LanguageModel, Unit, Units

HELP = "choose n-grams and the decoder's weights on dev, and save the choice with the language model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``lm tune``."""
    parser.add_argument("--model", required=True, metavar="M", help="experiment or model folder")
    parser.add_argument(
        "--lm",
        required=True,
        type=given_path,
        metavar="DIR",
        help="language model folder; its lm.json takes the choice",
    )
    parser.add_argument("--language", default="", help="of a published model that has several")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--manifest", required=True, type=given_path, metavar="TSV")
    parser.add_argument(
        "--split", default="dev", help="utterances to tune on; never the test split (default: dev)"
    )
    parser.add_argument(
        "--corpus", default="", metavar="DIR", help="folder that relative audio paths start from"
    )
    parser.add_argument(
        "--units",
        choices=("both", "word", "character", "piece"),
        help="tune with these n-grams alone (default: compare each kind that there is and all together, keep the best)",
    )
    parser.add_argument("--beam", type=int, default=64, metavar="N", help="beam width (default: 64)")
    parser.add_argument(
        "--hotwords",
        type=given_path,
        metavar="FILE",
        help="expect these, one a line, and tune the weight of those that have none of their own",
    )
    parser.add_argument(
        "--grid",
        action="append",
        default=[],
        type=_axis,
        metavar="NAME=V,V",
        help="first values of a weight, as word_bonus=0,2,4; repeatable",
    )
    parser.add_argument("--table", type=given_path, metavar="TSV", help="write everything that was tried")


def run(args: argparse.Namespace) -> int:
    """Tune; prints the choice as JSON, and on standard error how sure it is and what lies on an edge."""
    import torch

    from asr.decode import BeamSearchConfig, build_decoder, reconcile
    from asr.decode.alphabet import written_hotwords
    from asr.decode.hotwords import HOTWORD_WEIGHT, read_hotwords
    from asr.emissions import utterance_emissions
    from asr.formats.files import keep_inputs
    from asr.manifest import read_manifest, with_text
    from asr.opened import open_model
    from asr.text import TextPolicy
    from asr.tune import first_values, tune
    from asr.tune.pool import Base
    from lm.errors import InputError
    from lm.evaluate import warn_of_training
    from lm.folder import LanguageModel, read_description, set_decoding

    if args.table:
        inputs = (args.manifest, args.hotwords)
        keep_inputs(args.table, {each.resolve() for each in inputs if each}, "--table")
    start, grid = BeamSearchConfig(beam_width=args.beam), dict(args.grid)
    hotwords = read_hotwords(args.hotwords) if args.hotwords else {}
    model = open_model(args.model, args.language, args.device).model
    tokenizer = model.tokenizer
    hotwords = written_hotwords(tokenizer.surfaces, hotwords)
    read_description(args.lm)  # where the choice will be saved
    language_model = LanguageModel.load(args.lm)
    arms: dict[str, FusedModel] = {
        units: reconcile(tokenizer.surfaces, language_model.only(units), _say if place == 0 else _say_nothing)
        for place, units in enumerate(_units(args.units, language_model))
    }
    first_values(arms, Base(start, hotwords), grid)  # a mistake there must not wait for the emissions
    utterances = with_text(read_manifest(args.manifest, split=args.split, corpus=args.corpus))
    policy = TextPolicy.from_dict(language_model.policy or {})
    warn_of_training(language_model, (utterance.text for utterance in utterances), policy)
    emissions, references, failed = [], [], False
    for utterance, values in utterance_emissions(model, utterances):
        if isinstance(values, InputError):
            _say(f"left out: {values}")
            failed = True
        else:
            emissions.append(values)
            references.append(" ".join(tokenizer.nearest(utterance.text).split()))
    if failed and not emissions:
        raise InputError(
            f"manifest {args.manifest}: none of its recordings for tuning could be read; see above."
        )
    if None in hotwords.values():
        said = sum(Base(start, hotwords).occurrences(reference)[0] > 0 for reference in references)
        _say(f"hotwords without a weight of their own: {said} of {len(references)} utterances have any")
        if not said and "hotword_weight" not in grid:  # they could only speak against hotwords
            _say(f"their weight is not tuned and stays {HOTWORD_WEIGHT:g}")
            grid["hotword_weight"] = (HOTWORD_WEIGHT,)
    result = tune(
        emissions,
        references,
        arms,
        lambda language_model, config: build_decoder(
            tokenizer.surfaces,
            tokenizer.blank,
            language_model,
            config,
            threads=torch.get_num_threads(),
            timed=1,
        ),
        start=start,
        grid=grid,
        hotwords=hotwords,
        split=tokenizer.splitter().split if language_model.piece and tokenizer.sentencepiece else None,
        report=_say,
    )
    chosen = {units: _described(units, arm, references) for units, arm in result.arms.items()}
    for line in _lines(result, language_model):
        _say(line)
    print(
        json.dumps(
            {
                "units": result.best,
                **chosen[result.best],
                "utterances": len(references),
                "against": {
                    units: {
                        "difference": _rounded(each.difference),
                        "low": _rounded(each.interval.low),
                        "high": _rounded(each.interval.high),
                        "p_value": round(each.p_value, 4),
                    }
                    for units, each in result.against.items()
                },
                "arms": chosen,
            }
        )
    )
    set_decoding(args.lm, chosen[result.best]["decoding"])
    if args.table:
        _write_table(result, args.table)
    return int(failed)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _say_nothing(line: str) -> None:
    pass


def _rounded(value: float) -> float | None:
    """None, JSON's null, where there is no number."""
    return round(value, 5) if math.isfinite(value) else None


def _axis(text: str) -> tuple[str, tuple[float, ...]]:
    name, _, values = text.partition("=")
    try:
        return name, tuple(sorted({float(value) for value in values.split(",")}))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=V,V with numbers.") from error


def _units(wanted: Units | None, language_model: LanguageModel) -> Sequence[Units]:
    """The parts of the language model to compare, the whole first."""
    if wanted:
        return (wanted,)
    parts = _parts(language_model)
    return parts if len(parts) == 1 else ("both", *parts)


def _parts(language_model: LanguageModel) -> Sequence[Unit]:
    from lm.folder import UNITS

    return [unit for unit in UNITS if getattr(language_model, unit)]


def _name(units: str, language_model: LanguageModel) -> str:
    """What the n-grams are of, for people."""
    if units != "both":
        return f"{_NAMES[units]} alone"
    names = [_NAMES[part] for part in _parts(language_model)]
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else f"{names[0]} alone"


def _described(units: str, arm: ArmResult, references: Sequence[str]) -> dict[str, Any]:
    """What is said and saved of the best setting with one language model."""
    scale, shift, before, after = _calibration(arm.hypotheses, references)
    config = replace(arm.config, confidence_scale=scale, confidence_shift=shift)
    decoding = {
        "units": units,
        # A list of hotwords is of some recordings; their weight is of the model.
        **{
            name: value
            for name, value in asdict(config).items()
            if name not in ("num_hypotheses", "hotwords")
        },
        **{name: value for name, value in arm.weights.items() if name == "hotword_weight"},
    }
    return {
        "wer": round(arm.wer, 5),
        "cer": round(arm.cer, 5),
        "on_edge": [edge.name for edge in arm.edges],
        "calibration_error": {"raw": round(before, 5), "calibrated": round(after, 5)},
        "decoding": decoding,
    }


def _calibration(
    hypotheses: Sequence[Hypothesis], references: Sequence[str]
) -> tuple[float, float, float, float]:
    """Scale and shift that make confidences of words fit dev, and the expected calibration errors there, raw and so.

    The second error is measured on what it was fitted to.
    """
    from asr.calibration import fit_calibration, reliability, words_judged
    from asr.decode.confidence import calibrated

    sure = [word.confidence for best in hypotheses for word in best.words]
    right = [
        outcome
        for reference, best in zip(references, hypotheses, strict=True)
        for outcome in words_judged(reference, best.text)
    ]
    if not sure:
        return 1.0, 0.0, 0.0, 0.0
    scale, shift = fit_calibration(sure, right)
    fitted = [calibrated(each, scale, shift) for each in sure]
    return scale, shift, reliability(sure, right).ece, reliability(fitted, right).ece


def _lines(result: TuneResult, language_model: LanguageModel) -> list[str]:
    """Which language model is best and by how much, whether hotwords are off, and each weight on an edge."""
    best = result.arms[result.best]
    lines = [f"best: {_name(result.best, language_model)}, WER {best.wer:.2%}, CER {best.cer:.2%}"]
    for units, found in result.against.items():
        other = result.arms[units]
        low, high = 100 * found.interval.low, 100 * found.interval.high
        shown = "shown" if found.verdict else "not shown: the interval covers 0"
        sure = f"{low:+.2f} to {high:+.2f}, p {found.p_value:.3f}; {shown}"
        if math.isnan(low):
            sure = "not shown: one utterance gives no interval"
        lines.append(
            f"  against {_name(units, language_model)}, WER {other.wer:.2%}, CER {other.cer:.2%}: "
            f"{100 * found.difference:+.2f} points of WER ({sure})"
        )
    if best.weights.get("hotword_weight") == 0:
        lines.append(
            "hotword_weight 0, which makes the fewest errors here, is saved: hotwords without a weight of their own "
            "will change nothing. Give them weights in their file, or transcribe with --hotword-weight."
        )
    edges = [(_name(units, language_model), edge) for units, arm in result.arms.items() for edge in arm.edges]
    return lines + [f"{name}: {edge}" for name, edge in edges]


_NAMES = {"word": "words", "character": "characters", "piece": "pieces"}


def _write_table(result: TuneResult, path: Path) -> None:
    from asr.formats.files import write_whole

    names = sorted({name for trial in result.trials for name in trial.weights})
    rows = [
        [
            trial.arm,
            *(f"{trial.weights[name]:g}" if name in trial.weights else "" for name in names),
            f"{trial.wer:.5f}",
            f"{trial.cer:.5f}",
            str(trial.decoded),
        ]
        for trial in result.trials
    ]
    lines = ["\t".join(row) for row in [["units", *names, "wer", "cer", "decoded"], *rows]]
    write_whole(path, (f"{line}\n".encode() for line in lines), overwrite=True)

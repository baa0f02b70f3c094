"""Decode a split with a CTC model: ``python -m recipes.decode_ctc MODEL MANIFEST --split test --out hyp.tsv``.

Writes one row per utterance: id, text, confidence, score, the words' confidences, the further texts
of the n-best list as JSON, and the key of the text policy that wrote them. ``loquela score`` reads it.
Without ``--lm`` it decodes greedily.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import yaml

from asr.cli import guarded
from asr.cli.jobs import check_table_out
from asr.decode import EmissionArray, build_decoder, decode_all
from asr.decode.hotwords import read_hotwords
from asr.emissions import utterance_emissions
from asr.formats.files import write_whole
from asr.manifest import Utterance, read_manifest, total_hours
from asr.names import given_path
from asr.opened import device_named, open_model, tuned_search
from asr.text import WRITTEN, TextPolicy
from lm.errors import InputError
from lm.evaluate import warn_of_training
from lm.folder import LanguageModel, Units

DECODED_TOGETHER = 64
"""Utterances that are decoded at once, where the engine can: a step costs a GPU the same for one and for many."""


def main() -> int:
    """Parse, decode, write."""
    parser = argparse.ArgumentParser(prog="python -m recipes.decode_ctc", description=__doc__)
    parser.add_argument("model", help="experiment or model folder, or a published CTC model")
    parser.add_argument("manifest", type=given_path)
    parser.add_argument("--split", default="", help="rows to decode (default: all)")
    parser.add_argument("--corpus", default="", help="folder that relative audio paths start from")
    parser.add_argument("--language", default="", help="of a published model that has several")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--lm", type=given_path, help="language model folder; its tuned settings are used")
    parser.add_argument(
        "--tuned",
        type=given_path,
        help="what `loquela lm tune` printed, for settings that are not in the model",
    )
    parser.add_argument(
        "--decoding", nargs="*", default=[], metavar="key=value", help="settings of the beam search"
    )
    parser.add_argument(
        "--units",
        choices=get_args(Units),
        help="which n-grams of the language model to use (default: as tuned)",
    )
    parser.add_argument(
        "--hotwords",
        type=given_path,
        help="words and phrases to expect, one a line, as of `loquela transcribe`",
    )
    parser.add_argument(
        "--closed-vocabulary",
        action="store_true",
        help="write only words that the word model or --hotwords knows",
    )
    parser.add_argument("--out", type=given_path, required=True, help="table to write")
    args = parser.parse_args()
    check_table_out(args.out, (args.manifest, args.hotwords, args.tuned))

    # Model and decoder.
    model = open_model(args.model, args.language, args.device).model
    surfaces, blank, key = model.tokenizer.surfaces, model.tokenizer.blank, model.tokenizer.policy.key
    language_model = LanguageModel.load(args.lm) if args.lm else None
    if args.tuned and language_model is None:
        raise InputError("--tuned has no use without --lm. Give the language model that was tuned.")
    if args.tuned and language_model:
        language_model = replace(language_model, decoding=tuned(args.tuned, args.units))
    overrides = {**({"units": args.units} if args.units else {}), **settings_from(args.decoding)}
    if args.hotwords:
        overrides["hotwords"] = read_hotwords(args.hotwords)
    if args.closed_vocabulary:
        overrides["open_vocabulary"] = False
    language_model, config = tuned_search(language_model, overrides)
    device = device_named(args.device)
    decoder = build_decoder(surfaces, blank, language_model, config, device, model.threads_beside, timed=1)

    # Emissions -> hypotheses.
    utterances = read_manifest(args.manifest, split=args.split, corpus=args.corpus)
    if language_model:
        policy = TextPolicy.from_dict(language_model.policy or {})
        warn_of_training(language_model, (utterance.text for utterance in utterances), policy)
    started = time.monotonic()
    rows: dict[str, list[str]] = {}
    failed = False
    heard: list[tuple[Utterance, EmissionArray]] = []

    def decode() -> None:
        found = decode_all(decoder, [emissions for _, emissions in heard])
        for (utterance, _), hypotheses in zip(heard, found, strict=True):
            best = hypotheses[0]
            rows[utterance.id] = [
                best.text,
                f"{best.confidence:.4f}",
                f"{best.score:.4f}",
                " ".join(f"{word.confidence:.4f}" for word in best.words),
                json.dumps([h.text for h in hypotheses[1:]], ensure_ascii=False),
                key,
            ]
        heard.clear()

    for utterance, emissions in utterance_emissions(model, utterances):
        if isinstance(emissions, InputError):
            print(f"left out: {emissions}", file=sys.stderr)
            failed = True
            continue
        heard.append((utterance, emissions))
        if len(heard) == DECODED_TOGETHER:
            decode()
    decode()
    seconds = time.monotonic() - started

    # One table, in the manifest's order, whole or not at all.
    lines = [f"id\ttext\tconfidence\tscore\tword_confidences\talternatives\t{WRITTEN}"]
    lines += ["\t".join([each.id, *rows[each.id]]) for each in utterances if each.id in rows]
    write_whole(args.out, (f"{line}\n".encode() for line in lines), overwrite=True)
    print(
        f"{len(rows)} utterances, {total_hours(utterances):.3f} h in {seconds:.1f} s -> {args.out}",
        file=sys.stderr,
    )
    return int(failed)


def tuned(path: Path, units: str | None) -> dict[str, Any]:
    """The settings in what ``loquela lm tune`` printed: of these units, or those that it chose."""
    try:
        printed = json.loads(path.read_text(encoding="utf-8"))
        return dict((printed["arms"][units] if units else printed)["decoding"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"--tuned {path} cannot be read ({error}). Give the output of `loquela lm tune`."
        ) from error


def settings_from(overrides: list[str]) -> dict[str, Any]:
    """``key=value`` words as a mapping; values are YAML."""
    values = {}
    for override in overrides:
        name, equals, value = override.partition("=")
        if not equals:
            raise InputError(f"--decoding {override!r} has no '='. Write key=value.")
        try:
            values[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise InputError(f"--decoding {override!r}: the value is not YAML. Write key=value.") from error
    return values


if __name__ == "__main__":
    sys.exit(guarded(main))

"""`loquela lm`: build, evaluate and tune language models."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from asr.cli import lm_tune
from asr.names import given_path

if TYPE_CHECKING:
    from asr.text import TextPolicy
    from lm.corpus import Splitter
    from lm.evaluate import Evaluation


def add_build_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `lm build`, in the order that the text travels."""
    _add_text_arguments(parser, "training text")
    text = parser.add_argument_group("text policy")
    text.add_argument(
        "--policy", type=given_path, metavar="PATH",
        help="a model folder, a tokenizer.json or a policy's own JSON (default policy if none); "
        "with --piece-order one of the first two, whose pieces the texts are split into",
    )  # fmt: skip
    models = parser.add_argument_group("models")
    models.add_argument(
        "--word-order",
        type=int,
        default=3,
        metavar="N",
        help="words in the longest n-gram; 0: none (default 3)",
    )
    models.add_argument(
        "--character-order", "--char-order", type=int, metavar="N",
        help="characters in the longest n-gram; 0: none (default 6, and 0 with --piece-order)",
    )  # fmt: skip
    models.add_argument(
        "--piece-order", type=int, default=0, metavar="N",
        help="sentence pieces of --policy in the longest n-gram; 0: none (default 0)",
    )  # fmt: skip
    for unit in ("word", "character", "piece"):
        models.add_argument(
            "--prune" if unit == "word" else f"--{unit}-prune",
            type=int, nargs="+", metavar="N",
            help=f"leave out {unit} n-grams seen N times or fewer; one N per order, the last for all longer",
        )  # fmt: skip
    models.add_argument(
        "--closed-vocabulary", action="store_true",
        help="give the unknown word one word's share of probability, as lmplz does, not all that is freed",
    )  # fmt: skip
    models.add_argument(
        "--no-fallback", action="store_true",
        help="fail where the text is too small to estimate discounts, instead of using 0.5 1 1.5",
    )  # fmt: skip
    output = parser.add_argument_group("output")
    output.add_argument("--binary", action="store_true", help="write kenlm binaries in place of ARPA files")
    output.add_argument("--out", type=given_path, required=True, metavar="DIR", help="folder to write")
    output.add_argument(
        "--overwrite", action="store_true", help="replace the language model that --out holds"
    )


def build(args: argparse.Namespace) -> int:
    """Build an LM folder; prints what was built."""
    from asr.text import TextPolicy
    from lm.build import build_language_model
    from lm.errors import InputError
    from lm.kneser_ney import FALLBACK_DISCOUNTS

    policy = TextPolicy.read(args.policy)
    if args.piece_order and not args.policy:
        raise InputError(
            "--piece-order splits the texts into a recogniser's pieces. "
            "Give --policy with its folder or tokenizer.json."
        )
    character_order = args.character_order
    if character_order is None:
        character_order = 0 if args.piece_order else 6  # the pieces take the characters' place
    for option, prune, order in (
        ("", args.prune, args.word_order),
        ("character-", args.character_prune, character_order),
        ("piece-", args.piece_prune, args.piece_order),
    ):
        if prune and not order:
            raise InputError(
                f"--{option}prune has no effect: there are no such n-grams. Leave it out, or give "
                f"--{option or 'word-'}order."
            )
    splitter = _splitter(args.policy) if args.piece_order else None
    report = build_language_model(
        _read_text(args, policy, warn=True),
        args.out,
        word_order=args.word_order,
        character_order=character_order,
        piece_order=args.piece_order,
        word_prune=args.prune or [0],
        character_prune=args.character_prune or [0],
        piece_prune=args.piece_prune or [0],
        splitter=splitter,
        open_vocabulary=not args.closed_vocabulary,
        fallback=None if args.no_fallback else FALLBACK_DISCOUNTS,
        binary=args.binary,
        policy=policy.to_dict(),
        overwrite=args.overwrite,
    )
    print(f"text policy  {policy.describe()}")
    print(
        f"text         {report.sentences} sentences ({report.repeated} repeated), "
        f"{report.words} words, {report.characters} characters"
    )
    if report.unwritten:
        print(
            f"left out     {report.unwritten:.2%} of the letters, from n-grams of pieces: no piece writes them"
        )
    for unit, counts in report.ngrams.items():
        print(f"{unit:<12} {' '.join(f'{n}-grams {count}' for n, count in enumerate(counts, 1))}")
    sizes = ", ".join(f"{name} {size / 1e6:.2f} MB" for name, size in report.bytes.items())
    print(f"written      {args.out}: {sizes}")
    return 0


def add_eval_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `lm eval`."""
    parser.add_argument(
        "--lm",
        type=given_path,
        required=True,
        metavar="PATH",
        help="LM folder, or a bare ARPA or kenlm binary file",
    )
    parser.add_argument(
        "--unit",
        choices=("word", "character", "piece"),
        help="what the tokens of a bare file are (default: characters if each is one and ▁ is among them, pieces if "
        "a tenth begin with ▁)",
    )
    parser.add_argument(
        "--tokenizer",
        type=given_path,
        metavar="PATH",
        help="a model folder or tokenizer.json, to split the text for n-grams of pieces, which are left out without it",
    )
    _add_text_arguments(parser, "text to score")
    output = parser.add_argument_group("output")
    output.add_argument("--top", type=int, default=10, metavar="N", help="unknown words to list (default 10)")
    output.add_argument("--json", action="store_true", help="print one line of JSON instead of the table")


def evaluate(args: argparse.Namespace) -> int:
    """Score a text; prints perplexities and unknown words."""
    from asr.text import TextPolicy
    from lm.errors import InputError
    from lm.evaluate import evaluate, warn_of_seen
    from lm.folder import LanguageModel

    model = LanguageModel.load(args.lm, unit=args.unit)
    if model.policy is None:
        used = "the tokenizer's" if args.tokenizer else "the default"
        print(f"{args.lm} does not say its text policy; {used} is used", file=sys.stderr)
        policy = TextPolicy.read(args.tokenizer)
    else:
        policy = TextPolicy.from_dict(model.policy)
    if model.piece and not args.tokenizer:
        if not model.word and not model.character:
            raise InputError(
                f"language model {args.lm} has n-grams of pieces alone, for which the text must be split. "
                "Give --tokenizer with the recogniser's folder or tokenizer.json."
            )
        print(f"{args.lm}: n-grams of pieces are left out; give --tokenizer", file=sys.stderr)
    splitter = _splitter(args.tokenizer) if args.tokenizer and model.piece else None
    result = evaluate(model, _read_text(args, policy), top=args.top, splitter=splitter)
    warn_of_seen(model, result.training_sentences or 0, result.sentences)
    if args.json:
        print(
            json.dumps(
                {"lm": str(args.lm), "policy": policy.describe(), **result.to_dict()}, ensure_ascii=False
            )
        )
    else:
        print("\n".join(_table(result, policy.describe())))
    return 0


@dataclass(frozen=True)
class _Command:
    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


COMMANDS = {
    "build": _Command("estimate word, character and piece n-grams from text", add_build_arguments, build),
    "eval": _Command("perplexity and unknown words of a text", add_eval_arguments, evaluate),
    "tune": _Command(lm_tune.HELP, lm_tune.add_arguments, lm_tune.run),
}
"""Subcommands; another one is another entry."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommands with their options."""
    commands = parser.add_subparsers(dest="lm_command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        command.add_arguments(commands.add_parser(name, help=command.help, description=command.help))


def run(args: argparse.Namespace) -> int:
    """Run the subcommand; returns the exit status."""
    return COMMANDS[args.lm_command].run(args)


def _add_text_arguments(parser: argparse.ArgumentParser, title: str) -> None:
    group = parser.add_argument_group(title, "at least one of --text and --manifest")
    group.add_argument(
        "--text",
        type=given_path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="UTF-8 text, one sentence a line",
    )
    group.add_argument(
        "--manifest", type=given_path, metavar="TSV", help="a manifest; its transcripts are the text"
    )
    group.add_argument("--split", default="", help="take this split of the manifest")


def _read_text(args: argparse.Namespace, policy: TextPolicy, *, warn: bool = False) -> list[str]:
    """The sentences; ``warn`` of those that are there for lack of --split and are not to be trained on."""
    from asr.manifest import normalised_text, read_manifest
    from lm.corpus import normalised, read_sentences
    from lm.errors import InputError

    if not args.text and not args.manifest:
        raise InputError("no text. Give --text FILE or --manifest TSV.")
    sentences = normalised(read_sentences(args.text), policy)
    if args.manifest:
        utterances = read_manifest(args.manifest, split=args.split)
        sentences += normalised((normalised_text(utterance, policy) for utterance in utterances), None)
        splits = Counter(utterance.split for utterance in utterances if utterance.text.strip())
        held_out = [f"{count} of split {name}" for name, count in splits.items() if name not in ("", "train")]
        if warn and held_out and not args.split:
            print(
                f"warning: {args.manifest}: the training text holds sentences of other splits, "
                f"{', '.join(held_out)}; figures on them will flatter the model. Give --split train to leave them out.",
                file=sys.stderr,
            )
    return sentences


def _splitter(path: Path) -> Splitter:
    from asr.text import tokenizer_file
    from asr.tokenizer import Tokenizer

    return Tokenizer.load(tokenizer_file(path)).splitter()


def _table(result: Evaluation, policy: str) -> list[str]:
    lines = [
        f"text policy            {policy}",
        f"sentences              {result.sentences} ({result.repeated_sentences} repeated)",
        f"words, characters      {result.words}, {result.characters}",
    ]
    if word := result.word:
        frequent = ", ".join(f"{token} {count}" for token, count in word.unknown_most_frequent)
        lines += [
            f"word {word.order}-gram            perplexity {word.perplexity:.2f} "
            f"({word.perplexity_known:.2f} without unknown words)",
            f"unknown words          {word.unknown_token_rate:.2%} of tokens ({word.unknown_tokens}), "
            f"{word.unknown_type_rate:.2%} of types ({word.unknown_types})",
            f"most frequent unknown  {frequent or 'none'}",
        ]
        if word.bits_per_character is not None:
            lines.append(f"words, unknown spelled {word.bits_per_character:.4f} bits per character")
    if character := result.character:
        unknown = ", ".join(
            f"{c} U+{ord(c):04X} {count}" for c, count in character.unknown_characters.items()
        )
        lines += [
            f"character {character.order}-gram       perplexity {character.perplexity:.3f}, "
            f"{character.bits_per_character:.4f} bits per character",
            f"unknown characters     {unknown or 'none'}",
        ]
    if piece := result.piece:
        unknown = ", ".join(f"{token} {count}" for token, count in piece.unknown_pieces.items())
        lines += [
            f"piece {piece.order}-gram           perplexity {piece.perplexity:.3f}, "
            f"{piece.bits_per_character:.4f} bits per character",
            f"unknown pieces         {unknown or 'none'}",
        ]
    return lines

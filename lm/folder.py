"""A language model on disk: a folder with ``lm.json`` beside the n-gram files it names."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from lm.corpus import PIECE_SPACE, SPECIALS, SentenceSet
from lm.errors import InputError
from lm.files import sha256
from lm.ngram import NgramModel
from lm.spelling import spelling_model

FORMAT = 1
"""Version of the folder; a reader refuses a later one."""

MODEL_SUFFIXES = (".arpa", ".arpa.gz", ".arpa.bz2", ".arpa.xz", ".bin", ".binary", ".klm")
"""Endings of bare model files in a folder without ``lm.json`` (as pyctcdecode writes them)."""

MIN_BEGINNING = 0.1
"""Share of a bare file's tokens that must begin with ``▁`` and go on for them to be sentence pieces. Among pieces a
third or more do; words of web text hold a few such."""

Unit = Literal["word", "character", "piece"]
UNITS: tuple[Unit, ...] = get_args(Unit)
Units = Literal["both", "word", "character", "piece"]
"""Which n-grams of a language model are used; ``both``: all that it has."""

PARTS = (*UNITS, "training", "counts")
"""What ``lm.json`` names files of, each of which may be missing."""


@dataclass(frozen=True, kw_only=True)
class LanguageModel:
    """Word, character and piece n-grams of one language, any of which may be missing."""

    word: NgramModel | None
    character: NgramModel | None
    piece: NgramModel | None = None
    """Its tokens are a recogniser's sentence pieces, their spaces as ``▁``."""
    pieces: tuple[str, ...] = ()
    """All pieces of that recogniser, as its tokens are; empty without such a model, or where unknown."""
    vocabulary: tuple[str, ...] = ()
    """Words of the word model, sorted; empty without one."""
    alphabet: str
    """Characters of the training text, sorted; the space among them."""
    policy: dict[str, Any] | None = None
    """The text policy of the training text, as the recogniser's must be; None where unknown."""
    decoding: dict[str, Any] | None = None
    """What tuning chose: settings of the beam search, and ``units``; None before."""
    training: SentenceSet | None = None
    """Which sentences it was trained on; None where unknown."""
    path: Path

    @classmethod
    def load(cls, path: str | Path, *, unit: Unit | None = None) -> LanguageModel:
        """Read an LM folder, or one bare ARPA or kenlm binary file.

        Args:
            path: the folder; or the file; or a folder without ``lm.json`` that holds one such file.
            unit: what the tokens of a bare file are; None takes them for characters where each is one and ``▁`` is
                among them, and for pieces where `MIN_BEGINNING` of them are longer and begin with ``▁``, which is said
                on standard error.
        Raises:
            InputError: something is missing, altered or not what it should be; names the file.
        """
        path = Path(path)
        if not path.exists():
            raise InputError(f"language model {path} does not exist. Make one with `loquela lm build`.")
        if path.is_dir() and not (path / "lm.json").exists():
            found = sorted(file for file in path.iterdir() if file.name.endswith(MODEL_SUFFIXES))
            if len(found) != 1:
                raise InputError(
                    f"language model {path}: no lm.json, and {len(found)} model files instead of one. "
                    "Give a folder made by `loquela lm build`, or the path of one ARPA or binary file."
                )
            path = found[0]
        return _load_folder(path) if path.is_dir() else _load_file(path, unit)

    @property
    def characters(self) -> frozenset[str]:
        """The alphabet without the space."""
        return frozenset(self.alphabet) - {" "}

    @cached_property
    def speller(self) -> NgramModel | None:
        """Spells words that the word model does not know: the character model, or one of the vocabulary's letters."""
        return self.character or (spelling_model(self.vocabulary) if self.vocabulary else None)

    def only(self, units: Units) -> LanguageModel:
        """This language model with only one of its models.

        Raises:
            InputError: it has no such model.
        """
        if units == "both":
            return self
        if getattr(self, units) is None:
            raise InputError(
                f"language model {self.path} has no {units} model. Build it with --{units}-order."
            )
        others: dict[str, Any] = {unit: None for unit in UNITS if unit != units}
        if units != "word":
            others["vocabulary"] = ()
        if units != "piece":
            others["pieces"] = ()
        return replace(self, **others)

    def spelling_log_prob(self, word: str) -> float:
        """Natural log-probability that a word, once begun, is spelled so and ends there.

        The sum over the characters c of ``word`` of log p(c | boundary and those before it), plus
        log of p(boundary) + p(</s>) after the last: a word ends where the next begins or the
        sentence ends. 0 without a character model. Added to a word model's log p(<unk> | history) it makes one
        distribution with the words known, for models from `build` keep for ``<unk>`` all the mass of new words.
        """
        model = self.character
        if model is None:
            return 0.0
        state, _ = model.score(model.empty(), PIECE_SPACE)
        total = 0.0
        for character in word:
            state, log_prob = model.score(state, character)
            total += log_prob
        boundary, end = model.score(state, PIECE_SPACE)[1], model.end(state)
        return total + max(boundary, end) + math.log1p(math.exp(-abs(boundary - end)))


def write_description(folder: Path, description: Mapping[str, Any]) -> None:
    """Write ``lm.json`` with the checksums of the files it names, whole or not at all."""
    files = [description[unit]["file"] for unit in PARTS if description.get(unit)]
    whole = {"format": FORMAT, **description, "sha256": {name: sha256(folder / name) for name in files}}
    partial = folder / "lm.json.partial"
    partial.write_text(json.dumps(whole, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, folder / "lm.json")


def read_description(folder: Path) -> dict[str, Any]:
    """What ``lm.json`` says; its files are not looked at.

    Raises:
        InputError: it is missing, is not such a description, or is of a later version.
    """
    path = folder / "lm.json"
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}. Give a folder made by `loquela lm build`.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}). Copy or build the language model again.") from error
    version = description.get("format") if isinstance(description, dict) else None
    if version != FORMAT:
        raise InputError(f"{path}: format is {version!r}, not {FORMAT}. Update loquela, or build it again.")
    shapes: dict[str, tuple[type, ...]] = {
        "alphabet": (str,),
        "sha256": (dict,),
        "word": (dict, type(None)),
        "character": (dict, type(None)),
        "piece": (dict, type(None)),
        "training": (dict, type(None)),
        "counts": (dict, type(None)),
        "policy": (dict, type(None)),
        "decoding": (dict, type(None)),
    }
    for name, types in shapes.items():
        if not isinstance(description.get(name), types):
            raise InputError(
                f"{path}: {name} is {str(description.get(name))[:40]!r}. Copy or build it again."
            )
    return dict(description)


def copy_folder(source: Path, target: Path) -> None:
    """Copy an LM folder: ``lm.json`` and the files that it names, nothing else that lies there."""
    target.mkdir()
    for name in ("lm.json", *read_description(source)["sha256"]):
        shutil.copyfile(source / name, target / name)


def set_decoding(folder: str | Path, decoding: Mapping[str, Any]) -> None:
    """Save tuned settings of the beam search in an LM folder.

    Raises:
        InputError: it is no LM folder, or cannot be written.
    """
    folder = Path(folder)
    description = read_description(folder)
    try:
        write_description(folder, {**description, "decoding": dict(decoding)})
    except OSError as error:
        raise InputError(
            f"language model {folder}: its lm.json cannot be written ({error.strerror}). Put what was chosen "
            "into its `decoding` by hand, or make the folder writable and tune again."
        ) from error


def _load_folder(folder: Path) -> LanguageModel:
    description = read_description(folder)
    sums = description["sha256"]
    files: dict[str, Path] = {}
    for unit in PARTS:
        if not description.get(unit):
            continue
        name = description[unit].get("file")
        if not isinstance(name, str) or Path(name).name != name:
            raise InputError(
                f"{folder / 'lm.json'}: {name!r} is no name of a file in the folder. Copy or build it again."
            )
        files[unit] = folder / name
        if not files[unit].is_file():
            raise InputError(f"language model {folder}: its file {name} is missing. Copy or build it again.")
        if sha256(files[unit]) != sums.get(name):
            raise InputError(
                f"language model {folder}: its file {name} was altered (checksum). Copy or build it again."
            )
    pieces = description["piece"].get("pieces", []) if "piece" in files else []
    if not (isinstance(pieces, list) and all(isinstance(piece, str) for piece in pieces)):
        raise InputError(
            f"{folder / 'lm.json'}: pieces is {str(pieces)[:40]!r}, not a list of texts. Copy or build it again."
        )
    models = {unit: NgramModel.load(files[unit]) for unit in UNITS if unit in files}
    if "counts" in files:
        _set_counts(models, files["counts"])
    word = models.get("word")
    return LanguageModel(
        word=word,
        vocabulary=_words(word.vocabulary) if word else (),
        character=models.get("character"),
        piece=models.get("piece"),
        pieces=tuple(pieces),
        alphabet=description["alphabet"],
        policy=description["policy"],
        decoding=description["decoding"],
        training=SentenceSet.from_bytes(files["training"].read_bytes()) if "training" in files else None,
        path=folder,
    )


def _set_counts(models: Mapping[Unit, NgramModel], path: Path) -> None:
    """Give models how often each of their tokens stands in the training text: a list for each unit, by number."""
    found = json.loads(path.read_text(encoding="utf-8"))
    for unit in models.keys() & found.keys():
        tokens = models[unit].vocabulary
        if len(found[unit]) != len(tokens):
            raise InputError(
                f"language model {path.parent}: {path.name} has {len(found[unit])} counts for {len(tokens)} {unit}s. "
                "Copy or build it again."
            )
        models[unit].counts = np.array(found[unit], np.int64)


def _load_file(path: Path, unit: Unit | None) -> LanguageModel:
    model = NgramModel.load(path)
    tokens = _words(model.vocabulary)
    if unit is None:
        unit = "word"
        if PIECE_SPACE in tokens and all(len(token) == 1 for token in tokens):
            unit, seen = "character", "are single characters"
        elif tokens and sum(map(_begins_word, tokens)) / len(tokens) >= MIN_BEGINNING:
            unit, seen = "piece", f"begin with {PIECE_SPACE}, as sentence pieces do"
        if unit != "word":
            print(f"language model {path}: its tokens {seen}, and are read as such", file=sys.stderr)
    characters = {character for token in tokens for character in token} - {
        " " if unit == "word" else PIECE_SPACE
    }
    return LanguageModel(
        word=model if unit == "word" else None,
        vocabulary=tokens if unit == "word" else (),
        character=model if unit == "character" else None,
        piece=model if unit == "piece" else None,
        alphabet="".join(sorted(characters | {" "})),
        path=path,
    )


def _begins_word(token: str) -> bool:
    return token.startswith(PIECE_SPACE) and token != PIECE_SPACE


def _words(tokens: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(tokens).difference(SPECIALS)))

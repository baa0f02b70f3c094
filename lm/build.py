"""From sentences to an LM folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from lm.arpa import read_counts, read_unigrams, write_arpa
from lm.binary import arpa_to_binary
from lm.corpus import (
    PIECE_SPACE,
    SentenceSet,
    Splitter,
    alphabet_of,
    characters_of,
    read_sentences,
    repeated,
    words_of,
)
from lm.errors import InputError, remedy_of
from lm.folder import UNITS, write_description
from lm.kneser_ney import FALLBACK_DISCOUNTS, check_options, estimate

_FILES = {
    "lm.json",
    "training.hashes",
    "counts.json",
    *(f"{unit}.{kind}" for unit in UNITS for kind in ("arpa", "bin")),
}
"""What an LM folder holds."""
_IMPOSSIBLE = -90.0
"""Log10 probability at and below which a word was left nothing; programs write -99 or -inf."""
_NEW = "new.partial"
"""Folder in it where the next one is built."""


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """What was built."""

    folder: Path
    sentences: int
    repeated: int
    """Sentences that are copies of an earlier one; they are counted like any other."""
    words: int
    characters: int
    ngrams: dict[str, list[int]]
    """N-grams of each order, by unit."""
    unwritten: float
    """Share of the letters that no piece writes; n-grams of pieces were built without them."""
    bytes: dict[str, int]
    """Size of each file."""


def build_language_model(
    sentences: Iterable[str],
    out: str | Path,
    *,
    word_order: int = 3,
    character_order: int = 6,
    piece_order: int = 0,
    word_prune: Sequence[int] = (0,),
    character_prune: Sequence[int] = (0,),
    piece_prune: Sequence[int] = (0,),
    splitter: Splitter | None = None,
    open_vocabulary: bool = True,
    fallback: Sequence[float] | None = FALLBACK_DISCOUNTS,
    binary: bool = False,
    policy: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> BuildReport:
    """Estimate a word, a character and a piece model and write their folder; ``lm.json`` comes last.

    Args:
        sentences: normalised text, one sentence each.
        out: the folder; made where missing.
        word_order, character_order, piece_order: longest n-gram, 2 or more; 0 leaves the model out.
        word_prune, character_prune, piece_prune: `lm.kneser_ney.estimate`'s ``prune``.
        splitter: makes the pieces of the piece model.
        open_vocabulary: the word model gives ``<unk>`` all the mass that smoothing frees among
            unigrams, to be shared out by `LanguageModel.spelling_log_prob`; False gives it one
            word's share, as lmplz does unless told otherwise.
        fallback: discounts for text too small to estimate them; None makes that an error.
        binary: write kenlm binaries, which load faster, in place of ARPA files.
        policy: the text policy that normalised ``sentences``, to be saved.
        overwrite: replace the language model that ``out`` holds.
    Raises:
        InputError: no text, or none that pieces write; impossible options, ``out`` holds something, or lmplz failed.
    """
    out = Path(out)
    texts = list(sentences)
    if not any(texts):
        raise InputError(
            "text: no sentence in it. Give text with at least one sentence that the text policy keeps."
        )
    if not word_order and not character_order and not piece_order:
        raise InputError(
            "orders of 0 leave nothing to build. Give --word-order, or the order of another unit."
        )
    if piece_order and not splitter:
        raise InputError(
            "n-grams of pieces need what splits texts into pieces. Give the recogniser's tokenizer."
        )
    pieces, unwritten = _pieces_of(texts, splitter) if piece_order and splitter else ([], 0.0)
    # Tokens are made one sentence after the other: all of a text's would take many times its memory.
    plans: dict[str, tuple[int, Sequence[int], Callable[[], Iterable[Sequence[str]]], bool]] = {
        "word": (word_order, word_prune, lambda: map(words_of, texts), not open_vocabulary),
        "character": (character_order, character_prune, lambda: map(characters_of, texts), True),
        "piece": (piece_order, piece_prune, lambda: pieces, True),
    }
    for order, prune, _, _ in plans.values():
        if order:
            check_options(order, prune, fallback)
    description: dict[str, Any] = {}
    ngrams: dict[str, list[int]] = {}
    counts: dict[str, list[int]] = {}
    with _new_files(out, overwrite) as new:
        for unit, (order, prune, tokens, interpolate) in plans.items():
            if not order:
                description[unit] = None
                continue
            arpa = new / f"{unit}.arpa"
            estimate_arpa(
                tokens(), arpa, order=order, prune=prune, fallback=fallback, interpolate_unigrams=interpolate
            )
            ngrams[unit] = read_counts(arpa)
            if unit != "piece":
                seen = Counter(chain.from_iterable(tokens()))
                counts[unit] = [seen[token] for token in read_unigrams(arpa)]
            if binary:
                arpa_to_binary(arpa, arpa.with_suffix(".bin"))
                arpa.unlink()
            description[unit] = {"file": f"{unit}.bin" if binary else arpa.name, "order": order}
            if unit == "piece" and splitter:
                description[unit]["pieces"] = list(splitter.pieces)
        (new / "counts.json").write_text(json.dumps(counts, separators=(",", ":")) + "\n", encoding="utf-8")
        (new / "training.hashes").write_bytes(SentenceSet.of(texts).to_bytes())
        description |= {
            "training": {
                "file": "training.hashes",
                "sentences": len(texts),
                "words": sum(len(text.split()) for text in texts),
            },
            "counts": {"file": "counts.json"},
            "alphabet": alphabet_of(texts),
            "policy": dict(policy) if policy is not None else None,
            "decoding": None,
        }
        write_description(new, description)
    return BuildReport(
        folder=out,
        sentences=len(texts),
        repeated=repeated(texts),
        words=description["training"]["words"],
        characters=sum(map(len, texts)),
        ngrams=ngrams,
        unwritten=unwritten,
        bytes={file.name: file.stat().st_size for file in sorted(out.iterdir()) if file.is_file()},
    )


def _pieces_of(texts: Iterable[str], splitter: Splitter) -> tuple[list[list[str]], float]:
    """The pieces of each sentence of which some write letters, and the share of letters that no piece writes."""
    known = frozenset(splitter.pieces)
    rows, size, kept = [], 0, 0
    for text in texts:
        tokens = splitter.split(text)
        pieces = [token for token in tokens if token in known]
        letters = _num_letters(pieces)
        size += _num_letters(tokens)
        kept += letters
        if letters:
            rows.append(pieces)
    if not rows:
        raise InputError(
            "text: the tokenizer's pieces write nothing of it. Give text in the recogniser's language and writing, or "
            "the tokenizer of another recogniser."
        )
    return rows, 1 - kept / size


def _num_letters(tokens: Iterable[str]) -> int:
    return sum(len(token) - token.count(PIECE_SPACE) for token in tokens)


def estimate_arpa(
    sentences: Iterable[Sequence[str]],
    path: Path,
    *,
    order: int,
    prune: Sequence[int] = (0,),
    fallback: Sequence[float] | None = FALLBACK_DISCOUNTS,
    interpolate_unigrams: bool = True,
) -> None:
    """Write an ARPA file: by KenLM's lmplz where it is on PATH, by `estimate` otherwise.

    Both give the same model, and it is `estimate`'s where lmplz leaves a word nothing; lmplz sorts on disk and so
    takes any amount of text.

    Raises:
        InputError: as `estimate`, or lmplz failed.
    """

    def write_own(sentences: Iterable[Sequence[str]]) -> None:
        model = estimate(
            sentences, order, prune=prune, fallback=fallback, interpolate_unigrams=interpolate_unigrams
        )
        write_arpa(model, path)

    lmplz = shutil.which("lmplz")
    if lmplz is None:
        write_own(sentences)
        return
    partial = path.with_name(path.name + ".partial")
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder, "text")
        with text.open("w", encoding="utf-8", newline="\n") as out:
            out.writelines(" ".join(sentence) + "\n" for sentence in sentences)
        command = [
            lmplz,
            "--order",
            str(order),
            "--text",
            str(text),
            "--arpa",
            str(partial),
            "--memory",
            "20%",
        ]
        command += ["--temp_prefix", f"{folder}/", "--interpolate_unigrams", str(int(interpolate_unigrams))]
        command += ["--prune", *map(str, prune)]
        if fallback is not None:
            command += ["--discount_fallback", *map(str, fallback)]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
            )
            if done.returncode:
                said = (done.stderr.strip().splitlines() or ["no message"])[-1]
                raise InputError(
                    f"lmplz failed ({done.returncode}): {said[:200]}. Mend the text, or take lmplz off PATH."
                )
            unigrams = read_unigrams(partial)
            if any(prob <= _IMPOSSIBLE for word, prob in unigrams.items() if word != "<s>"):
                write_own(map(words_of, read_sentences([text])))
            else:
                os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def _new_files(out: Path, overwrite: bool) -> Iterator[Path]:
    """A folder inside ``out`` whose files take the place of the language model there once they are all written.

    Until then the old one stays: text that is too small, a full disk or Ctrl-C cost nothing.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file. Give a folder.")
    new = out / _NEW
    try:
        out.mkdir(parents=True, exist_ok=True)
        held = {file.name for file in out.iterdir()} - {_NEW}
        ours = {name for name in held if name.removesuffix(".partial") in _FILES}
        if held - ours:
            raise InputError(
                f"--out {out} holds {min(held - ours)!r}, no part of a language model. Give another folder."
            )
        if "lm.json" in held and not overwrite:
            raise InputError(f"--out {out} holds a language model. Give --overwrite or another folder.")
        shutil.rmtree(new, ignore_errors=True)  # of a build that was killed
        new.mkdir()
    except OSError as error:
        raise InputError(f"--out {out}: {error.strerror}. Give a folder that can be written.") from error
    try:
        yield new
        # lm.json goes first and comes last: without it there is no model.
        for name in sorted(ours, key=lambda name: name != "lm.json"):
            (out / name).unlink()
        for file in sorted(new.iterdir(), key=lambda file: file.name == "lm.json"):
            file.rename(out / file.name)
    except OSError as error:
        if error.filename:  # else of a write, which does not say where
            raise
        raise InputError(
            f"--out {out}: {error.strerror}. {remedy_of(error, 'Give a folder that can be written.')}"
        ) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)

"""A language model made elsewhere, in the acoustic model's writing.

Where the two write one thing otherwise (case, composed letters, apostrophes, look-alikes), words of the language
model are called as the acoustic model writes them. Their numbers and n-grams stay, so the search is as fast as ever
and every score is the model's own. Where several words become one, the likeliest stands for it and the others are never
heard: adding them up would need the sum of every n-gram that holds them. What was done is told by code point.
"""

from __future__ import annotations

import sys
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from asr.decode.alphabet import LOOK_ALIKES, as_written, letters_of, name_of
from asr.decode.fusion import RESERVED, LanguageModel, Ngram
from asr.lookalikes import APOSTROPHES, LETTERS
from lm.corpus import PIECE_SPACE, piece_of
from lm.errors import InputError
from lm.ngram import NgramModel
from lm.shares import Shares, counted_shares, unigram_shares, walked_shares
from lm.spelling import spelling_model
from lm.tables import NgramTables

Key = TypeVar("Key")

MAX_UNWRITTEN = 0.001
"""Share of the words, or characters, of a language model's text that the acoustic model may have no letters for, and of
a bare file's pieces that it may not have. Such words are never heard; more of them is a sign of another text policy or
another language."""
MAX_SHOWN = 12
"""Characters listed in a line."""
TURKIC = frozenset("\u0131\u015f"), frozenset("\u0130\u015e")
"""Where both of a set are heard, I is the capital of \u0131 and \u0130 that of i: an alphabet of a Turkic language, in
small letters or capitals, no slip of the training texts."""


def reconcile(
    surfaces: Sequence[str],
    language_model: LanguageModel,
    report: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
    *,
    with_pieces: bool = True,
) -> LanguageModel:
    """A language model whose words and characters are written as the acoustic model writes them.

    The model itself where it says its alphabet and there is nothing to do.

    Args:
        surfaces: text that each label of the acoustic model writes.
        report: receives a line for each kind of difference.
        with_pieces: its n-grams of pieces will be used; otherwise they may be of any tokenizer.
    Raises:
        InputError: more than `MAX_UNWRITTEN` of its text's words or characters (see `_shares`) cannot be written; names
            each character with its code point. Or the pieces are not the acoustic model's.
    """
    heard = frozenset("".join(surfaces)) - {" "}
    is_done = isinstance(language_model, Reconciled) and language_model.heard == heard
    if with_pieces and language_model.piece:
        _check_pieces(surfaces, language_model, language_model.piece, _say_nothing if is_done else report)
    if is_done:
        return language_model
    read = language_model.characters - {PIECE_SPACE}
    # Marks may have to be put together with their letters even where the acoustic model has both.
    is_other = not read or not read <= heard or any(map(unicodedata.combining, read))
    if is_other and heard:
        spelling = Spelling(heard)
        word, character = language_model.word, language_model.character
        word = _respelled(word, spelling, "words", report) if word else None
        character = _respelled(character, spelling, "characters", report) if character else None
        read = read and (read & heard) | spelling.used
        language_model = Reconciled(
            word, character, language_model.piece, language_model.pieces, language_model.vocabulary, read, heard,
            spelling,
        )  # fmt: skip
    if read and heard - read:
        never = _listed([*map(name_of, sorted(heard - read))])
        report(f"language model: it never has {never}; words with that count as unseen")
    return language_model


def _check_pieces(
    surfaces: Sequence[str], language_model: LanguageModel, model: Ngram, report: Callable[[str], None]
) -> None:
    """Refuse n-grams of pieces that the acoustic model does not have.

    Of a model whose tokenizer is known, all pieces must be the same: those of a smaller tokenizer may all be among
    those of a larger one, which cuts the same text otherwise. Of any other, the tokens must be the acoustic model's but
    for `MAX_UNWRITTEN`: sentencepiece leaves a letter that it does not know among the pieces as it is.
    """
    own = {piece_of(surface) for surface in surfaces if surface}
    tables, tokens = model.tables
    known = set(language_model.pieces or tokens) - RESERVED
    if known == own or (not language_model.pieces and known <= own):
        return
    foreign = ", ".join(sorted(known - own or own - known)[:MAX_SHOWN])
    if not language_model.pieces:
        shares = unigram_shares(tables, tokens, RESERVED)
        share = sum(float(shares[n]) for n, token in enumerate(tokens) if token in known - own)
        if share <= MAX_UNWRITTEN:
            report(f"language model: {share:.2%} of its pieces are none of the acoustic model's: {foreign}")
            return
    rest = [
        name
        for name, ngram in (("words", language_model.word), ("characters", language_model.character))
        if ngram
    ]
    without = f", or use its {' and '.join(rest)} alone, with --piece-weight 0" if rest else ""
    if all(len(piece) == 1 for piece in own):
        raise InputError(
            "language model: its n-grams are of sentence pieces, but the acoustic model writes letters. Build it with "
            f"--character-order instead of --piece-order{without}."
        )
    raise InputError(
        f"language model: its n-grams are of another tokenizer's sentence pieces: {len(known - own)} of its "
        f"{len(known)} are none of the acoustic model's {len(own)}, and {len(own - known)} of those are none of its "
        f"({foreign}). Build it with --policy and this model's folder{without}."
    )


def _say_nothing(line: str) -> None:
    pass


class Spelling:
    """How the acoustic model writes a text."""

    def __init__(self, heard: frozenset[str]) -> None:
        self._heard = heard
        self._known: dict[str, tuple[str | None, str]] = {}

    def __call__(self, text: str) -> str | None:
        """The text as it writes it; None where it cannot."""
        if text.isascii() and self._heard.issuperset(text):
            return text
        written = [self.letter(letter)[0] for letter in letters_of(text)]
        return None if None in written else "".join(part for part in written if part)

    @property
    def used(self) -> frozenset[str]:
        """Characters that letters were written with so far."""
        return frozenset("".join(written or "" for written, _ in self._known.values()))

    def letter(self, letter: str) -> tuple[str | None, str]:
        """A letter with its marks as it writes it, or None, and what was done, empty for nothing."""
        if letter not in self._known:
            self._known[letter] = self._find(letter)
        return self._known[letter]

    def _find(self, letter: str) -> tuple[str | None, str]:
        composed, apart = (unicodedata.normalize(form, letter) for form in ("NFC", "NFD"))
        written = as_written(letter, self._heard)
        if written is not None:
            return written, "" if written == letter else "NFC" if written == composed else "NFD"
        for form in (composed, apart):
            found = [(char, "") if char in self._heard else self._twin(char) for char in form]
            if all(char for char, _ in found):
                return "".join(char for char, _ in found), next(done for _, done in found if done)
        return None, ""

    def _twin(self, char: str) -> tuple[str, str]:
        """What the acoustic model has for a character that it lacks, and why; empty where it has nothing."""
        small, capital = TURKIC
        own = {"\u0130": "i"}
        if self._heard >= small or "i" not in self._heard:
            own["I"] = "\u0131"
        if self._heard >= capital or "I" not in self._heard:
            own["i"] = "\u0130"
        cases = (own.get(char, char), char.lower(), char.upper(), char.casefold())
        for other in cases:
            if self._heard.issuperset(other):
                return other, "case"
        for group in (*LOOK_ALIKES, *LETTERS):
            if not set(group).isdisjoint((char, *cases)):
                for other in group:
                    if other in self._heard:
                        return other, "apostrophe" if group == APOSTROPHES else "look-alike"
        return "", ""


@dataclass(frozen=True)
class Reconciled:
    """A language model as `reconcile` leaves it."""

    word: Ngram | None
    character: Ngram | None
    piece: Ngram | None
    pieces: tuple[str, ...]
    words: tuple[str, ...]
    characters: frozenset[str]
    heard: frozenset[str]
    """Characters of the acoustic model it was made for."""
    spelling: Spelling = field(compare=False)

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """Words of the word model as the acoustic model writes them."""
        return tuple(sorted({written for word in self.words if (written := self.spelling(word))}))

    @cached_property
    def speller(self) -> Ngram | None:
        """See `LanguageModel.speller`."""
        return self.character or (spelling_model(self.vocabulary) if self.vocabulary else None)


class RenamedNgram:
    """An n-gram model some of whose tokens are called otherwise."""

    def __init__(self, model: Ngram, called: Mapping[str, str]) -> None:
        """
        Args:
            called: new names of some tokens; empty for those that nobody may ask for.
        """
        self._model = model
        self._called = called
        self._token = {name: token for token, name in called.items() if name}

    def log_probs(self, tokens: Iterable[str]) -> list[float]:
        """See `Ngram.log_probs`."""
        return self._model.log_probs(
            self._token.get(token, "<unk>" if token in self._called else token) for token in tokens
        )

    def __contains__(self, token: str) -> bool:
        return token in self._token or (token not in self._called and token in self._model)

    @property
    def counts(self) -> NDArray[np.int64] | None:
        """See `NgramModel.counts`."""
        return _counts(self._model)

    @cached_property
    def tables(self) -> tuple[NgramTables, list[str]]:
        """See `Ngram.tables`."""
        tables, tokens = self._model.tables
        return tables, [self._called.get(token, token) for token in tokens]


def _respelled(model: Ngram, spelling: Spelling, unit: str, report: Callable[[str], None]) -> Ngram:
    tokens = model.tables[1]
    silent = RESERVED | {PIECE_SPACE}
    read = {number: spelling(token) for number, token in enumerate(tokens) if token not in silent}
    # A letter may come out as none or several, which no token for it could be.
    uneven = {
        number
        for number, written in read.items()
        if unit == "characters" and written is not None and len(written) != 1
    }
    if not uneven and all(written == tokens[number] for number, written in read.items()):
        return model  # without asking for shares, which take seconds where nothing was counted
    shares, estimated = _shares(model, unit, silent)
    changed: dict[int, str] = {}
    steps: dict[tuple[str, str, str], float] = defaultdict(float)
    missing: dict[str, float] = defaultdict(float)
    unwritten = 0.0
    for number, written in read.items():
        token, share = tokens[number], float(shares[number])
        if written is None or number in uneven:
            unwritten += share
            for letter in dict.fromkeys(letters_of(token)):
                if spelling.letter(letter)[0] is None or written is not None:
                    missing[letter] += share
        elif written != token:
            changed[number] = written
            for letter in dict.fromkeys(letters_of(token)):
                found, done = spelling.letter(letter)
                if found and done:
                    steps[letter, found, done] += share
    lacking = _listed([f"{name_of_letter(each)} ({share:.2%})" for each, share in _commonest(missing)])
    lacking += estimated
    if unwritten > MAX_UNWRITTEN:
        raise InputError(
            f"{unwritten:.2%} of the language model's {unit} cannot be written with the acoustic model's letters, and "
            f"at most {MAX_UNWRITTEN:.1%} may: {lacking}. Build it with the acoustic model's text policy, or without "
            f"those {unit}."
        )
    called, given_up = _names(changed, tokens, shares.tolist())
    if steps:
        listed = [
            f"{name_of_letter(letter)} as {name_of_letter(found)} ({done}, in {share:.2%})"
            for (letter, found, done), share in _commonest(steps)
        ]
        report(f"language model: {unit} are read as the acoustic model writes them: {_listed(listed)}")
    if given_up:
        report(
            f"language model: {unit} then written like a likelier one, which stands for them ({len(given_up)}): "
            f"{_listed(given_up)}"
        )
    if missing:
        report(f"language model: {unwritten:.2%} of its {unit} cannot be written: {lacking}")
    return RenamedNgram(model, called) if called else model


def _shares(model: Ngram, unit: str, silent: frozenset[str]) -> tuple[Shares, str]:
    """What part of the text each token is, 0 of the ``silent``, which do not count; and where that is an estimate, how.

    Counts where the model has them, as `lm.build` writes them; otherwise letters are followed through the n-grams, and
    words, whose histories are too many for that, are taken by their unigrams.
    """
    (tables, tokens), counts = model.tables, _counts(model)
    shares = counted_shares(counts, tokens, silent) if counts is not None else None
    if shares is not None:
        return shares, ""
    shares = walked_shares(tables, tokens, silent) if unit == "characters" else None
    if shares is not None:
        return shares, " (estimated from its n-grams)"
    return unigram_shares(tables, tokens, silent), " (estimated from its unigrams)"


def _counts(model: Ngram) -> NDArray[np.int64] | None:
    return model.counts if isinstance(model, NgramModel | RenamedNgram) else None


def _names(
    changed: Mapping[int, str], tokens: Sequence[str], chances: Sequence[float]
) -> tuple[dict[str, str], list[str]]:
    """New names of tokens, empty where a likelier one bears it, and the tokens of which that is so."""
    rivals: dict[str, list[int]] = defaultdict(list)
    for number, written in changed.items():
        rivals[written].append(number)
    for number, token in enumerate(tokens):
        if token in rivals and number not in changed:
            rivals[token].append(number)
    called: dict[str, str] = {}
    given_up = []
    for written, numbers in rivals.items():
        # Of equals, that which is written so already.
        best = max(numbers, key=lambda number: (chances[number], tokens[number] == written, -number))
        for number in numbers:
            if tokens[number] != written or number != best:
                called[tokens[number]] = written if number == best else ""
            if number != best:
                given_up.append(tokens[number])
    return called, given_up


def name_of_letter(letter: str) -> str:
    """A letter with its marks and its code points.

    >>> name_of_letter("n\\u0303")
    'n U+006E + ◌̃ U+0303'
    """
    return " + ".join(map(name_of, letter))


def _commonest(shares: Mapping[Key, float]) -> list[tuple[Key, float]]:
    return sorted(shares.items(), key=lambda item: -item[1])


def _listed(parts: Sequence[str]) -> str:
    more = f" and {len(parts) - MAX_SHOWN} more" if len(parts) > MAX_SHOWN else ""
    return ", ".join(parts[:MAX_SHOWN]) + more

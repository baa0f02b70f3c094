"""What the compiled search needs to know of labels and language models, as arrays."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from asr.decode.alphabet import written_hotwords
from asr.decode.config import BeamSearchConfig
from asr.decode.engine import NEW_WORD, NO_WORD, SPACE, UNHEARD, Known, Labels, Lexicon, Settings
from asr.decode.fusion import RESERVED, LanguageModel
from asr.decode.hotwords import make_hotwords, steepest
from lm.corpus import PIECE_SPACE, piece_of
from lm.errors import InputError
from lm.tables import UNKNOWN, NgramTables, no_tables, unigram_after_unknown

ALPHABET_SIZE = 30
"""Characters that unseen words are spelled with where no language model knows its alphabet."""


class Models:
    """The language models and hotwords of one configuration, ready for the search."""

    def __init__(
        self, surfaces: Sequence[str], blank: int, model: LanguageModel | None, config: BeamSearchConfig
    ) -> None:
        """
        Args:
            surfaces: text that each label writes.
        Raises:
            InputError: no label writes a character of a hotword, or there are no words for a closed vocabulary.
        """
        hotwords = written_hotwords(surfaces, config.hotwords)
        self.surfaces = tuple(surfaces)
        characters = [" ", *sorted(set("".join(surfaces)) - {" "})]
        assert characters[SPACE] == " "
        self.numbers = {char: number for number, char in enumerate(characters)}
        ends = Counter(surface[-1:] for surface in surfaces)
        piece = model.piece if model and config.piece_weight else None
        self.labels = Labels(
            blank=blank,
            at=np.cumsum([0, *map(len, surfaces)]).astype(np.int64),
            chars=np.array([self.numbers[char] for surface in surfaces for char in surface] or [0], np.int32),
            longest=max(1, *map(len, surfaces)),
            num_chars=len(characters),
            distinct=max(ends.values()) == 1 or (ends[""] == 1 and piece is not None),
        )
        closed = not config.open_vocabulary
        word = model.word if model and (config.lm_weight or closed) else None
        # The character model also spells unseen words, so it may be needed at char_weight 0; what stands in for it
        # does nothing else.
        spells = word is not None and config.spelling_weight > 0
        character = model.character if model and (config.char_weight > 0 or spells) else None
        char_weight = config.char_weight if character else 0.0
        if model and spells and not character and (not closed or hotwords):
            character = model.speller
        self.word: NgramTables = no_tables()
        known: dict[str, int] = {}
        alone: NDArray[np.float64] = np.zeros(1)
        if word:
            self.word, words = word.tables
            alone = unigram_after_unknown(self.word)
            known = {text: number for number, text in enumerate(words) if text not in RESERVED}
        if closed:
            for phrase in hotwords:
                known |= {text: NEW_WORD for text in phrase.split(" ") if text not in known}
            if not known:
                raise InputError(
                    "decoding option open_vocabulary is false, but there are no words to choose from. "
                    "Give a language model with words, or hotwords."
                )
        self.lexicon = make_lexicon(list(known.items()), alone, self.numbers)
        self.hotwords = make_hotwords(hotwords, self.numbers)
        self.character: NgramTables = no_tables()
        self.char_number = np.zeros(len(characters), np.int32)
        if character:
            self.character, tokens = character.tables
            token_number = {token: number for number, token in enumerate(tokens)}
            self.char_number[:] = [
                token_number.get(PIECE_SPACE if char == " " else char, UNKNOWN) for char in characters
            ]
        self.piece: NgramTables = no_tables()
        self.piece_number = np.full(len(surfaces), UNHEARD, np.int32)
        if piece:
            self.piece, tokens = piece.tables
            token_number = {token: number for number, token in enumerate(tokens)}
            self.piece_number[:] = [
                token_number.get(piece_of(surface), UNKNOWN) if surface else UNHEARD for surface in surfaces
            ]
        self.any_model = word is not None or character is not None or piece is not None
        size = max(2, len(model.characters) + 1) if model and model.characters else ALPHABET_SIZE
        # A whole number of Python's would have the search compiled anew.
        self.settings = Settings(
            lm_weight=float(config.lm_weight),
            char_weight=float(char_weight),
            piece_weight=float(config.piece_weight),
            word_bonus=float(config.word_bonus),
            unknown_offset=float(config.unknown_offset),
            spelling_weight=float(config.spelling_weight),
            uniform=-math.log(size),
            unknown=float(alone[UNKNOWN]),
            score_end=config.score_end,
            beam_width=config.beam_width,
            beam_threshold=float(config.beam_threshold),
            label_threshold=float(config.label_threshold),
            max_labels=config.max_labels,
            hotword_step=steepest(self.hotwords, self.labels.longest),
            letter_step=steepest(self.hotwords, self.labels.longest, within_word=True),
            has_word=word is not None,
            has_char=character is not None,
            has_piece=piece is not None,
            has_hotwords=bool(hotwords),
            closed=closed,
        )

    @property
    def known(self) -> Known:
        """All of it, for the compiled search."""
        return Known(
            self.labels, self.lexicon, self.hotwords, self.word, self.character, self.char_number, self.piece,
            self.piece_number, self.settings,
        )  # fmt: skip


def make_lexicon(
    words: Sequence[tuple[str, int]], alone: Sequence[float] | NDArray[np.float64], numbers: dict[str, int]
) -> Lexicon:
    """A tree of the words that the labels can write.

    Args:
        words: each with its number in the model, or `NEW_WORD`.
        alone: natural-log probability of each number by itself.
        numbers: of the characters that labels write; words with others are left out.
    """
    spelled = sorted((text, number) for text, number in words if text and all(c in numbers for c in text))
    ids = np.array([number for _, number in spelled], np.int32)
    return _tree(
        np.array([numbers[char] for text, _ in spelled for char in text], np.int32),
        np.cumsum([0, *(len(text) for text, _ in spelled)]),
        ids,
        np.where(ids == NEW_WORD, -math.inf, np.asarray(alone)[np.maximum(ids, 0)]),
    )


@njit(nogil=True, cache=True)
def _tree(
    chars: NDArray[np.int32], at: NDArray[np.int64], ids: NDArray[np.int32], log_prob: NDArray[np.float64]
) -> Lexicon:
    """The tree of words in order, so that each shares its beginning with the one before.

    Args:
        chars: of all words; of word ``n`` from ``at[n]`` on.
    """
    most = len(chars) + 1
    parent, char = np.zeros(most, np.int32), np.zeros(most, np.int32)
    word, best = np.full(most, NO_WORD, np.int32), np.full(most, -np.inf)
    path = np.zeros(np.max(np.diff(at)) + 1 if len(ids) else 1, np.int32)  # nodes of the word before
    count = 1
    for row in range(len(ids)):
        shared, length = 0, at[row + 1] - at[row]
        if row:
            before = at[row - 1]
            limit = min(at[row] - before, length)
            while shared < limit and chars[before + shared] == chars[at[row] + shared]:
                shared += 1
        for place in range(length):
            if place >= shared:
                parent[count], char[count] = path[place], chars[at[row] + place]
                path[place + 1] = count
                count += 1
            node = path[place + 1]
            best[node] = max(best[node], log_prob[row])
        word[path[length]] = ids[row]
    begins = np.zeros(count + 1, np.int64)
    for node in range(1, count):
        begins[parent[node] + 1] += 1
    begins = np.cumsum(begins)
    filled = begins[:-1].copy()
    letter, child = np.zeros(max(1, count - 1), np.int32), np.zeros(max(1, count - 1), np.int32)
    for node in range(1, count):
        place = filled[parent[node]]
        letter[place], child[place] = char[node], node
        filled[parent[node]] += 1
    return Lexicon(begins, letter, child, word[:count].copy(), best[:count].copy())

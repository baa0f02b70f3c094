"""A model of the letters of known words, to spell unknown ones where a language model has words alone.

Without it every letter would cost the same, and the cheapest way to write two unknown words is to glue them together:
one unknown word instead of two. Letters that end words, and how long words are, are what a list of words tells.
"""

from __future__ import annotations

import random
from functools import lru_cache

from lm.corpus import characters_of
from lm.kneser_ney import estimate
from lm.ngram import NgramModel

ORDER = 6
"""On Killkan's dev chapter, with a word model alone, 25.1 % WER; 4 gave 26.4, letters that all cost the same 28.8."""
MOST_WORDS = 20_000
"""Counted; drawn where there are more. That takes two seconds."""
WORDS_A_LINE = 8
"""Words stand side by side, as in a sentence: a boundary is more often followed by a word than by the end."""


@lru_cache(maxsize=4)
def spelling_model(words: tuple[str, ...]) -> NgramModel:
    """A character model of words, each counted once, in an order of chance that is always the same.

    Args:
        words: at least one.
    """
    draw = random.Random(0)
    drawn = draw.sample(words, min(len(words), MOST_WORDS))
    lines = [" ".join(drawn[at : at + WORDS_A_LINE]) for at in range(0, len(drawn), WORDS_A_LINE)]
    return NgramModel.of(estimate(map(characters_of, lines), ORDER), "letters of the vocabulary")

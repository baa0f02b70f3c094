"""Cut a translation of a whole recording where its reference is cut: minimum word error rate (Matusov et al. 2005).

Automatic segments do not match the reference's utterances, and BLEU needs a pair for each. So the
hypothesis' words are taken as one stream and cut into as many pieces as there are references, such
that the pieces have the fewest edits together (sec. 3 of the paper; the program mwerSegmenter).
Many cuts share the fewest edits: of those we take one with the most cuts where the system itself
had cut, and of these the one with the latest cuts, beginning from the last. An inserted word thus
belongs to the utterance before it, as in `asr.score`, unless the system said otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Mapping, Sequence

import numpy as np

from asr.text import TextPolicy
from st.score import without_spaces

__all__ = ["minimum_error_cuts", "resegment", "resegment_recordings"]

_POLICY = TextPolicy()
# At an automatic cut "so. He" has become "so he": the very words that fix the cut differ by what the
# cut did to them, hence words are compared without case and punctuation. What is scored keeps both.

SIGNATURE = f"mwer|{_POLICY.describe()}"
"""How the words are compared where cuts are looked for."""


def minimum_error_cuts(
    references: Sequence[Sequence[Hashable]], hypothesis: Sequence[Hashable], boundaries: Collection[int] = ()
) -> list[int]:
    """Where each reference's piece of the hypothesis ends, for the fewest edits in all.

    One row of the edit matrix at a time, each row at once in numpy; the time is that of
    (reference words x hypothesis words), the memory that of (references x hypothesis words).

    Args:
        references: the words of each utterance, in order; an utterance may be empty.
        hypothesis: the words of the recording, in order.
        boundaries: how many words stand before each of the system's own cuts.

    >>> minimum_error_cuts(["the cat sat".split(), "on it".split()], "a cat sat down on it".split())
    [4, 6]
    """
    assert references, "nothing to cut for"
    numbers: dict[Hashable, int] = {}
    words = np.array([numbers.setdefault(word, len(numbers)) for word in hypothesis], dtype=np.int64)
    columns = len(words) + 1
    # One integer holds edits, then missed boundaries, then how early the piece begins; the least wins.
    miss = columns
    edit = miss * (len(references) + 1)
    missed = np.full(columns, miss)
    missed[list(boundaries)] = 0
    insertions = edit * np.arange(columns)  # from column 0 to each column
    begins = np.zeros((len(references), columns), dtype=np.min_scalar_type(columns))
    earliness = np.arange(columns)[::-1]
    # A row is kept less `insertions`, so that a step to the right is free and the least so far is the best.
    row = np.full(columns, earliness[0])
    for index, reference in enumerate(references):
        for word in reference:
            # Both words cost one edit where they differ, and the one on the left is kept off the row.
            diagonal = row[:-1] - edit * (words == numbers.get(word, -1))
            row = row + edit
            np.minimum(row[1:], diagonal, out=row[1:])
            row = np.minimum.accumulate(row)
        costs = row + insertions
        begins[index] = columns - 1 - costs % columns
        costs += missed - costs % columns + earliness  # the next piece begins here
        row = np.minimum.accumulate(costs - insertions)
    cuts = [len(words)]
    for index in range(len(references) - 1, 0, -1):
        cuts.append(int(begins[index, cuts[-1]]))
    return cuts[::-1]


def resegment(references: Sequence[str], segments: Sequence[str], *, characters: bool = False) -> list[str]:
    """The hypothesis' text for each reference, cut for the fewest word errors.

    Args:
        references: the reference's utterances, in order.
        segments: the system's segments of the same recording, in order.
        characters: cut between characters, for writing without spaces.
    """
    token = re.compile(r"\S" if characters else r"\S+")
    compared: dict[str, str] = {}

    def key(word: str) -> str:
        if word not in compared:
            compared[word] = _POLICY(word) or word  # a mark that stands alone is still a word
        return compared[word]

    # Between segments is a space, unless the writing has none.
    text = ("" if characters and without_spaces(segments) else "\n").join(segments)
    spans = [match.span() for match in token.finditer(text)]
    counts = np.cumsum([len(token.findall(segment)) for segment in segments])
    cuts = minimum_error_cuts(
        [[key(word) for word in token.findall(reference)] for reference in references],
        [key(text[start:end]) for start, end in spans],
        [int(count) for count in counts[:-1]],  # the end is everyone's cut
    )
    pieces = []
    for first, last in zip([0, *cuts], cuts, strict=False):
        # A slice of the text, not its tokens joined: characters keep the spaces they had.
        piece = text[spans[first][0] : spans[last - 1][1]] if first < last else ""
        pieces.append(" ".join(piece.split()))
    return pieces


def resegment_recordings(
    references: Mapping[str, Sequence[tuple[str, str]]],
    transcripts: Mapping[str, str],
    *,
    characters: bool = False,
) -> dict[str, str]:
    """Utterance id -> its piece of the hypothesis, for every recording that has a transcript.

    Args:
        references: recording -> its utterances in order of time, as (id, text); one without
            text takes no words.
        transcripts: recording -> the whole hypothesis, one segment on each line.
        characters: as for `resegment`.
    """
    pieces: dict[str, str] = {}
    for recording, utterances in references.items():
        spoken = [(name, text) for name, text in utterances if text.strip()]
        if recording in transcripts and spoken:
            texts = resegment(
                [text for _, text in spoken], transcripts[recording].split("\n"), characters=characters
            )
            pieces |= {name: text for (name, _), text in zip(spoken, texts, strict=True)}
    return pieces

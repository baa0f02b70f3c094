"""Lines of a transcript as the labels that are looked for in a recording."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr.align.search import GAP
from asr.arrays import FloatArray
from asr.formats import read_transcript
from asr.formats.annotations import read_annotations
from asr.formats.plain import read_txt
from asr.formats.tiernames import TIER_ENDINGS, speaker_of
from asr.names import shown, tell_once
from asr.text import TextPolicy
from asr.tokenizer import UNKNOWN, Tokenizer, silent_labels
from asr.transcript import Transcript, TranscriptSegment
from lm.errors import InputError

FIRST_LABEL = GAP + 1
"""Column of the first of the labels that are used."""
LEAST = np.float32(-30.0)
"""Log-probability of a label that is out of the question."""
REACH = 16
"""Words that a rule of the text policy may be long."""


@dataclass(frozen=True)
class Line:
    """One line of a transcript, and how a model spells it."""

    number: int
    """Among the transcript's segments, from 1; of a .txt that `read_lines` read, that of the file's line."""
    segment: TranscriptSegment
    """As it was read; its times are not used."""
    labels: tuple[int, ...]
    """`UNKNOWN` for what the model cannot write: one, however many characters."""
    words: tuple[tuple[str, int, int], ...]
    """Each word, or several that are one to the text policy (see `words_of`), as the transcript has it, its first
    label's place and one past its last's."""
    written: tuple[bool, ...]
    """Of each word, whether the model writes any letter of it."""

    @property
    def findable(self) -> bool:
        """Whether it writes any at all; of numbers alone, as a rule, there is nothing to align."""
        return any(self.written)

    @property
    def known(self) -> frozenset[int]:
        """The labels that can be looked for, word boundaries included."""
        return frozenset(self.labels) - {UNKNOWN}


def read_lines(path: Path, tiers: Sequence[str] = ()) -> Transcript:
    """The transcript whose segments are the lines: of a format of ours, or the annotations of others' tiers.

    Empty lines of a .txt are segments without text, so that the numbers of the others are those an editor shows.

    Args:
        tiers: names or shell patterns, for ELAN and Praat; not needed where only one can be meant.
    Raises:
        InputError: unreadable, no such tier, or several to choose among.
    """
    if path.suffix.lower() not in TIER_ENDINGS:
        if tiers:
            raise InputError(f"{shown(path)} has no tiers; --tier is for ELAN and Praat. Leave it out.")
        if path.suffix.lower() != ".txt":
            return read_transcript(path)
        transcript = read_txt(path, keep_empty=True)
        _tell_column(path, transcript)
        return transcript
    found = read_annotations(path, tiers)
    if not tiers and all(speaker_of(name) is not None for name in found):
        return read_transcript(path)  # with translations
    segments = sorted((each for tier in found.values() for each in tier), key=lambda each: each.start)
    duration = max((each.end for each in segments), default=0.0)
    return Transcript(recording=path.stem, audio=Path(path.stem), duration=duration, segments=tuple(segments))


def _tell_column(path: Path, transcript: Transcript) -> None:
    """Say on stderr what is taken for text where a .txt seems to have speakers or times before its tabs."""
    texts = [each.text for each in transcript.segments if each.translation]
    repeated = len(texts) >= 2 * len(set(texts))
    wordless = sum(not any(map(str.isalpha, text)) for text in texts)
    if len(texts) > 1 and (repeated or 2 * wordless > len(texts)):
        tell_once(
            f"{shown(path)}: what stands before the tab of a line is taken for its text, as {texts[0][:40]!r}, and "
            "what follows for its translation. If these are speakers or times, remove that column."
        )


def lines_of(transcript: Transcript, tokenizer: Tokenizer) -> list[Line]:
    """Every line of a transcript that says anything, in order."""
    return [
        line_of(segment, tokenizer, number)
        for number, segment in enumerate(transcript.segments, start=1)
        if segment.text.strip()
    ]


def unknown_characters(lines: Iterable[Line], tokenizer: Tokenizer) -> Counter[str]:
    """Characters that the model cannot write, with their counts."""
    return tokenizer.unknown(tokenizer.nearest(line.segment.text) for line in lines)


def words_of(text: str, policy: TextPolicy) -> list[str]:
    """The words of a text, in one those that the policy has to see together: a rule may be of several words.

    >>> words_of("ari [risa larga] mana", TextPolicy(replace={"[risa larga]": ""}))
    ['ari', '[risa larga]', 'mana']
    """
    spans = [match.span() for match in re.finditer(r"\S+", text)]
    if _joined(policy(text[start:end]) for start, end in spans) == policy(text):
        return [text[start:end] for start, end in spans]
    found: list[str] = []
    first = 0
    for last in range(len(spans)):
        # A word ends a unit where the text to its end and what follows are the same apart as together.
        begin, end, stop = spans[first][0], spans[last][1], spans[min(last + REACH, len(spans) - 1)][1]
        if _joined(map(policy, (text[begin:end], text[end:stop]))) == policy(text[begin:stop]):
            found.append(text[begin:end])
            first = last + 1
    return found


def _joined(texts: Iterable[str]) -> str:
    return " ".join(text for text in texts if text)


def line_of(segment: TranscriptSegment, tokenizer: Tokenizer, number: int = 1) -> Line:
    """A line that says anything, word by word as a model spells it."""
    labels: list[int] = []
    words, written = [], []
    for word in words_of(segment.text, tokenizer.policy):
        spelled: list[int] = []
        for label in tokenizer.spell(word):
            if label != UNKNOWN or spelled[-1:] != [UNKNOWN]:
                spelled.append(label)
        if not spelled:  # punctuation that stands alone, or what the policy replaces with nothing
            continue
        if labels:
            labels += tokenizer.between
        words.append((word, len(labels), len(labels) + len(spelled)))
        labels += spelled
        written.append(any(label != UNKNOWN and tokenizer.surfaces[label].strip() for label in spelled))
    return Line(number, segment, tuple(labels), tuple(words), tuple(written))


class Columns:
    """The emissions that some lines need: of the blank, of a gap, and of each label that occurs.

    A model of thousands of labels needs no more room than one of an alphabet.
    """

    def __init__(self, tokenizer: Tokenizer, lines: Iterable[Line], star_cost: float) -> None:
        self.labels = sorted(frozenset[int]().union(*(line.known for line in lines)))
        self.surfaces = ("", "", *(tokenizer.surfaces[label] for label in self.labels))
        """What each column writes."""
        self.star_cost = star_cost
        self._blank = tokenizer.blank
        # What a pause is heard as, too: word boundaries and labels that write nothing, as languages'.
        self._silent = silent_labels(tokenizer.surfaces)
        self._places = {label: place for place, label in enumerate(self.labels, start=FIRST_LABEL)}
        self._places[UNKNOWN] = GAP

    def __len__(self) -> int:
        return FIRST_LABEL + len(self.labels)

    def of(self, labels: Sequence[int]) -> NDArray[np.int32]:
        """Column of each label."""
        return np.array([self._places[label] for label in labels], dtype=np.int32)

    def take(self, emissions: FloatArray) -> FloatArray:
        """These columns (T, K) of emissions (T, C)."""
        rows = np.empty((len(emissions), len(self)), dtype=np.float32)
        rows[:, 0] = emissions[:, self._blank]
        star = emissions.max(axis=1) - np.float32(self.star_cost)
        rows[:, GAP] = np.maximum(emissions[:, self._silent].max(axis=1), star)
        rows[:, FIRST_LABEL:] = emissions[:, self.labels]
        # What is less likely than this is as good as impossible, and must not be worth a detour of many frames.
        return np.maximum(rows, LEAST, out=rows)

    def pause(self) -> FloatArray:
        """A frame of silence, (1, K)."""
        row = np.full((1, len(self)), LEAST, dtype=np.float32)
        row[:, :FIRST_LABEL] = 0.0
        return row

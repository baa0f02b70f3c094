"""A corpus cut at random, so that a model can learn from such cuts as automatic segmenters make.

After FBK (Gaido et al. 2020, "Contextualized Translation of Automatically Segmented Speech"): in each utterance of a
recording one word is drawn, and the new utterances reach from the drawn word of one to that of the next. Each so
holds the end of one sentence and the beginning of another, as a cut does that misses the pause. Where the pause
between two utterances is long they stay apart: what has no text may be said in it, as the lines that `asr.align.corpus`
rejects, and a model would learn to leave out speech.

A translation is cut along: by an alignment of its words where there is one, and otherwise in proportion to the letters
of the source that lie before the cut, which is a weak stand-in where the order of words differs. Where the writing puts
no spaces, that is between letters; a translation of one word is left out, for no part of the source has it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from asr.manifest import Utterance
from asr.text import UNIT
from asr.transcript import Word
from lm.errors import InputError

SHORTEST_S = 0.25
"""Shorter pieces are left out."""
OUTLIER_WORDS = 5
"""A last aligned word this far behind the others is taken for a mistake of the word aligner."""

Pairs = Sequence[tuple[int, int]]
"""Word of the source and word of the translation, both from 0 and as spaces divide them, that belong together."""


@dataclass(frozen=True)
class Part:
    """What lies before, between or after the cuts through an utterance."""

    number: int
    """From 1, before the first cut."""
    text: str
    translation: str
    start: float
    end: float


def recut(
    rows: Sequence[Utterance],
    words: Mapping[str, Sequence[Word]],
    *,
    seed: int,
    longest_s: float = 30.0,
    max_pause_s: float = 1.0,
    alignments: Mapping[str, Pairs] | None = None,
    words_of: Callable[[str], list[str]] = str.split,
    apart: Callable[[Utterance, Utterance], None] | None = None,
) -> Iterator[Utterance]:
    """New utterances of the recordings of a manifest.

    Args:
        rows: utterances; those of one recording share its audio.
        words: the words of an utterance in seconds of its recording, by its id, as its text has them (see
            `asr.align.words`); one without words, as one without text, is passed over, and no new utterance
            reaches across it, nor from one split into another.
        seed: of the draws; each utterance's follows from it and the id's place.
        longest_s: where two halves and what is between them would be longer, each stands alone. A half that is
            longer still is cut again, and left out if it is one word.
        max_pause_s: after a longer one each stands alone, too. Of killkan's pauses between lines 91 % are shorter.
        alignments: of source and translation, by id.
        words_of: the words of a text; what is one word to it is never cut (see `asr.align.texts.words_of`).
        apart: called with each two utterances that only the length of the pause keeps from being joined.
    Yields:
        utterances in the order of their recordings and times.
    """
    by_audio: dict[Path, list[Utterance]] = {}
    for row in rows:
        by_audio.setdefault(row.audio, []).append(row)
    for number, own in enumerate(by_audio.values()):
        own.sort(key=lambda row: row.offset_s)
        generator = np.random.default_rng([seed, number])
        ended: tuple[Utterance, Part] | None = None  # the last part of the utterance before
        until = 0.0  # the end of all before
        for row in own:
            follows = (
                ended is not None
                and ended[0].split == row.split
                and until - 0.01 <= min(ended[1].end, row.offset_s)  # two at a time are no sentence
            )
            until = max(until, row.offset_s + row.duration_s)
            spoken = words.get(row.id, ())
            if not spoken:
                yield from _joined([ended] if ended else [], longest_s)
                ended = None
                continue
            pairs = (alignments or {}).get(row.id)
            first, *inner, last = _parts(row, words_of(row.text), spoken, generator, pairs, longest_s)
            before, begun = [ended] if ended else [], [(row, first)]
            if ended and follows and first.end - ended[1].start <= longest_s:
                if row.offset_s - ended[1].end <= max_pause_s:
                    before, begun = [], [ended, *begun]
                elif apart:
                    apart(ended[0], row)
            yield from _joined(before, longest_s)
            yield from _joined(begun, longest_s)
            for part in inner:
                yield from _joined([(row, part)], longest_s)
            ended = (row, last)
        yield from _joined([ended] if ended else [], longest_s)


def read_alignments(path: Path, rows: Sequence[Utterance]) -> dict[str, Pairs]:
    """Alignments as fast_align writes them: a line of ``i-j`` for each row that has text and translation, in order.

    Raises:
        InputError: it cannot be read, or its lines are not such, not as many, or of longer texts.
    """
    from asr.formats.files import read_text

    translated = [row for row in rows if row.text and row.translation]
    lines = read_text(path).splitlines()
    if len(lines) != len(translated):
        raise InputError(
            f"{path}: {len(lines)} lines for {len(translated)} rows with text and translation. "
            "Align exactly those, in the order of the manifest."
        )
    found: dict[str, Pairs] = {}
    for number, (row, line) in enumerate(zip(translated, lines, strict=True), start=1):
        pairs = [re.fullmatch(r"(\d+)-(\d+)", each) for each in line.split()]
        if not all(pairs):
            raise InputError(f"{path}, line {number}: {line[:40]!r} is not of the form `0-0 1-2`.")
        found[row.id] = [(int(pair[1]), int(pair[2])) for pair in pairs if pair]
        num_words, num_translated = len(row.text.split()), len(row.translation.split())
        for source, target in found[row.id]:
            if source >= num_words or target >= num_translated:
                raise InputError(
                    f"{path}, line {number}: {source}-{target}, counted from 0, is beyond {row.id}, which has "
                    f"{num_words} words of text and {num_translated} of translation. Align exactly those rows, in the "
                    "order of the manifest."
                )
    return found


def _parts(
    row: Utterance,
    tokens: Sequence[str],
    spoken: Sequence[Word],
    generator: np.random.Generator,
    pairs: Pairs | None,
    longest_s: float,
) -> list[Part]:
    """What lies before and from a drawn word on, cut again in the middle where that is too long.

    Of an utterance that cannot be cut, nothing and all.
    """
    translation = " ".join(row.translation.split())
    target = re.findall(r"\s*\S+", translation) if pairs else UNIT.findall(translation)
    times = _cut_times(tokens, spoken)
    cut = int(generator.choice(list(times))) if times else 0
    times |= {0: row.offset_s, len(tokens): row.offset_s + row.duration_s}
    edges = [0, cut, len(tokens)]
    place = 1
    while place < len(edges):
        start, end = (times[edge] for edge in edges[place - 1 : place + 1])
        inner = [each for each in times if edges[place - 1] < each < edges[place]]
        if inner and end - start > longest_s:
            edges.insert(place, min(inner, key=lambda each: abs(times[each] - (start + end) / 2)))
        else:
            place += 1
    if not pairs and len(target) == 1 and any(0 < edge < len(tokens) for edge in edges):
        target = []
    sides = [_cut_translation(tokens[:edge], tokens[edge:], target, pairs) for edge in edges]
    return [
        Part(
            number,
            " ".join(tokens[first:last]),
            "".join(target[sides[number - 1][1] : sides[number][0]]).strip(),
            times[first],
            times[last],
        )
        for number, (first, last) in enumerate(pairwise(edges), start=1)
    ]


def _cut_times(tokens: Sequence[str], spoken: Sequence[Word]) -> dict[int, float]:
    """Tokens before which a cut may lie, with its second: the middle of what is between two words."""
    times: dict[int, float] = {}
    number = 0  # of the words before the token
    for place, token in enumerate(tokens):
        # Punctuation that stands alone, or an annotation, is no word: it stays with the word before it.
        if number == len(spoken) or token != spoken[number].text:
            continue
        # Between two words of which the model writes no letter nobody knows where one ends.
        if number and max(spoken[number - 1].confidence, spoken[number].confidence) > 0:
            times[place] = (spoken[number - 1].end + spoken[number].start) / 2
        number += 1
    assert number == len(spoken), "these are not the words of the text"
    return times


def _cut_translation(
    before: Sequence[str], after: Sequence[str], target: Sequence[str], pairs: Pairs | None
) -> tuple[int, int]:
    """Where the translation's first half ends and its second begins, in units, which may fall in both, or in none."""
    if not before or not after:
        return (0, 0) if not before else (len(target), len(target))
    if not pairs:
        letters = len(" ".join(before))
        share = letters / (letters + 1 + len(" ".join(after)))
        place = round(share * len(target))
        return place, place
    # A token may be several words; the alignment counts each.
    border = len(" ".join(before).split())
    left = sorted(target_word for source, target_word in pairs if source < border)
    right = [target_word for source, target_word in pairs if source >= border]
    while len(left) > 1 and left[-1] - left[-2] > OUTLIER_WORDS:
        left.pop()
    end = left[-1] + 1 if left else 0
    return min(end, len(target)), min([*right, len(target)])


def _joined(parts: Sequence[tuple[Utterance, Part]], longest_s: float) -> Iterator[Utterance]:
    """An utterance of parts that follow each other, without those that are too short to be heard."""
    kept = [(row, part) for row, part in parts if part.text and part.end - part.start >= SHORTEST_S]
    if kept and kept[-1][1].end - kept[0][1].start <= longest_s:
        made = _utterance(kept[0][0], [part for _, part in kept])
        yield made if len({row.speaker for row, _ in kept}) == 1 else replace(made, speaker="", gender="")


def _utterance(row: Utterance, parts: Sequence[Part]) -> Utterance:
    """An utterance of parts; one whose translation is not known has none, rather than a piece of one."""
    start, end = parts[0].start, parts[-1].end
    translated = all(part.translation for part in parts)
    return replace(
        row,
        id=f"{row.id}-cut{parts[0].number}",
        offset_s=round(start, 3),
        duration_s=round(end - start, 3),
        text=" ".join(part.text for part in parts),
        translation=" ".join(part.translation for part in parts) if translated else "",
    )

"""A corpus cut at random, so that a model can learn from such cuts as automatic segmenters make.

After FBK (Gaido et al. 2020, "Contextualized Translation of Automatically Segmented Speech"): in each utterance of a
recording one word is drawn, and the new utterances reach from the drawn word of one to that of the next. Each so
holds the end of one sentence and the beginning of another, as a cut does that misses the pause.

A translation is cut along: by an alignment of its words where there is one, and otherwise in proportion to the letters
of the source that lie before the cut, which is a weak stand-in where the order of words differs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from asr.manifest import Utterance
from asr.text import TextPolicy
from asr.transcript import Word
from lm.errors import InputError

SHORTEST_S = 0.25
"""Shorter pieces are left out."""
OUTLIER_WORDS = 5
"""A last aligned word this far behind the others is taken for a mistake of the word aligner."""

Pairs = Sequence[tuple[int, int]]
"""Word of the source and word of the translation, from 0, that belong together."""


@dataclass(frozen=True)
class Half:
    """What lies on one side of a cut through an utterance."""

    number: int
    """1 before the cut, 2 after it."""
    text: str
    translation: str
    start: float
    end: float


def recut(
    rows: Sequence[Utterance],
    words: Mapping[str, Sequence[Word]],
    policy: TextPolicy,
    *,
    seed: int,
    longest_s: float = 30.0,
    alignments: Mapping[str, Pairs] | None = None,
) -> Iterator[Utterance]:
    """New utterances of the recordings of a manifest.

    Args:
        rows: utterances; those of one recording share its audio.
        words: the words of an utterance in seconds of its recording, by its id; one without words, as one
            without text, is passed over, and no new utterance reaches across it.
        policy: under which the words were written.
        seed: of the draws; each utterance's follows from it and the id's place.
        longest_s: where two halves and what is between them would be longer, each stands alone.
        alignments: of source and translation, by id.
    Yields:
        utterances in the order of their recordings and times.
    """
    by_audio: dict[Path, list[Utterance]] = {}
    for row in rows:
        by_audio.setdefault(row.audio, []).append(row)
    for number, own in enumerate(by_audio.values()):
        own.sort(key=lambda row: row.offset_s)
        generator = np.random.default_rng([seed, number])
        ended: tuple[Utterance, Half] | None = None  # the second half of the utterance before
        for row in own:
            spoken = words.get(row.id, ())
            if not spoken:
                yield from _joined([ended] if ended else [])
                ended = None
                continue
            first, second = _halves(row, spoken, generator, policy, (alignments or {}).get(row.id))
            follows = (
                ended is not None and row.offset_s >= ended[1].end - 0.01
            )  # two at a time are no sentence
            if ended and follows and first.end - ended[1].start <= longest_s:
                yield from _joined([ended, (row, first)])
            else:
                yield from _joined([ended] if ended else [])
                yield from _joined([(row, first)])
            ended = (row, second)
        yield from _joined([ended] if ended else [])


def read_alignments(path: Path, rows: Sequence[Utterance]) -> dict[str, Pairs]:
    """Alignments as fast_align writes them: a line of ``i-j`` for each row that has text and translation, in order.

    Raises:
        InputError: it cannot be read, or its lines are not such or not as many.
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
    return found


def _halves(
    row: Utterance,
    spoken: Sequence[Word],
    generator: np.random.Generator,
    policy: TextPolicy,
    pairs: Pairs | None,
) -> tuple[Half, Half]:
    """What lies before and from a drawn word on; of an utterance that cannot be cut, nothing and all."""
    tokens = _tokens(row.text, policy, len(spoken))
    counts = np.cumsum([0, *(count for _, count in tokens)])
    # A token may hold several words of the policy, or none (a dash): a cut lies before the word of a token.
    places = [place for place, (_, count) in enumerate(tokens) if count and counts[place]]
    cut = int(generator.choice(places)) if places else 0
    before, after = ([token for token, _ in part] for part in (tokens[:cut], tokens[cut:]))
    target = row.translation.split()
    left, right = _cut_translation(before, after, target, pairs)
    word = int(counts[cut])
    # The cut lies in the middle of what is between the two words.
    time = (spoken[word - 1].end + spoken[word].start) / 2 if word else row.offset_s
    return (
        Half(1, " ".join(before), " ".join(target[:left]), row.offset_s, time),
        Half(2, " ".join(after), " ".join(target[right:]), time, row.offset_s + row.duration_s),
    )


def _tokens(text: str, policy: TextPolicy, words: int) -> list[tuple[str, int]]:
    """The text's tokens as they are written, with the words that the policy makes of each.

    Where the policy makes other words of the whole than of its parts, they are its own.
    """
    tokens = [(token, len(policy(token).split())) for token in text.split()]
    if sum(count for _, count in tokens) == words:
        return tokens
    return [(word, 1) for word in policy(text).split()]


def _cut_translation(
    before: Sequence[str], after: Sequence[str], target: Sequence[str], pairs: Pairs | None
) -> tuple[int, int]:
    """Where the translation's first half ends and its second begins, in words; words may fall in both, or in none."""
    if not before or not after:
        return (0, 0) if not before else (len(target), len(target))
    if not pairs:
        letters = len(" ".join(before))
        share = letters / (letters + 1 + len(" ".join(after)))
        place = round(share * len(target))
        return place, place
    left = sorted(target_word for source, target_word in pairs if source < len(before))
    right = [target_word for source, target_word in pairs if source >= len(before)]
    while len(left) > 1 and left[-1] - left[-2] > OUTLIER_WORDS:
        left.pop()
    end = left[-1] + 1 if left else 0
    return min(end, len(target)), min([*right, len(target)])


def _joined(parts: Sequence[tuple[Utterance, Half]]) -> Iterator[Utterance]:
    """An utterance of halves that follow each other, without those that are too short to be heard."""
    kept = [(row, half) for row, half in parts if half.text and half.end - half.start >= SHORTEST_S]
    if kept:
        made = _utterance(kept[0][0], [half for _, half in kept])
        yield made if len({row.speaker for row, _ in kept}) == 1 else replace(made, speaker="", gender="")


def _utterance(row: Utterance, halves: Sequence[Half]) -> Utterance:
    """An utterance of halves; one whose translation is not known has none, rather than a part of one."""
    start, end = halves[0].start, halves[-1].end
    translated = all(half.translation for half in halves)
    return replace(
        row,
        id=f"{row.id}-cut{halves[0].number}",
        offset_s=round(start, 3),
        duration_s=round(end - start, 3),
        text=" ".join(half.text for half in halves),
        translation=" ".join(half.translation for half in halves) if translated else "",
    )

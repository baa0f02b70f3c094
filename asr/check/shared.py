"""What training must not share with the sets that measure it: texts, speakers, recordings, new characters."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

from asr.check.findings import CheckConfig, Finding
from asr.manifest import Utterance, normalised_text, recording_place

SHOWN = 4
"""Examples in a message."""


def check_splits(utterances: Sequence[Utterance], config: CheckConfig) -> Iterator[Finding]:
    """Findings about what splits share, and about characters that training never sees."""
    splits: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        splits[utterance.split].append(utterance)
    splits.pop("", None)
    names = sorted(splits, key=lambda name: (name != config.train_split, name))
    for known, held_out in combinations(names, 2):
        yield from _shared(
            splits, known, held_out, "speaker", lambda each: each.speaker,
            "Split by speaker to measure new speakers; with too few for that, say so with the score.",
        )  # fmt: skip
        yield from _shared(
            splits, known, held_out, "recording", lambda each: recording_place(each)[0],
            "Split by recording: `loquela corpus import --split-by recording`.",
        )  # fmt: skip
        yield from _shared(
            splits, known, held_out, "text", lambda each: normalised_text(each, config.policy),
            "Give the score with and without them, or keep them in one split: a model may have learnt them.",
        )  # fmt: skip
    if config.train_split in splits:
        yield from _unseen(splits, config)


def _shared(
    splits: dict[str, list[Utterance]],
    known: str,
    held_out: str,
    what: str,
    key: Callable[[Utterance], str],
    remedy: str,
) -> Iterator[Finding]:
    there = {key(each) for each in splits[known]} - {""}
    found = [each for each in splits[held_out] if key(each) in there]
    if found:
        values = list(dict.fromkeys(key(each) for each in found))
        shown = ", ".join(repr(value[:60]) for value in values[:SHOWN]) + (
            " …" if len(values) > SHOWN else ""
        )
        yield Finding(
            kind=f"{what}s-across-splits",
            severity="warning",
            message=f"{len(found)} of {len(splits[held_out])} utterances of {held_out} have a {what} that "
            f"{known} has too ({len(values)} different: {shown})",
            remedy=remedy,
            utterance_ids=tuple(each.id for each in found),
            where=f"{known}/{held_out}",
        )


def _unseen(splits: dict[str, list[Utterance]], config: CheckConfig) -> Iterator[Finding]:
    known = {char for each in splits[config.train_split] for char in normalised_text(each, config.policy)}
    for split, members in splits.items():
        if split == config.train_split:
            continue
        counts: Counter[str] = Counter()
        holders: dict[str, list[Utterance]] = defaultdict(list)
        for each in members:
            text = normalised_text(each, config.policy)
            counts.update(char for char in text if char not in known)
            for char in set(text) - known:
                holders[char].append(each)
        for char, count in counts.most_common():
            example = holders[char][0]
            yield Finding(
                kind="unseen-character",
                severity="warning",
                message=f"{code_point(char)} occurs {count} time(s) in {split} and never in "
                f"{config.train_split}, as in {example.id}: {example.text[:60]!r}",
                remedy="A model cannot write it. Correct a slip; else map it in the text policy's `replace`, "
                "or move an utterance that has it into training.",
                utterance_ids=tuple(each.id for each in holders[char]),
                where=code_point(char),
            )


def code_point(char: str) -> str:
    """A character by its number and name, which shows what looks like another.

    >>> code_point("ω")
    'U+03C9 GREEK SMALL LETTER OMEGA'
    """
    return f"U+{ord(char):04X} {unicodedata.name(char, 'without a name')}"

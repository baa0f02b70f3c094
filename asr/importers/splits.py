"""Cut a corpus into training, development and test sets that share no recording or speaker."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from asr.manifest import Utterance, recording_place
from lm.errors import InputError

SplitBy = Literal["utterance", "recording", "speaker"]

MAX_OVERFILL = 1.5
"""A group goes where it leaves the split under this many times its share, if there is such a split."""


def assign_splits(
    utterances: Sequence[Utterance], shares: Mapping[str, float], *, by: SplitBy = "recording", seed: int = 0
) -> list[Utterance]:
    """The utterances with their ``split`` set, in the same order.

    Whole groups (a recording, a speaker) are dealt out in an order drawn from the seed and the
    group's name, each to the split that is emptiest against its share of the total duration. No
    split stays empty.

    Args:
        shares: split to its share of the hours; any positive numbers, taken relative to their sum.
        by: what must not be shared between splits. The recording of an utterance is what
            `recording_place` says.
    Raises:
        InputError: a share is not positive, there are fewer groups than splits, or an utterance
            has no speaker to go by.
    """
    if not shares or min(shares.values()) <= 0:
        raise InputError(
            f"split shares {dict(shares)}: give positive numbers, as in train=0.8,dev=0.1,test=0.1."
        )
    keys = [_group(utterance, by) for utterance in utterances]
    hours: dict[str, float] = defaultdict(float)
    for key, utterance in zip(keys, utterances, strict=True):
        hours[key] += utterance.duration_s
    if len(hours) < len(shares):
        raise InputError(
            f"{len(hours)} {by}(s) cannot be dealt to {len(shares)} splits without sharing one. "
            "Ask for fewer splits, or split by something finer with --split-by."
        )
    total = sum(hours.values())
    targets = {name: share / sum(shares.values()) * total for name, share in shares.items()}
    filled = dict.fromkeys(targets, 0.0)
    split_of: dict[str, str] = {}
    for key in sorted(hours, key=lambda key: hashlib.sha256(f"{seed}\0{key}".encode()).digest()):
        fitting = [name for name in targets if filled[name] + hours[key] <= MAX_OVERFILL * targets[name]]
        if fitting:
            name = max(fitting, key=lambda name: 1 - filled[name] / targets[name])
        else:
            name = max(targets, key=lambda name: targets[name] - filled[name])
        filled[name] += hours[key]
        split_of[key] = name
    _fill_empty(split_of, hours, targets)
    return [replace(each, split=split_of[key]) for key, each in zip(keys, utterances, strict=True)]


def _fill_empty(split_of: dict[str, str], hours: Mapping[str, float], targets: Mapping[str, float]) -> None:
    """Give each empty split the smallest group of the split that has most groups."""
    for name in targets:
        if name not in split_of.values():
            members = defaultdict(list)
            for key, split in split_of.items():
                members[split].append(key)
            richest = max(members.values(), key=len)
            split_of[min(richest, key=lambda key: (hours[key], key))] = name


def _group(utterance: Utterance, by: SplitBy) -> str:
    if by == "utterance":
        return utterance.id
    if by == "recording":
        return recording_place(utterance)[0]
    if not utterance.speaker:
        raise InputError(
            f"{utterance.id} has no speaker to split by. Give speakers, or use --split-by recording."
        )
    return utterance.speaker

"""What a corpus holds, in numbers: hours, speakers, rates, words, letters."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from asr.check.shared import code_point
from asr.manifest import Utterance, normalised_text, total_hours
from asr.score_report import aligned
from asr.text import TextPolicy

QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)
"""Of the durations: least, twentieth, median, nineteen twentieths, greatest."""


@dataclass(frozen=True, kw_only=True)
class SplitStats:
    """Figures of one split; texts are counted under the text policy."""

    utterances: int
    hours: float
    transcribed: int
    """Utterances that have a text."""
    translated: int
    speakers: dict[str, float]
    """Hours of each speaker; empty where the manifest names none."""
    genders: dict[str, float]
    languages: dict[str, float]
    duration_s: tuple[float, ...]
    """At `QUANTILES`."""
    words: int
    vocabulary: int
    characters_per_second: float
    """Over the transcribed utterances, spaces not counted."""
    words_per_second: float
    oov_rate: float | None
    """Share of the running words that the training split does not have; None for that split itself."""
    oov_types: float | None
    """Share of the different words that the training split does not have."""


@dataclass(frozen=True, kw_only=True)
class CorpusStats:
    """Figures of a corpus: of all of it under the key ``all``, and of each split."""

    splits: dict[str, SplitStats]
    alphabet: dict[str, int]
    """Characters under the policy, but the space, most frequent first."""
    policy: str
    """What the text policy did."""

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def corpus_stats(
    utterances: Sequence[Utterance], *, policy: TextPolicy | None = None, train_split: str = "train"
) -> CorpusStats:
    """Count a corpus, whole and by split.

    Args:
        policy: how texts are normalised before words and characters are counted.
        train_split: whose words the others' are compared with.
    """
    policy = policy or TextPolicy()
    texts = {each.id: normalised_text(each, policy) for each in utterances}
    by_split: dict[str, list[Utterance]] = defaultdict(list)
    for each in utterances:
        by_split[each.split].append(each)
    names = sorted(by_split, key=lambda name: (name != train_split, name))
    known = {word for each in by_split.get(train_split, ()) for word in texts[each.id].split()}
    splits = {"all": _count(utterances, texts, None)} if utterances else {}
    for name in names:
        if name and name != "all":
            splits[name] = _count(by_split[name], texts, known if known and name != train_split else None)
    alphabet = Counter(char for text in texts.values() for char in text if char != " ")
    return CorpusStats(splits=splits, alphabet=dict(alphabet.most_common()), policy=policy.describe())


def _count(members: Sequence[Utterance], texts: dict[str, str], known: set[str] | None) -> SplitStats:
    transcribed = [each for each in members if texts[each.id]]
    words = Counter(word for each in transcribed for word in texts[each.id].split())
    num_words = words.total()
    seconds = sum(each.duration_s for each in transcribed)
    characters = sum(len(texts[each.id].replace(" ", "")) for each in transcribed)
    unknown = [] if known is None else [word for word in words if word not in known]
    return SplitStats(
        utterances=len(members),
        hours=total_hours(members),
        transcribed=len(transcribed),
        translated=sum(1 for each in members if each.translation.strip()),
        speakers=_hours_by(members, "speaker"),
        genders=_hours_by(members, "gender"),
        languages=_hours_by(members, "language"),
        duration_s=tuple(quantile([each.duration_s for each in members], share) for share in QUANTILES),
        words=num_words,
        vocabulary=len(words),
        characters_per_second=characters / seconds if seconds else 0.0,
        words_per_second=num_words / seconds if seconds else 0.0,
        oov_rate=None if known is None else sum(words[word] for word in unknown) / max(1, num_words),
        oov_types=None if known is None else len(unknown) / max(1, len(words)),
    )


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the values lie, interpolated as numpy does by default.

    >>> quantile([1.0, 2.0, 4.0], 0.75)
    3.0
    """
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def _hours_by(members: Sequence[Utterance], name: str) -> dict[str, float]:
    seconds: dict[str, float] = defaultdict(float)
    for each in members:
        if value := getattr(each, name):
            seconds[value] += each.duration_s
    return {value: total / 3600 for value, total in sorted(seconds.items(), key=lambda pair: -pair[1])}


def format_stats(stats: CorpusStats) -> str:
    """The figures as a table for reading, a column per split, and the alphabet below it."""
    names = list(stats.splits)
    columns = [stats.splits[name] for name in names]
    rows: list[tuple[str, list[str]]] = [
        ("utterances", [str(each.utterances) for each in columns]),
        ("hours", [f"{each.hours:.2f}" for each in columns]),
        ("with text", [str(each.transcribed) for each in columns]),
        ("with translation", [str(each.translated) for each in columns]),
        ("speakers", [str(len(each.speakers)) if each.speakers else "-" for each in columns]),
        ("gender (hours)", [_shares(each.genders) for each in columns]),
        ("language (hours)", [_shares(each.languages) for each in columns]),
    ]
    for place, label in enumerate(("shortest", "5 %", "median", "95 %", "longest")):
        rows.append((f"duration {label} (s)", [f"{each.duration_s[place]:.2f}" for each in columns]))
    rows += [
        ("words", [str(each.words) for each in columns]),
        ("different words", [str(each.vocabulary) for each in columns]),
        ("characters per second", [f"{each.characters_per_second:.1f}" for each in columns]),
        ("words per second", [f"{each.words_per_second:.2f}" for each in columns]),
        ("words unseen in training", [_percent(each.oov_rate) for each in columns]),
        ("different words unseen", [_percent(each.oov_types) for each in columns]),
    ]
    lines = aligned([["", *names], *([label, *cells] for label, cells in rows)])
    lines += ["", f"text policy: {stats.policy}", f"alphabet ({len(stats.alphabet)} characters):"]
    lines += [f"  {count:>8}  {char}  {code_point(char)}" for char, count in stats.alphabet.items()]
    return "\n".join(lines)


def _shares(hours: dict[str, float]) -> str:
    shown = [f"{name} {value:.2f}" for name, value in hours.items()]
    return ", ".join(shown[:3]) + (f" +{len(shown) - 3}" if len(shown) > 3 else "") if shown else "-"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"

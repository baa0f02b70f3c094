"""Word and character error rates, with everything that is needed to quote them.

A rate is of the corpus: all edits over all reference tokens, not a mean of the utterances' rates.
The text policy is applied to both sides, and its description travels in the score's signature. A policy that writes
phones turns only the references into phones: hypotheses must be in them, as its models write them, for the rules read
phones as letters and would change them. Nor does it replace again in hypotheses that are said to be written by it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from itertools import islice
from typing import Literal, Protocol

from asr.bootstrap import (
    BOOTSTRAP,
    Bootstrap,
    Comparison,
    Interval,
    paired_bootstrap,
    rate_interval,
    unpaired_bootstrap,
)
from asr.edits import Counts, edit_operations, edit_rows, error_counts
from lm.errors import InputError

__all__ = [
    "METRICS",
    "CorpusScore",
    "Counts",
    "Metric",
    "UtteranceScore",
    "check_joined",
    "edit_operations",
    "error_counts",
    "format_alignment",
    "score_corpus",
    "score_recordings",
]

Metric = Literal["wer", "cer"]
METRICS: tuple[Metric, ...] = ("wer", "cer")


class Policy(Protocol):
    """What scoring needs of `asr.text.TextPolicy`."""

    def __call__(self, text: str) -> str: ...

    def describe(self) -> str: ...

    def of_phones(self) -> Policy: ...

    def of_written(self, key: str) -> Policy: ...


@dataclass(frozen=True, slots=True)
class UtteranceScore:
    """One utterance after the text policy, and its edits."""

    id: str
    reference: str
    hypothesis: str
    word_operations: str
    """As `edit_operations` gives them, for the words."""
    words: Counts
    characters: Counts

    def counts(self, metric: Metric) -> Counts:
        """The edits that ``metric`` counts."""
        return self.words if metric == "wer" else self.characters


@dataclass(frozen=True, kw_only=True)
class CorpusScore:
    """The scores of a system on a set of utterances."""

    utterances: tuple[UtteranceScore, ...]
    policy: str
    """The text policy in words, as it describes itself."""
    spaces: bool
    """Whether the space between two words is a character of the CER."""
    no_reference: tuple[str, ...] = ()
    """Ids left out because nobody wrote down what was said."""
    inserted: tuple[str, ...] = ()
    """Those of `no_reference` in a recording that is aligned for its other utterances: a transcript does not say what
    was heard there, so that counts as insertions."""
    missing: tuple[str, ...] = ()
    """Ids that the system gave nothing for; every reference token of theirs is a deletion."""
    unknown: tuple[str, ...] = ()
    """Ids of hypotheses that the reference does not have, left out on the caller's word."""
    aligned: Literal["utterance", "recording"] = "utterance"
    """What was aligned at a stretch: a word may be right at the level of recordings that is wrong in its utterance."""

    def counts(self, metric: Metric) -> Counts:
        """All edits of the corpus."""
        return sum((utterance.counts(metric) for utterance in self.utterances), Counts())

    def interval(self, metric: Metric, how: Bootstrap = BOOTSTRAP) -> Interval:
        """95 % bootstrap interval of the rate."""
        errors, lengths = self._totals(metric, how.units)
        return rate_interval(errors, lengths, resamples=how.resamples, seed=how.seed)

    def compare(self, other: CorpusScore, metric: Metric, how: Bootstrap = BOOTSTRAP) -> Comparison:
        """Paired bootstrap of this system's rate minus ``other``'s.

        Raises:
            InputError: the two were scored on different references.
        """
        if [(u.id, u.reference) for u in self.utterances] != [(u.id, u.reference) for u in other.utterances]:
            raise InputError("the two systems have different references. Score both on the same ones.")
        errors, lengths = self._totals(metric, how.units)
        others, _ = other._totals(metric, how.units)
        return paired_bootstrap(errors, others, lengths, resamples=how.resamples, seed=how.seed)

    def gap(self, other: CorpusScore, metric: Metric, how: Bootstrap = BOOTSTRAP) -> Comparison:
        """The rate of this group of utterances minus that of ``other``, each drawn by itself."""
        groups = self._totals(metric, how.units), other._totals(metric, how.units)
        return unpaired_bootstrap(*groups, how)

    def group_by(self, labels: Mapping[str, str]) -> dict[str, CorpusScore]:
        """The score of each group, by name; ``labels`` gives the group of each id."""
        groups: dict[str, list[UtteranceScore]] = {}
        for utterance in self.utterances:
            groups.setdefault(labels.get(utterance.id, ""), []).append(utterance)
        return {
            name: replace(
                self,
                utterances=tuple(groups[name]),
                no_reference=tuple(i for i in self.no_reference if labels.get(i, "") == name),
                inserted=tuple(i for i in self.inserted if labels.get(i, "") == name),
                missing=tuple(i for i in self.missing if labels.get(i, "") == name),
                unknown=(),
            )
            for name in sorted(groups)
        }

    def signature(self, metric: Metric) -> str:
        """Everything that a number depends on besides the texts, in sacrebleu's manner."""
        unit = "unit:word"
        if metric == "cer":
            unit = f"unit:character|spaces:{'counted' if self.spaces else 'ignored'}"
        aligned = "|aligned:recording" if self.aligned == "recording" else ""
        return f"{metric}|nrefs:1|{self.policy}|{unit}{aligned}|version:{version()}"

    def _totals(self, metric: Metric, units: Mapping[str, str] | None) -> tuple[list[int], list[int]]:
        totals: dict[str, list[int]] = {}
        for utterance in self.utterances:
            counts = utterance.counts(metric)
            total = totals.setdefault(utterance.id if units is None else units.get(utterance.id, ""), [0, 0])
            total[0] += counts.errors
            total[1] += counts.length
        return [errors for errors, _ in totals.values()], [length for _, length in totals.values()]


def check_joined(
    hypotheses: Collection[str],
    references: Collection[str],
    scored: Collection[str],
    *,
    ignore_unknown: bool,
    recordings: bool = False,
) -> tuple[str, ...]:
    """Ids of hypotheses that the reference does not have, where they may be left out.

    Of hypotheses that have no id in common with the reference nothing is left but deletions: that is no score, and
    refused whatever may be ignored.

    Args:
        hypotheses: ids.
        references: all ids that the reference has.
        scored: those of them that it has a text for.
        ignore_unknown: unknown ids may be left out.
        recordings: ids are names of recordings.
    Raises:
        InputError: no hypothesis is of a text, or one is unknown and may not be left out.
    """
    label = "a recording's name" if recordings else "an id"
    remedy = "Name each after its recording" if recordings else "Give the reference they belong to"
    if not any(name in scored for name in hypotheses):
        whole = "" if recordings else "; output for whole recordings needs `--recording-level`"
        raise InputError(
            f"none of the {len(hypotheses)} hypotheses has {label} that the reference has a text for. Hypotheses: "
            f"{_first(hypotheses)}; reference: {_first(scored)}. {remedy}{whole}."
        )
    unknown = tuple(name for name in hypotheses if name not in references)
    if unknown and not ignore_unknown:
        raise InputError(
            f"{len(unknown)} of {len(hypotheses)} hypotheses have {label} that the reference does not, such as "
            f"{_first(unknown)}; it has {_first(references)}. {remedy}, or leave them out with `--ignore-unknown`."
        )
    return unknown


def _first(ids: Collection[str]) -> str:
    """Some ids, for a message."""
    return ", ".join(map(repr, islice(ids, 3))) + (", ..." if len(ids) > 3 else "") or "none"


def score_corpus(
    references: Mapping[str, str],
    hypotheses: Mapping[str, str],
    policy: Policy,
    *,
    spaces: bool = True,
    ignore_unknown: bool = False,
    written: str = "",
) -> CorpusScore:
    """Score hypotheses against references, joined by id.

    Args:
        references: id -> text. A blank text means that there is no reference: the utterance is
            left out and reported. A text that the policy empties stays: what the system heard
            there are insertions.
        hypotheses: id -> text. A missing one counts as all deletions and is reported.
        policy: applied to both sides; hypotheses under one that writes phones are in phones already.
        spaces: count the space between words as a character of the CER, as jiwer does and as
            CTC models write it; sclite does not.
        ignore_unknown: leave out, and report, hypotheses whose id no reference has.
        written: key of the policy that wrote the hypotheses, where a model did: a rule is not applied twice.
    Raises:
        InputError: an unknown hypothesis id, no id in common, or nothing to score.
    """
    scored = {name: text for name, text in references.items() if text.strip()}
    if not scored:
        raise InputError("the reference has no text to score against. Give one with transcripts.")
    unknown = check_joined(hypotheses, references, scored, ignore_unknown=ignore_unknown)
    heard = policy.of_written(written).of_phones()
    return CorpusScore(
        utterances=tuple(
            _utterance_score(name, policy(text).split(), heard(hypotheses.get(name, "")).split(), spaces)
            for name, text in scored.items()
        ),
        policy=policy.describe(),
        spaces=spaces,
        no_reference=tuple(name for name in references if name not in scored),
        missing=tuple(name for name in scored if name not in hypotheses),
        unknown=unknown,
    )


def score_recordings(
    references: Mapping[str, Sequence[tuple[str, str]]],
    hypotheses: Mapping[str, str],
    policy: Policy,
    *,
    spaces: bool = True,
    ignore_unknown: bool = False,
) -> CorpusScore:
    """Score whole recordings: each one's words are aligned at a stretch, wherever it was cut.

    The edits are then dealt out to the reference's utterances (an insertion to the utterance of
    the word before it), so that alignments can be read and intervals can be drawn over them.

    Args:
        references: recording -> its utterances in order of time, as (id, text). One with a blank text is left out
            and reported, but a transcript does not say what was heard there: that is inserted. A recording that has
            no text at all is left out with all that was heard in it.
        hypotheses: recording -> the whole transcript; a missing one counts as all deletions and is reported.
        policy: as for `score_corpus`, like the rest.
    Raises:
        InputError: a hypothesis of an unknown recording, no recording in common, or nothing to score.
    """
    scored = [name for name, parts in references.items() if any(text.strip() for _, text in parts)]
    if not scored:
        raise InputError("the reference has no text to score against. Give one with transcripts.")
    unknown = check_joined(hypotheses, references, scored, ignore_unknown=ignore_unknown, recordings=True)
    utterances: list[UtteranceScore] = []
    no_reference: list[str] = []
    inserted: list[str] = []
    missing: list[str] = []
    for name, parts in references.items():
        spoken = [(part, text) for part, text in parts if text.strip()]
        blank = [part for part, text in parts if not text.strip()]
        no_reference += blank
        if not spoken:
            continue
        utterances += _dealt_out(spoken, hypotheses.get(name, ""), policy, spaces)
        if name in hypotheses:
            inserted += blank
        else:
            missing.append(name)
    return CorpusScore(
        utterances=tuple(utterances),
        policy=policy.describe(),
        spaces=spaces,
        no_reference=tuple(no_reference),
        inserted=tuple(inserted),
        missing=tuple(missing),
        unknown=unknown,
        aligned="recording",
    )


def _dealt_out(
    parts: Sequence[tuple[str, str]], hypothesis: str, policy: Policy, spaces: bool
) -> Iterator[UtteranceScore]:
    between = " " if spaces else ""
    segments = [policy(text).split() for _, text in parts]
    heard = policy.of_phones()(hypothesis).split()
    word_parts = _split_operations(
        edit_operations([word for segment in segments for word in segment], heard),
        [len(segment) for segment in segments],
    )
    # The space that joins two utterances belongs to the first; an emptied utterance has none.
    filled = [number for number, segment in enumerate(segments) if segment]
    texts = [
        between.join(segment) + (between if number != filled[-1] else "") if segment else ""
        for number, segment in enumerate(segments)
    ]
    character_parts = _split_operations(
        edit_operations("".join(texts), between.join(heard)), [len(text) for text in texts]
    )
    place = 0
    for (name, _), segment, words, characters in zip(
        parts, segments, word_parts, character_parts, strict=True
    ):
        end = place + len(words) - words.count("D")
        yield UtteranceScore(
            id=name,
            reference=" ".join(segment),
            hypothesis=" ".join(heard[place:end]),
            word_operations=words,
            words=Counts.of(words),
            characters=Counts.of(characters),
        )
        place = end


def _split_operations(operations: str, lengths: Iterable[int]) -> list[str]:
    """Cut the steps of a joint alignment into those of consecutive references of the given lengths."""
    pieces: list[str] = []
    start = 0
    for length in lengths:
        end, tokens = start, 0
        while end < len(operations) and (tokens < length or (operations[end] == "I" and length)):
            tokens += operations[end] != "I"
            end += 1
        pieces.append(operations[start:end])
        start = end
    if start < len(operations):  # insertions where every reference is empty
        pieces[-1] += operations[start:]
    return pieces


def _utterance_score(name: str, reference: list[str], hypothesis: list[str], spaces: bool) -> UtteranceScore:
    between = " " if spaces else ""
    operations = edit_operations(reference, hypothesis)
    return UtteranceScore(
        id=name,
        reference=" ".join(reference),
        hypothesis=" ".join(hypothesis),
        word_operations=operations,
        words=Counts.of(operations),
        characters=error_counts(between.join(reference), between.join(hypothesis)),
    )


def format_alignment(utterance: UtteranceScore) -> str:
    """Four lines: id and counts, then reference, hypothesis and the edits, one column a word."""
    counts = utterance.words
    title = f"{utterance.id}  C {counts.correct}  S {counts.substitutions}  D {counts.deletions}"
    rows = edit_rows(utterance.reference.split(), utterance.hypothesis.split(), utterance.word_operations)
    labelled = zip(("REF:", "HYP:", "    "), rows, strict=True)
    lines = [f"{label} {row}".rstrip() for label, row in labelled]
    return "\n".join([f"{title}  I {counts.insertions}", *lines])


def version() -> str:
    """The version of loquela, as installed."""
    try:
        return metadata.version("loquela")
    except metadata.PackageNotFoundError:  # a checkout that was never installed
        return "unknown"

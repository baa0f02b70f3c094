"""Beam search over the labels of a translation, with a length penalty and, where there is one, a joint CTC score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lm.errors import InputError
from st.decoder import TextDecoder
from st.model import END, Memory

SHORT = 200
"""Labels that any text may have: one language says with a word what takes another a sentence."""


REPEATS, ROUND, PERIOD = 8, 40, 32
"""A text goes round when it says the same labels, at most `PERIOD`, so many times over, and `ROUND` labels in all: a
long number does so with fewer. When the likeliest text does, the search was not going to end: it ends there, and the
text is closed if no other was."""


@dataclass(frozen=True, kw_only=True)
class TranslationSearchConfig:
    """How translations are searched for."""

    beam: int = 5
    """Texts kept at each step; 1 is greedy."""
    length_penalty: float = 1.0
    """Power of the length that scores are divided by: 0 favours short texts, 1 is the mean per label."""
    ctc_weight: float = 0.0
    """Share of the CTC prefix score in each step (Watanabe et al. 2017, sec. IV); 0 leaves it out."""
    num_hypotheses: int = 1
    max_ratio: float = 2.0
    """Most labels of a text for each frame or source label that the decoder looks at, beyond `SHORT`."""
    max_labels: int = 1000
    """Most labels of any text."""

    def __post_init__(self) -> None:
        if self.beam < 1 or not 1 <= self.num_hypotheses <= self.beam:
            raise InputError(
                f"beam {self.beam} for {self.num_hypotheses} hypotheses. Give a beam from 1, and as wide as the list."
            )
        if not math.isfinite(self.length_penalty):
            raise InputError(
                f"length_penalty is {self.length_penalty}. Give a finite number, 1 for the mean per label."
            )
        if not 0 <= self.ctc_weight < 1:
            raise InputError(f"ctc_weight is {self.ctc_weight}. Give a share from 0 to below 1.")
        if not self.max_ratio >= 0 or self.max_labels < 1:  # NaN passes no comparison
            raise InputError(
                f"max_ratio is {self.max_ratio:g} and max_labels {self.max_labels}. Give a ratio from 0, labels from 1."
            )

    def limits(self, lengths: Tensor) -> Tensor:
        """Most labels of a text for each source, (N,), from its frames or labels (N,); none for an empty one."""
        return (SHORT + lengths * self.max_ratio).clamp(max=self.max_labels).long() * (lengths > 0)

    def cut_off(self, number: int) -> str:
        """What to tell a user whose translations were closed by the limit."""
        return (
            f"{number} translation(s) cut off at {SHORT} labels and {self.max_ratio:g} for each frame or source label, "
            f"at {self.max_labels}, at the most that the model writes, or where they went round and round. Raise "
            "--max-ratio or --max-labels, unless they say nothing."
        )


@dataclass(frozen=True)
class TranslationHypothesis:
    """A text that the decoder wrote."""

    labels: tuple[int, ...]
    """Without the closing one."""
    score: float
    """Log-probability, the closing label's included, divided by the length penalty."""
    cut: bool = False
    """It was closed by the limit of labels or for going round, and not by the decoder."""


@torch.inference_mode()
def translate(
    decoder: TextDecoder,
    memory: Memory,
    config: TranslationSearchConfig | None = None,
    others: Sequence[tuple[TextDecoder, Memory]] = (),
) -> list[list[TranslationHypothesis]]:
    """The best texts of each utterance, best first.

    An utterance whose memory is empty has one hypothesis, the empty text. Every utterance gets what it
    would get alone, whatever stands beside it in the batch.

    Args:
        others: decoders that write together with the first, with the same labels, each with what it looks at of the
            same utterances: the probability of a label is the mean of theirs, of those whose memory is not empty.
    Raises:
        InputError: a CTC score is asked for and the model has no CTC layer for translations.
    """
    config = config or TranslationSearchConfig()
    decoders, memories = zip((decoder, memory), *others, strict=True)
    if config.ctc_weight and memory.target_emissions is None:
        raise InputError(
            "ctc_weight is given, and the model has no CTC layer for translations. "
            "Train one with st.target_ctc_weight, or leave it out."
        )
    size, beam, device = len(memory.num_frames), config.beam, memory.states.device
    longest = min(each.longest for each in decoders)
    limits = (
        torch.stack([config.limits(each.num_frames) for each in memories]).amax(0).clamp(max=longest).tolist()
    )
    if not any(limits):
        return [[_EMPTY] for _ in limits]
    caches = [
        each.begin(seen.states, seen.num_frames, beam) for each, seen in zip(decoders, memories, strict=True)
    ]
    speaking = torch.stack([seen.num_frames > 0 for seen in memories])  # (V, N)
    # Scores of the beams; at first all but one of each utterance are the same text.
    scores = torch.full((size, beam), -torch.inf, device=device)
    scores[:, 0] = 0
    written: list[list[tuple[int, ...]]] = [[() for _ in range(beam)] for _ in range(size)]
    # Utterances whose search goes on: a step has K rows of each of these alone.
    going = list(range(size))
    done: list[list[TranslationHypothesis]] = [[] for _ in range(size)]
    last = torch.full((size * beam,), END, dtype=torch.long, device=device)
    ctc = _PrefixScores(memory, beam) if config.ctc_weight else None
    for length in count(1):
        each_steps = [each.step(last, cache) for each, cache in zip(decoders, caches, strict=True)]
        steps = _mean(each_steps, speaking[:, going])  # (N K, C)
        if ctc is not None:
            steps = (1 - config.ctc_weight) * steps + config.ctc_weight * ctc.steps(steps).to(steps)
        totals = scores[..., None] + steps.view(len(going), beam, -1)  # (N, K, C)
        full = [length > limits[number] or goes_round(written[number][0]) for number in going]
        totals[torch.tensor(full, device=device), :, 1:] = -torch.inf  # what is full can only close; END is 0
        # A text may close in any beam, so twice as many as are kept are enough to find K that go on.
        best, places = totals.flatten(1).topk(min(2 * beam, totals[0].numel()), dim=1)
        found = list(zip(going, full, best.tolist(), places.tolist(), strict=True))
        going, rows, labels, kept = _choose(found, totals.shape[2], written, done, length, limits, config)
        if not going:
            break
        scores = torch.tensor(kept, device=device)
        last = torch.tensor(labels, device=device)
        if rows != list(range(len(steps))):  # a copy of all that is kept
            for cache in caches:
                cache.reorder(torch.tensor(rows, device=device))
        if ctc is not None:
            ctc.extend(rows, labels)
    return [
        sorted(each, key=lambda found: -found.score)[: config.num_hypotheses] or [_EMPTY] for each in done
    ]


def _mean(steps: Sequence[Tensor], speaking: Tensor) -> Tensor:
    """Log of the mean probability that decoders give to each label.

    Args:
        steps: of each, log-probabilities (N K, C).
        speaking: whether each has something to look at, (V, N).
    """
    if len(steps) == 1:
        return steps[0]
    shares = (speaking / speaking.sum(0)).log().repeat_interleave(len(steps[0]) // speaking.shape[1], dim=1)
    return torch.logsumexp(torch.stack(list(steps)) + shares[..., None], dim=0)


def goes_round(text: Sequence[int]) -> bool:
    """Whether labels end in the same few, over and over: `REPEATS`.

    >>> goes_round([7, *[1, 2] * 20]), goes_round([7, *[1, 2] * 19])
    (True, False)
    """
    for period in range(1, min(PERIOD, len(text) // REPEATS) + 1):
        size = period * max(REPEATS, -(-ROUND // period))
        if size <= len(text) and text[-1] == text[-1 - period]:
            tail = text[-size:]
            if tail[period:] == tail[:-period]:
                return True
    return False


_EMPTY = TranslationHypothesis((), 0.0)


def _choose(
    found: list[tuple[int, bool, list[float], list[int]]],
    num_labels: int,
    written: list[list[tuple[int, ...]]],
    done: list[list[TranslationHypothesis]],
    length: int,
    limits: list[int],
    config: TranslationSearchConfig,
) -> tuple[list[int], list[int], list[int], list[list[float]]]:
    """Close and extend the texts of each utterance.

    Args:
        found: utterances, whether they are full, the scores of their best extensions and which these are.
    Returns:
        utterances that go on; of their new beams the rows that they come from, labels and scores.
    """
    beam = config.beam
    going, rows, labels, kept = [], [], [], []
    for place, (number, full, values, indices) in enumerate(found):
        texts: list[tuple[int, ...]] = []
        origins: list[int] = []
        new_labels: list[int] = []
        new_scores: list[float] = []
        for rank, (value, index) in enumerate(zip(values, indices, strict=True)):
            if not limits[number] or len(texts) == beam or value == -np.inf:
                break
            origin, label = divmod(index, num_labels)
            if label == END:
                # Only among the best K: a closing that would not have been kept is no finding.
                if rank < beam:
                    score = value / length**config.length_penalty
                    text = written[number][origin]
                    done[number].append(TranslationHypothesis(text, score, cut=full))
            else:
                texts.append((*written[number][origin], label))
                new_scores.append(value)
                origins.append(place * beam + origin)
                new_labels.append(label)
        # The search ends when as many are closed as there are beams and none that goes on is ahead of them all:
        # many poor ones may close beside a good one that is longer.
        if not texts:
            continue
        ahead = new_scores[0] / (length + 1) ** config.length_penalty
        if len(done[number]) >= beam and max(each.score for each in done[number]) >= ahead:
            continue
        # What goes round is ever likelier, and worse than any text that found its end.
        if done[number] and goes_round(texts[0]):
            continue
        missing = beam - len(texts)
        going.append(number)
        rows += origins + [place * beam] * missing
        labels += new_labels + [END] * missing
        written[number] = texts + [()] * missing
        kept.append(new_scores + [-np.inf] * missing)
    return going, rows, labels, kept


class _PrefixScores:
    """CTC probabilities of the beams' prefixes (Graves 2008, sec. 3.6; Watanabe et al. 2017, alg. 2).

    Kept in float64 numpy: the states of one beam are two numbers a frame, ending in a blank or not.
    """

    def __init__(self, memory: Memory, beam: int) -> None:
        assert memory.target_emissions is not None
        self.beam = beam
        values = memory.target_emissions.values.double().cpu().numpy()
        self.emissions = [
            row[:frames]
            for row, frames in zip(values, memory.target_emissions.num_frames.tolist(), strict=True)
        ]
        self.prefixes: list[tuple[int, NDArray[np.float64], NDArray[np.float64], float]] = []
        for row in self.emissions:
            blank = np.cumsum(row[:, END])
            self.prefixes += [(END, np.full(len(row), -np.inf), blank, 0.0)] * beam
        self.scores: list[NDArray[np.float64]] = []

    def steps(self, like: Tensor) -> Tensor:
        """What each label adds to the prefix score of each beam, (N K, C)."""
        self.scores = []
        found = np.empty(like.shape)
        for row, (last, ends_label, ends_blank, score) in enumerate(self.prefixes):
            emissions = self.emissions[row // self.beam]
            if not len(emissions):
                self.scores.append(np.zeros(found.shape[1]))
                found[row] = 0.0
                continue
            # All paths of the prefix up to each frame, after which a new label may begin.
            both = np.logaddexp(ends_label, ends_blank)
            before = np.concatenate([[0.0 if last == END and score == 0.0 else -np.inf], both[:-1]])
            total = _log_sum(before[:, None] + emissions)
            if last != END:  # the same label again needs a blank between
                before = np.concatenate([[-np.inf], ends_blank[:-1]])
                total[last] = _log_sum(before[:, None] + emissions[:, last : last + 1])[0]
            total[END] = both[-1]
            self.scores.append(total)
            # What follows an impossible text is impossible too; infinities have no difference.
            found[row] = total - score if score > -np.inf else -np.inf
        return torch.from_numpy(np.maximum(found, -1e4))

    def extend(self, rows: list[int], labels: list[int]) -> None:
        """Go on with the beams of ``rows``, each with a label more; as many of each utterance that is not done."""
        prefixes, emissions_of = [], [self.emissions[row // self.beam] for row in rows]
        for row, label, emissions in zip(rows, labels, emissions_of, strict=True):
            last, ends_label, ends_blank, score = self.prefixes[row]
            if label == END or not len(emissions):
                prefixes.append(self.prefixes[row])
                continue
            both = np.logaddexp(ends_label, ends_blank)
            first = 0.0 if last == END and score == 0.0 else -np.inf
            source = ends_blank if label == last else both
            before = np.concatenate([[first], source[:-1]])
            own, blank = emissions[:, label], emissions[:, END]
            new_label, new_blank = np.empty(len(own)), np.empty(len(own))
            in_label = in_blank = -np.inf
            for frame in range(len(own)):
                in_label, in_blank = (
                    np.logaddexp(in_label, before[frame]) + own[frame],
                    np.logaddexp(in_label, in_blank) + blank[frame],
                )
                new_label[frame], new_blank[frame] = in_label, in_blank
            prefixes.append((label, new_label, new_blank, float(self.scores[row][label])))
        self.prefixes, self.emissions = prefixes, emissions_of[:: self.beam]


def _log_sum(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log of the sum of exponentials over the first axis."""
    top = np.maximum(values.max(axis=0), -1e30)
    with np.errstate(divide="ignore"):  # the log of nothing is minus infinity
        total: NDArray[np.float64] = np.log(np.exp(values - top).sum(axis=0)) + top
    return total

"""BLEU, chrF++ and TER of translations by sacrebleu, and COMET, with what is needed to quote them.

Each metric is kept as the sufficient statistics of the utterances: rows that add up, and a function
from their sum to the score of the corpus. So a group of utterances, and each draw of the bootstrap
(Koehn 2004), is scored from sums, exactly as sacrebleu scores the same texts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

# The same draws as for error rates.
from asr.bootstrap import BOOTSTRAP, Bootstrap, Comparison, Interval, compared, draws, gap, percentiles
from asr.score import check_joined
from asr.text import WITHOUT_SPACES
from lm.errors import InputError
from st.comet import comet_scores
from st.tokenisers import CHARACTER_TOKENIZERS, Tokenizer

__all__ = [
    "Metric",
    "TranslationScore",
    "bleu",
    "chrf",
    "one_line",
    "score_translations",
    "source_match",
    "without_spaces",
]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric of a system: what each utterance adds to the score of the corpus."""

    name: str
    """As it is printed: BLEU, chrF++, TER or COMET."""
    signature: str
    """Everything that the number depends on besides the texts, as sacrebleu writes it."""
    statistics: NDArray[np.float64]
    """Sufficient statistics of the utterances, (N, D)."""
    compute: Callable[[list[float]], float]
    """The score of the corpus from the sum of its statistics, (D,)."""
    errors: bool = False
    """Whether less is better, as for TER."""


@dataclass(frozen=True, kw_only=True)
class TranslationScore:
    """The scores of a system on a set of utterances."""

    ids: tuple[str, ...]
    references: tuple[str, ...]
    hypotheses: tuple[str, ...]
    metrics: dict[str, Metric]
    """By the key that JSON has: bleu, chrf, ter, and comet where it was asked for."""
    no_reference: tuple[str, ...] = ()
    """Ids left out because nobody translated them."""
    missing: tuple[str, ...] = ()
    """Ids that the system gave nothing for, scored as empty."""
    unknown: tuple[str, ...] = ()
    """Ids of hypotheses that the reference does not have, left out on the caller's word."""

    @property
    def empty(self) -> tuple[str, ...]:
        """Ids that the system gave an empty translation for."""
        missing = set(self.missing)
        return tuple(
            name
            for name, text in zip(self.ids, self.hypotheses, strict=True)
            if not text and name not in missing
        )

    def score(self, metric: str) -> float:
        """The score of the corpus; NaN where there is no utterance."""
        if not self.ids:
            return float("nan")
        return self.metrics[metric].compute(self.metrics[metric].statistics.sum(axis=0).tolist())

    def select(self, ids: Collection[str]) -> TranslationScore:
        """The score of these utterances alone."""
        kept = [place for place, name in enumerate(self.ids) if name in ids]
        return TranslationScore(
            ids=tuple(self.ids[place] for place in kept),
            references=tuple(self.references[place] for place in kept),
            hypotheses=tuple(self.hypotheses[place] for place in kept),
            metrics={
                key: replace(metric, statistics=metric.statistics[kept])
                for key, metric in self.metrics.items()
            },
            missing=tuple(name for name in self.missing if name in ids),
        )

    def interval(self, metric: str, how: Bootstrap = BOOTSTRAP) -> Interval:
        """95 % bootstrap interval of the score."""
        return percentiles(self._drawn_scores(metric, how), 95)

    def compare(self, other: TranslationScore, metric: str, how: Bootstrap = BOOTSTRAP) -> Comparison:
        """Paired bootstrap of this system's score minus ``other``'s.

        The comparison's own verdict holds for TER alone: of the other metrics more is better.

        Raises:
            InputError: the two were scored on different references.
        """
        if (self.ids, self.references) != (other.ids, other.references):
            raise InputError("the two systems have different references. Score both on the same ones.")
        # The seed draws the same utterances for both.
        differences = self._drawn_scores(metric, how) - other._drawn_scores(metric, how)
        return compared(self.score(metric) - other.score(metric), differences)

    def gap(self, other: TranslationScore, metric: str, how: Bootstrap = BOOTSTRAP) -> Comparison:
        """The score of this group of utterances minus that of ``other``, each drawn by itself."""
        drawn = self._drawn_scores(metric, how), other._drawn_scores(metric, how.apart)
        return gap(self.score(metric) - other.score(metric), *drawn)

    def _drawn_scores(self, metric: str, how: Bootstrap) -> NDArray[np.float64]:
        """The score of each draw, (draws,); none where there are fewer than two units."""
        rows = self.metrics[metric].statistics
        if how.units is not None:
            names = [how.units.get(name, "") for name in self.ids]
            places = {name: place for place, name in enumerate(dict.fromkeys(names))}
            sums = np.zeros((len(places), rows.shape[1]))
            np.add.at(sums, [places[name] for name in names], rows)
            rows = sums
        if len(rows) < 2:
            return np.empty(0)
        scores: list[float] = []
        for drawn in draws(len(rows), how.resamples, how.seed):
            # How often each unit was drawn; the sum over the draws is then one product.
            weights = np.stack([np.bincount(draw, minlength=len(rows)) for draw in drawn])
            scores += [self.metrics[metric].compute(total) for total in (weights @ rows).tolist()]
        return np.array(scores)


def score_translations(
    references: Mapping[str, str],
    hypotheses: Mapping[str, str],
    *,
    tokenize: Tokenizer = "13a",
    lowercase: bool = False,
    ignore_unknown: bool = False,
    comet: str = "",
    sources: Mapping[str, str] | None = None,
) -> TranslationScore:
    """Score translations against references, joined by id; both are texts as people write them, read by `one_line`.

    Args:
        references: id -> translation. A blank one means that there is none: the utterance is left
            out and reported.
        hypotheses: id -> translation. A missing one counts as empty and is reported.
        tokenize: sacrebleu's tokeniser for BLEU.
        lowercase: do not tell case apart, in any of sacrebleu's metrics.
        ignore_unknown: leave out, and report, hypotheses whose id no reference has.
        comet: name or checkpoint of a COMET model; scores by it too (Rei et al. 2020).
        sources: id -> text in the source language, which COMET reads.
    Raises:
        InputError: an unknown hypothesis id, no id in common, nothing to score, a tokeniser that is
            not installed, or COMET without its command or without sources.
    """
    scored = {name: one_line(text) for name, text in references.items() if text.strip()}
    if not scored:
        raise InputError(
            "the reference has no translation to score against. Give a manifest whose column "
            "`translation` is filled, or a text of translations."
        )
    unknown = check_joined(hypotheses, references, scored, ignore_unknown=ignore_unknown)
    texts = [one_line(hypotheses.get(name, "")) for name in scored]
    metrics = _sacrebleu_metrics(texts, list(scored.values()), tokenize, lowercase)
    if comet:
        metrics["comet"] = _comet_metric(comet, scored, texts, sources or {})
    return TranslationScore(
        ids=tuple(scored),
        references=tuple(scored.values()),
        hypotheses=tuple(texts),
        metrics=metrics,
        no_reference=tuple(name for name in references if name not in scored),
        missing=tuple(name for name in scored if name not in hypotheses),
        unknown=unknown,
    )


def bleu(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """BLEU of a corpus, 0 to 100, case-sensitive, tokenised as 13a: for a look during training."""
    return float(BLEU().corpus_score(hypotheses, [references]).score)


def chrf(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """chrF++ of a corpus, 0 to 100, case-sensitive."""
    return float(CHRF(word_order=2).corpus_score(hypotheses, [references]).score)


def source_match(score: TranslationScore, sources: Mapping[str, str]) -> tuple[float, float]:
    """chrF++ of the hypotheses against the source texts, and against the references, 0 to 100.

    A first number far above the second means transcripts in place of translations, or swapped
    columns. Only utterances with a source count; without any both are 0.
    """
    rows = [
        (hypothesis, one_line(sources[name]), reference)
        for name, hypothesis, reference in zip(score.ids, score.hypotheses, score.references, strict=True)
        if sources.get(name, "").strip()
    ]
    if not rows:
        return 0.0, 0.0
    hypotheses, texts, references = (list(column) for column in zip(*rows, strict=True))
    return chrf(hypotheses, texts), chrf(hypotheses, references)


def one_line(text: str) -> str:
    """The text in NFC, with single spaces for runs of spaces and line breaks, which no metric counts.

    A letter with a mark is one character in NFC and two in NFD: sacrebleu would take them for different words.
    """
    return " ".join(unicodedata.normalize("NFC", text).split())


def without_spaces(texts: Iterable[str]) -> bool:
    """Whether most letters are of scripts that put no spaces between words.

    >>> without_spaces(["他们昨天晚上没有吃饭。"]), without_spaces(["WTO 加入"]), without_spaces(["They ate."])
    (True, False, False)
    """
    joined = "".join(texts)
    return 2 * len(re.findall(WITHOUT_SPACES, joined)) > sum(map(str.isalpha, joined))


def _sacrebleu_metrics(
    hypotheses: Sequence[str], references: Sequence[str], tokenize: Tokenizer, lowercase: bool
) -> dict[str, Metric]:
    try:
        scorer = BLEU(tokenize=tokenize, lowercase=lowercase)
    except (ImportError, RuntimeError, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"--tokenize {tokenize} cannot be had: {reason}. ja-mecab and ko-mecab come with "
            "pip install 'sacrebleu[ja,ko]'; flores200 is downloaded once."
        ) from error
    # TER splits words at spaces; Chinese and Japanese have none, and tercom's own rule cuts them.
    asian = tokenize in CHARACTER_TOKENIZERS
    metrics: dict[str, tuple[str, Any]] = {
        "bleu": ("BLEU", scorer),
        "chrf": ("chrF++", CHRF(word_order=2, lowercase=lowercase)),
        "ter": ("TER", TER(case_sensitive=not lowercase, normalized=asian, asian_support=asian)),
    }
    # The two private methods are what sacrebleu's own bootstrap calls (sacrebleu/significance.py), since 2.0.
    return {
        key: Metric(
            name=name,
            statistics=np.array(
                metric._extract_corpus_statistics(hypotheses, [references]), dtype=np.float64
            ),
            signature=f"{name.replace('chrF', 'chrF2')}|{metric.get_signature()}",  # as sacrebleu names it
            compute=_computed_by(metric),
            errors=key == "ter",
        )
        for key, (name, metric) in metrics.items()
    }


def _computed_by(metric: Any) -> Callable[[list[float]], float]:
    return lambda total: float(metric._compute_score_from_stats(total).score)


def _comet_metric(
    name: str, references: Mapping[str, str], hypotheses: Sequence[str], sources: Mapping[str, str]
) -> Metric:
    """COMET (Rei et al. 2020), times 100: the mean of the utterances' scores.

    Raises:
        InputError: COMET cannot be run, or an utterance has no source text.
    """
    without = [utterance for utterance in references if not sources.get(utterance, "").strip()]
    if without:
        raise InputError(
            f"--comet reads the source text, and {len(without)} of {len(references)} utterances have none, such "
            f"as {without[0]!r}. Give a manifest whose column `text` is filled."
        )
    texts = [one_line(sources[utterance]) for utterance in references]
    scores = np.array(comet_scores(name, texts, hypotheses, list(references.values())), dtype=np.float64)
    return Metric(
        name="COMET",
        signature=f"COMET|model:{name}|nrefs:1|scale:100",
        statistics=np.stack([100 * scores, np.ones(len(scores))], axis=1),
        compute=lambda total: total[0] / total[1],
    )

"""Pseudo-labels: what a recogniser heard in unlabelled audio, sifted, as texts to train on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from asr.edits import Counts, error_counts
from asr.manifest import Utterance, with_text
from asr.text import WRITTEN, TextPolicy
from lm.errors import InputError

REMEDIES = {
    "not decoded": "Decode all of the split.",
    "no words": "Train the recogniser for longer, or decode with a language model (--lm): it writes next to nothing.",
    "too fast or too slow": "Lower --rate-quantile; or the recogniser does not yet write as many letters as are said.",
    "unsure": "Lower --min-confidence.",
    "less sure than the share that is kept": "Raise --keep.",
}
"""Why an utterance is left out, and what to do where all are."""
ENOUGH_GOLD = 20
"""Gold texts that tell how fast a language is spoken; of a language with fewer, all gold texts do."""


@dataclass(frozen=True, kw_only=True)
class SiftConfig:
    """Which pseudo-labels are good enough to learn from."""

    keep_share: float = 1.0
    """Share of the utterances that is kept, the surest first."""
    min_confidence: float = 0.0
    """Less sure ones are left out (geometric mean of the words' confidences, 0 to 1)."""
    rate_quantile: float = 0.01
    """Texts with more characters a second than all but this share of the language's gold ones, or fewer, are left out:
    the recogniser has skipped or invented words there."""

    def __post_init__(self) -> None:
        for name in ("keep_share", "min_confidence"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"sift.{name} is {getattr(self, name)}. Give a share from 0 to 1.")
        if not 0 <= self.rate_quantile < 0.5:
            raise InputError(f"sift.rate_quantile is {self.rate_quantile}. Give a share from 0 to below 0.5.")


@dataclass(frozen=True)
class Heard:
    """What the recogniser made of an utterance."""

    text: str
    confidence: float


@dataclass(frozen=True)
class Sifted:
    """The pseudo-labelled utterances that are kept, and what became of the others."""

    utterances: list[Utterance]
    left_out: Counter[str]
    """Reason -> utterances."""

    def error_rate(self, truth: Mapping[str, str], policy: TextPolicy) -> tuple[float, int]:
        """CER of the kept pseudo-labels against what was really said, and of how many utterances that is known.

        Raises:
            InputError: of none.
        """
        said = {each.id: policy(truth.get(each.id, "")) for each in self.utterances}
        known = [each for each in self.utterances if said[each.id]]
        if not known:
            raise InputError(
                f"the true texts have none of the {len(said)} pseudo-labelled utterances, such as "
                f"{self.utterances[0].id!r}. Give the manifest that the unlabelled one was made of."
            )
        heard = policy.of_output()
        counts = (error_counts(list(said[each.id]), list(heard(each.text))) for each in known)
        return sum(counts, Counts()).rate, len(known)


def sift(
    gold: Sequence[Utterance],
    unlabelled: Sequence[Utterance],
    heard: Mapping[str, Heard],
    config: SiftConfig,
    policy: TextPolicy,
) -> Sifted:
    """Give unlabelled utterances the texts that were heard in them, and keep the trustworthy ones.

    Args:
        gold: utterances with real transcripts; they say how fast people speak.
        unlabelled: their own texts, should they have any, are not looked at.
        heard: by id.
        policy: what the recogniser was taught of a gold text; a column says that it wrote the pseudo-labels.
    Raises:
        InputError: no gold transcripts, or nothing was heard in any of the unlabelled utterances.
    """
    by_language: dict[str, list[float]] = {}
    for each in with_text(gold):
        by_language.setdefault(each.language, []).append(len(policy(each.text)) / each.duration_s)
    if not by_language:
        raise InputError("no gold utterance has a text. Give the manifest whose train split is transcribed.")
    if unlabelled and not any(each.id in heard for each in unlabelled):
        raise InputError(
            f"none of the {len(unlabelled)} unlabelled utterances, such as {unlabelled[0].id!r}, was decoded. "
            "Decode that split of the same manifest."
        )
    ends = [config.rate_quantile, 1 - config.rate_quantile]
    anywhere = np.quantile([rate for rates in by_language.values() for rate in rates], ends)
    bounds = {
        language: np.quantile(rates, ends) if len(rates) >= ENOUGH_GOLD else anywhere
        for language, rates in by_language.items()
    }
    left_out: Counter[str] = Counter()
    found: list[Utterance] = []
    for each in unlabelled:
        what = heard.get(each.id)
        rate = len(what.text) / each.duration_s if what else 0.0
        slowest, fastest = bounds.get(each.language, anywhere)
        if what is None:
            left_out["not decoded"] += 1
        elif not what.text.strip():
            left_out["no words"] += 1
        elif not slowest <= rate <= fastest:
            left_out["too fast or too slow"] += 1
        elif what.confidence < config.min_confidence:
            left_out["unsure"] += 1
        else:
            extra = {
                **each.extra,
                "label": "pseudo",
                "confidence": f"{what.confidence:.4f}",
                WRITTEN: policy.key,
            }
            found.append(replace(each, text=what.text, split="train", extra=extra))
    found.sort(key=lambda each: (-float(each.extra["confidence"]), each.id))
    kept = found[: round(config.keep_share * len(found))]
    left_out["less sure than the share that is kept"] += len(found) - len(kept)
    return Sifted(sorted(kept, key=lambda each: each.id), +left_out)

"""Settings of the beam search."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields

from asr.decode.hypothesis import written
from lm.errors import InputError

ENGINES = ("cpu", "torch")


@dataclass(frozen=True, kw_only=True)
class BeamSearchConfig:
    """CTC prefix beam search with n-gram shallow fusion.

    A text y is ranked by

        log p_CTC(y | x) + lm_weight * W(y) + char_weight * C(y) + word_bonus * number of words + H(y)

    where W sums the word model's natural-log probabilities, C the character model's (letters and
    boundaries). A piece model has a say in the first term: there each row of labels that writes y counts
    times its probability by the piece model to the power of ``piece_weight``. A word w that the word model
    has not seen counts in W as

        log p(<unk> | history) + unknown_offset + spelling_weight * log p(spelling of w)

    spelled by the character model; where there is none, by one of the letters of the word model's vocabulary
    (`lm.spelling`), or by equally likely characters if its words are not known either. H sums the
    weights of the hotwords, once for each place where one stands as whole words, or in a writing without spaces
    anywhere. `asr.decode.engine` says how an unfinished text is ranked.
    """

    # The first six are to be tuned on dev. Their defaults are a compromise that did well on simulated
    # emissions of Kichwa texts with a word 3-gram, a character 6-gram and both.
    lm_weight: float = 0.4
    """Scale of the word model; 0.5 in pyctcdecode, which has no character model beside it."""
    char_weight: float = 0.3
    """Scale of the character model; more than 0.5 beside a word model counts the same evidence twice."""
    piece_weight: float = 0.3
    """Scale of the piece model, as of the character model."""
    word_bonus: float = 3.5
    """Added for each word, natural log, to repay what the models take for it; 1.5 in pyctcdecode."""
    unknown_offset: float = -3.0
    """Added to W for each unseen word, natural log; may be positive. -23 (-10 in log10) in
    pyctcdecode, which has no spelling model to tell a likely new word from noise."""
    spelling_weight: float = 0.5
    """Scale of an unseen word's spelling inside W. The CTC model judges spelling too, hence below 1."""
    score_end: bool = True
    """Score the end of the sentence. Set it to false for pieces cut in the middle of a sentence."""
    beam_width: int = 64
    """Prefixes kept after each frame; 100 in pyctcdecode."""
    beam_threshold: float = 14.0
    """Prefixes scored this much (natural log) below the best are dropped; 10 in pyctcdecode."""
    label_threshold: float = 7.0
    """Labels this much (natural log) below their frame's best are not tried; pyctcdecode drops below -5
    in absolute terms. 7 leaves frames with a blank above 0.999 nothing to try, which makes them cheap."""
    max_labels: int = 20
    """Labels tried in a frame, the likeliest first."""
    num_hypotheses: int = 1
    """Length of the n-best list."""
    hotwords: dict[str, float] = field(default_factory=dict, hash=False)
    """Words and phrases to expect, and what each occurrence adds to the score, natural log; less than 0
    makes one rarer. No model need know them. Written as the acoustic model writes its texts, in NFC or
    NFD."""
    open_vocabulary: bool = True
    """Write unseen words too. False allows only the words of the word model and of ``hotwords``."""

    engine: str = "cpu"
    """``cpu`` searches one utterance after the other, compiled; ``torch`` searches many at once in tensors, on a
    GPU where there is one. They give the same texts and scores."""

    confidence_scale: float = 1.0
    """Of the log-odds of a word's confidence, above 0; with the shift, what `loquela lm tune` found to make
    confidences of 0.8 right eight times in ten (see `asr.calibration`)."""
    confidence_shift: float = 0.0
    """Added to them."""

    def __post_init__(self) -> None:
        if not self.confidence_scale > 0:
            raise InputError(
                f"decoding option confidence_scale must be above 0; got {self.confidence_scale}."
            )
        if self.engine not in ENGINES:
            raise InputError(f"decoding option engine must be {' or '.join(ENGINES)}; got {self.engine!r}.")
        for name in ("beam_width", "max_labels", "num_hypotheses"):
            value = getattr(self, name)
            if value < 1:
                raise InputError(f"decoding option {name} must be at least 1; got {value}.")
        weights = ("lm_weight", "char_weight", "piece_weight", "spelling_weight")
        for name in (*weights, "beam_threshold", "label_threshold"):
            value = getattr(self, name)
            if not value >= 0:
                raise InputError(f"decoding option {name} must not be negative; got {value}.")
        for option in fields(self):
            value = getattr(self, option.name)
            if (
                isinstance(value, float)
                and not option.name.endswith("_threshold")
                and not math.isfinite(value)
            ):
                raise InputError(f"decoding option {option.name} must be a finite number; got {value}.")
        self._check_hotwords()

    def _check_hotwords(self) -> None:
        phrases: dict[str, str] = {}
        for phrase, weight in self.hotwords.items():
            if not isinstance(phrase, str):  # YAML reads `no` and `12` as other things
                raise InputError(f"hotword {phrase!r} is no text. Write it between quotation marks.")
            if not phrase.strip():
                raise InputError(f"hotword {phrase!r} is empty. Leave it out.")
            if not math.isfinite(weight):
                raise InputError(f"hotword {phrase!r} must have a finite weight; got {weight}.")
            same = phrases.setdefault(written(phrase), phrase)
            if same != phrase:
                raise InputError(f"hotwords {same!r} and {phrase!r} are one phrase. Keep one of them.")

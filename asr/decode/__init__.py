"""Decoding: emissions of one utterance in, hypotheses with word times and confidence out.

Everything outside this package uses `Decoder.decode`, `decode_all` and `build_decoder` and nothing else of it,
so that the inside of the search can be replaced.
"""

import sys
from dataclasses import replace

from asr.decode.beam import BeamDecoder
from asr.decode.config import BeamSearchConfig
from asr.decode.fusion import Components, LanguageModel, Ngram
from asr.decode.greedy import GreedyDecoder
from asr.decode.hypothesis import Decoder, EmissionArray, Hypothesis, WordSpan, decode_all, plain_text
from asr.decode.reconcile import reconcile
from asr.decode.times import align_labels

__all__ = [
    "BeamDecoder",
    "BeamSearchConfig",
    "Components",
    "Decoder",
    "EmissionArray",
    "GreedyDecoder",
    "Hypothesis",
    "LanguageModel",
    "Ngram",
    "WordSpan",
    "align_labels",
    "build_decoder",
    "decode_all",
    "plain_text",
    "reconcile",
]


def build_decoder(
    surfaces: tuple[str, ...],
    blank: int,
    language_model: LanguageModel | None = None,
    config: BeamSearchConfig | None = None,
    device: str = "auto",
    threads: int = 1,
    timed: int = sys.maxsize,
) -> Decoder:
    """The decoder for what there is: best path, or beam search where a model or a config is given.

    Args:
        surfaces: text that each label writes, one per column of the emissions.
        blank: the CTC blank's label.
        language_model: scores texts; words that it writes otherwise are reconciled with ``surfaces`` (see `reconcile`).
        config: settings of the beam search; its defaults where only ``language_model`` is given. Its
            word bonus, which repays a language model, is 0 without one.
        device: of the engine ``torch``: ``cpu``, ``cuda``, or ``auto``: a GPU where there is one.
        threads: utterances that `decode_all` searches side by side, where nothing else needs the cores.
        timed: how many of an n-best list get their words in time, with confidences; the others are texts and scores,
            which takes a fraction of the time.
    Raises:
        InputError: the language model is for another alphabet.
    """
    if language_model is None and config is None:
        return GreedyDecoder(surfaces, blank)
    config = config or BeamSearchConfig()
    if language_model is None:
        config = replace(config, word_bonus=0.0)
    else:
        language_model = reconcile(surfaces, language_model, with_pieces=config.piece_weight > 0)
    return BeamDecoder(surfaces, blank, language_model, config, device, threads, timed)

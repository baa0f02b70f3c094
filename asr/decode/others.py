"""Other toolkits' beam searches behind our interface, for those who want them and for comparing.

Extras: ``pip install 'loquela[pyctcdecode]'`` and ``'loquela[flashlight]'``. Both take a word model
alone, in the acoustic model's writing, and labels of one character; flashlight-text knows the words of
its lexicon and no others. They are used from Python: make the decoder in place of `build_decoder`'s.
Labels that write nothing count as the blank, which to a text they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from asr.decode.confidence import hypothesis_posteriors
from asr.decode.config import BeamSearchConfig
from asr.decode.fusion import RESERVED
from asr.decode.hypothesis import EmissionArray, Hypothesis, WordSpan, check_emissions, check_surfaces
from asr.decode.reconcile import MAX_UNWRITTEN, Spelling
from asr.decode.times import align_labels, word_frames, words_of_labels
from lm.errors import InputError
from lm.tables import LN10


class PyctcDecoder:
    """pyctcdecode's search (kensho-technologies), in Python."""

    def __init__(
        self,
        surfaces: tuple[str, ...],
        blank: int,
        model: Path | None,
        words: Iterable[str],
        config: BeamSearchConfig,
    ) -> None:
        """
        Args:
            model: ARPA file or kenlm binary of words.
            words: those the model knows.
        Raises:
            InputError: pyctcdecode is not installed, a label writes more than one character, the words are in
                another writing, or the config asks for hotwords or a closed vocabulary.
        """
        try:
            from pyctcdecode.decoder import build_ctcdecoder
        except ImportError as error:
            raise InputError(
                "this decoder needs pyctcdecode. Install it: pip install 'loquela[pyctcdecode]'."
            ) from error
        check_surfaces(surfaces, blank)
        if any(len(surface) > 1 for surface in surfaces):
            raise InputError("pyctcdecode is used with labels of one character. Choose another decoder.")
        _refuse_hotwords(config, "pyctcdecode")
        if not config.open_vocabulary:
            raise InputError(
                "pyctcdecode writes unseen words too. Choose another decoder, or open_vocabulary."
            )
        self._has_model = model is not None
        self._labels, self._config = OneBlank(surfaces, blank), config
        known = [word for word in words if word not in RESERVED] if model else None
        _check_words(known or (), self._labels.surfaces, "pyctcdecode")
        self._decoder = build_ctcdecoder(
            list(self._labels.surfaces),
            kenlm_model_path=str(model) if model else None,
            unigrams=known,
            alpha=config.lm_weight,
            beta=config.word_bonus,
            unk_score_offset=config.unknown_offset / LN10,  # it adds it to what kenlm says
            lm_score_boundary=config.score_end,
        )

    def decode(self, emissions: EmissionArray) -> list[Hypothesis]:
        """The n-best list; see `Decoder.decode`."""
        emissions = self._labels(emissions)
        if _is_impossible(emissions):
            return [Hypothesis("", (), -math.inf, 0.0, -math.inf)]
        beams = self._decoder.decode_beams(
            emissions,
            beam_width=self._config.beam_width,
            beam_prune_logp=-self._config.beam_threshold,
            token_min_logp=-self._config.label_threshold,
        )
        posteriors = hypothesis_posteriors([beam[-1] for beam in beams])
        bonus = self._config.word_bonus if self._has_model else 0.0
        return [
            Hypothesis(
                text=beam[0],
                words=tuple(
                    WordSpan(word, start, max(start + 1, end), posterior) for word, (start, end) in beam[2]
                ),
                score=beam[-1],
                confidence=posterior,
                ctc_score=beam[-2],
                lm_score=beam[-1] - beam[-2] - bonus * len(beam[2]),
                word_score=bonus * len(beam[2]),
            )
            for beam, posterior in zip(beams[: self._config.num_hypotheses], posteriors, strict=False)
        ]


class FlashlightDecoder:
    """flashlight-text's lexicon search (Kahn et al. 2022), in C++; closed vocabulary."""

    def __init__(
        self,
        surfaces: tuple[str, ...],
        blank: int,
        model: Path,
        words: Iterable[str],
        config: BeamSearchConfig,
    ) -> None:
        """
        Args:
            model: ARPA file or kenlm binary of words.
            words: the lexicon; words with characters that no label writes are left out.
        Raises:
            InputError: flashlight-text is not installed, labels write more than a character or no space, the words
                are in another writing, or the config asks for hotwords.
        """
        try:
            from flashlight.lib.text.decoder import (
                CriterionType,
                KenLM,
                LexiconDecoder,
                LexiconDecoderOptions,
                SmearingMode,
                Trie,
            )
            from flashlight.lib.text.dictionary import Dictionary
        except ImportError as error:
            raise InputError(
                "this decoder needs flashlight-text. Install it: pip install 'loquela[flashlight]'."
            ) from error
        check_surfaces(surfaces, blank)
        if any(len(surface) > 1 for surface in surfaces) or " " not in surfaces:
            raise InputError(
                "flashlight-text is used with labels of one character, the space among them. "
                "Choose another decoder."
            )
        _refuse_hotwords(config, "flashlight-text")
        self._labels, self._config = OneBlank(surfaces, blank), config
        surfaces, blank = self._labels.surfaces, self._labels.blank
        silence = surfaces.index(" ")
        labels = {surface: label for label, surface in enumerate(surfaces) if surface}
        words = [word for word in words if word not in RESERVED]
        _check_words(words, surfaces, "flashlight-text")
        self._words = Dictionary()
        for word in words:
            self._words.add_entry(word)
        self._words.add_entry("<unk>")
        unknown = self._words.get_index("<unk>")
        self._words.set_default_index(unknown)
        language_model = KenLM(str(model), self._words)
        start = language_model.start(False)
        trie = Trie(len(surfaces), silence)
        for word in words:
            if not set(word) <= labels.keys():
                continue
            number = self._words.get_index(word)
            _, score = language_model.score(start, number)
            trie.insert([*(labels[char] for char in word), silence], number, score)
        trie.smear(SmearingMode.MAX)
        options = LexiconDecoderOptions(
            beam_size=config.beam_width,
            beam_size_token=min(config.max_labels, len(surfaces)),
            beam_threshold=config.beam_threshold,
            lm_weight=config.lm_weight * LN10,  # it takes what kenlm says, in log10, as it is
            word_score=config.word_bonus,
            unk_score=-math.inf,
            sil_score=0.0,
            log_add=True,
            criterion_type=CriterionType.CTC,
        )
        self._parts: list[Any] = [language_model, trie]  # the decoder holds no references of its own
        self._decoder = LexiconDecoder(options, trie, language_model, silence, blank, unknown, [], False)

    def decode(self, emissions: EmissionArray) -> list[Hypothesis]:
        """The n-best list; see `Decoder.decode`."""
        emissions, surfaces = self._labels(emissions), self._labels.surfaces
        if _is_impossible(emissions):
            return [Hypothesis("", (), -math.inf, 0.0, -math.inf)]
        # A word is only one with the boundary after it, which a model does not write at the end: a frame that
        # does is added.
        last = np.full((1, len(surfaces)), -1e4, dtype=np.float32)
        last[0, surfaces.index(" ")] = 0.0
        rows = np.ascontiguousarray(np.concatenate([emissions, last]))  # it reads them from memory
        found = self._decoder.decode(rows.ctypes.data, *rows.shape)
        posteriors = hypothesis_posteriors([each.score for each in found] or [0.0])
        hypotheses = []
        for each, posterior in zip(found[: self._config.num_hypotheses], posteriors, strict=False):
            text = " ".join(self._words.get_entry(word) for word in each.words if word >= 0)
            labels = [surfaces.index(char) for char in text]
            spans: list[tuple[str, int, int]] = words_of_labels(labels, surfaces)
            try:
                path = align_labels(emissions, labels, self._labels.blank)
                frames = word_frames(spans, path, len(emissions))
            except ValueError:  # its path may need more frames than there are
                frames = [(0, len(emissions))] * len(spans)
            words = tuple(
                WordSpan(word, start, end, posterior)
                for (word, _, _), (start, end) in zip(spans, frames, strict=True)
            )
            word_score = self._config.word_bonus * len(words)
            hypotheses.append(
                Hypothesis(
                    text=text,
                    words=words,
                    score=each.score,
                    confidence=posterior,
                    ctc_score=each.emittingModelScore,
                    lm_score=each.score - each.emittingModelScore - word_score,
                    word_score=word_score,
                )
            )
        return hypotheses or [Hypothesis("", (), 0.0, 0.0)]


class OneBlank:
    """Labels without those that write nothing, as of languages, which part letters as the blank does."""

    def __init__(self, surfaces: tuple[str, ...], blank: int) -> None:
        self._num_labels = len(surfaces)
        self._kept = [label for label, surface in enumerate(surfaces) if surface or label == blank]
        self._silent = [label for label, surface in enumerate(surfaces) if not surface]
        self.surfaces = tuple(surfaces[label] for label in self._kept)
        self.blank = self._kept.index(blank)

    def __call__(self, emissions: EmissionArray) -> EmissionArray:
        """Emissions of these labels, float32; those of the others are added to the blank's."""
        check_emissions(emissions, self._num_labels)
        emissions = np.asarray(emissions, dtype=np.float32)
        if len(self._silent) == 1:
            return emissions
        kept = emissions[:, self._kept]
        kept[:, self.blank] = np.logaddexp.reduce(emissions[:, self._silent], axis=1)
        return kept


def _is_impossible(emissions: EmissionArray) -> bool:
    """No path has a probability: pyctcdecode fails there, and flashlight-text writes whatever it likes."""
    return bool(np.isneginf(emissions).all(axis=1).any())


def _check_words(words: Sequence[str], surfaces: tuple[str, ...], name: str) -> None:
    """Refuse what `reconcile` would write otherwise: the toolkit reads the file itself, under the names in it.

    Words that no label writes are only never heard, unless they are the most.
    """
    spelling = Spelling(frozenset("".join(surfaces)) - {" "})
    written = [(word, spelling(word)) for word in words]
    others = [f"{own} for {word}" for word, own in written if own not in (word, None)]
    if len(others) > MAX_UNWRITTEN * len(words):
        raise InputError(
            f"{name} reads a language model as it is, and the acoustic model writes {len(others)} of its {len(words)} "
            f"words otherwise ({', '.join(others[:3])}). Build it with the acoustic model's text policy, or choose "
            "another decoder."
        )
    unwritten = [word for word, own in written if own is None]
    if 2 * len(unwritten) > len(words):
        raise InputError(
            f"the acoustic model's letters do not write {len(unwritten)} of the language model's {len(words)} words "
            f"({', '.join(unwritten[:3])}). Build it with the acoustic model's text policy."
        )


def _refuse_hotwords(config: BeamSearchConfig, name: str) -> None:
    if config.hotwords:
        raise InputError(f"{name} is used without hotwords. Choose another decoder, or leave them out.")

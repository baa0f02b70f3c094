"""From recordings to transcripts with translations: one model for both, or a recogniser and an MT model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asr.arrays import FloatArray
from asr.batches import padded, prefetch_rows
from asr.card import model_folder, own_folder
from asr.decode import Hypothesis
from asr.model import own_language_model
from asr.names import shown
from asr.opened import OpenedModel, device_named
from asr.segment import Segment
from asr.transcribe import (
    Encoded,
    Heard,
    TranscribeConfig,
    Transcriber,
    parts_of,
)
from asr.transcript import Transcript
from lm.errors import InputError
from st.languages import differ
from st.model import Memory, SpeechTranslator, is_translator, load_translator
from st.open_texts import open_text_translator
from st.search import TranslationHypothesis, TranslationSearchConfig, translate
from st.texts import BATCH, Legibility, Scored, TextToText


@dataclass(frozen=True, kw_only=True)
class TranslateConfig:
    """What happens between a file and its translation."""

    transcribe: TranscribeConfig = field(default_factory=TranscribeConfig)
    search: TranslationSearchConfig = field(default_factory=TranslationSearchConfig)
    transcript: bool = True
    """Keep the text in the source language beside the translation."""
    hand_over: int = 1
    """Readings of each segment that a cascade translates; the best by both scores is kept."""
    reading_weight: float = 1.0
    """Of a reading's score per word beside its translation's per label, where several are handed over."""

    def __post_init__(self) -> None:
        if self.hand_over < 1:
            raise InputError(f"hand_over is {self.hand_over}. Give a number of readings from 1.")


class Translator:
    """A model, or two in cascade, ready to translate recordings.

    >>> translator = Translator.load("egs/mini/model", cascade="egs/mini_en/model")  # doctest: +SKIP
    >>> transcript = translator.translate("talk.ogg")  # doctest: +SKIP
    >>> transcript.save("talk.eaf")  # doctest: +SKIP
    """

    def __init__(self, transcriber: EndToEnd | Cascade, config: TranslateConfig, language: str) -> None:
        self.transcriber = transcriber
        self.config = config
        self.language = language
        """Of the translations."""

    @classmethod
    def load(
        cls,
        model: str | Path,
        *,
        cascade: str | Path | None = None,
        lm: str | Path | None = None,
        language: str = "",
        source_language: str = "",
        target_language: str = "",
        device: str = "auto",
        config: TranslateConfig | None = None,
        decoding: dict[str, Any] | None = None,
    ) -> Translator:
        """Read a model.

        Args:
            model: folder of a speech translator; with ``cascade``, any recogniser that `Transcriber.load` takes.
            cascade: a text translator that reads the recogniser's transcripts: a folder of ours, or a model
                of transformers' by folder or hub name.
            lm: language model for the transcripts, as `Transcriber.load` takes it.
            language: of a published recogniser that has several, by its own code; empty takes ``source_language``.
            source_language: by the MT model's own code, where it has several.
            target_language: the same; written into the transcripts.
            decoding: as `Transcriber.load` takes it.
        Raises:
            InputError: a folder or file is missing or altered, or is a model of another kind or languages.
        """
        config = config or TranslateConfig()
        device = device_named(device)
        if cascade is not None:
            if own_folder(model) and is_translator(model):
                raise InputError(
                    f"model {model} is a translator, not a recogniser. Give a recogniser, or leave out the cascade "
                    "(--cascade) if it translates speech by itself."
                )
            readings = max(config.hand_over, config.transcribe.num_hypotheses)
            plain = Transcriber.load(
                model,
                lm=lm,
                language=language or source_language,
                device=device,
                config=replace(config.transcribe, num_hypotheses=readings),
                decoding=decoding,
            )
            beam = plain.decoding.beam_width if plain.decoding else 1
            if config.hand_over > beam:
                raise InputError(
                    f"hand_over is {config.hand_over}, and the recogniser's beam, {beam} wide, keeps no more readings "
                    "than that. Give fewer, or a wider --beam."
                )
            texts = open_text_translator(
                cascade,
                source_language=source_language,
                target_language=target_language,
                language=language or "+".join(plain.model.languages),
                written=plain.model.tokenizer.policy.key,
                device=device,
                search=config.search,
            )
            return cls(
                Cascade(plain, texts, config, str(cascade)), config, target_language or texts.languages[1]
            )
        translator = load_translator(model, device)
        if not isinstance(translator, SpeechTranslator):
            raise InputError(
                f"model {model} translates text. Give a recogniser, and this one as cascade (--cascade)."
            )
        if language and differ(language, translator.languages[0]):
            raise InputError(
                f"model {model} hears {translator.languages[0]}, and the recordings are said to be in {language}. Give "
                "a model of this language, or leave the option (--language) out."
            )
        if target_language and translator.languages[1] and target_language != translator.languages[1]:
            raise InputError(
                f"model {model} translates into {translator.languages[1]}, not {target_language}. "
                "Give another model, or leave the option out."
            )
        return cls(
            EndToEnd(translator, lm, config, decoding or {}, str(model)),
            config,
            target_language or translator.languages[1],
        )

    def translate(
        self, path: str | Path, *, language: str = "", progress: Callable[[float], None] | None = None
    ) -> Transcript:
        """Transcribe and translate one recording of any length; arguments and errors as `Transcriber.transcribe`'s.

        Translations that the limit of labels cut off are counted on stderr.
        """
        self.transcriber.cut.clear()
        transcript = self.transcriber.transcribe(path, language=language, progress=progress)
        if cut := len(self.transcriber.cut):
            print(f"{shown(Path(path))}: {self.config.search.cut_off(cut)}", file=sys.stderr)
        segments = transcript.segments
        if empty := sum(not each.translation for each in segments):
            print(
                f"{shown(Path(path))}: {empty} of {len(segments)} segments have no translation",
                file=sys.stderr,
            )
        if not self.config.transcript:
            segments = tuple(replace(each, text="", words=(), alternatives=()) for each in segments)
        return replace(transcript, segments=segments, translation_language=self.language)

    # What `loquela transcribe` calls, so that both commands share their loop over files.
    transcribe = translate


@dataclass(frozen=True)
class Seen(Encoded):
    """What the encoder made of a segment, for both outputs."""

    memory: Memory
    """Its own alone."""


class EndToEnd(Transcriber):
    """One encoder, whose states are transcribed by its output layer and translated by the decoder."""

    def __init__(
        self,
        model: SpeechTranslator,
        lm: str | Path | None,
        config: TranslateConfig,
        decoding: dict[str, Any],
        name: str,
    ) -> None:
        if config.transcribe.overlap_s:
            raise InputError(
                f"model {name} translates what it hears as a whole, so segments cannot overlap. Leave the overlap out, "
                "or translate in a cascade (--cascade)."
            )
        opened = OpenedModel(model.recogniser, name, own_language_model(model_folder(name)))
        super().__init__(*parts_of(opened, lm, replace(config.transcribe, overlap_s=0.0), decoding))
        self.translator = model
        self.search = config.search
        self.cut: list[str] = []
        """Translations that the limit of labels cut off."""

    def encode(self, waveforms: Sequence[FloatArray]) -> list[Encoded]:
        """Each waveform through the encoder."""
        return [Seen(*each) for each in look(self.translator, waveforms)]

    def heard(
        self, groups: Iterable[list[tuple[Segment, Encoded | None]]]
    ) -> Iterator[tuple[Segment, Heard]]:
        """The readings of segments, and their translations."""
        each = (pair for group in groups for pair in group)
        # The search is quicker for many, and has a thread of its own, beside those that hear what follows.
        for rows in prefetch_rows(each, self._translated, BATCH):
            yield from rows

    def _translated(self, rows: list[tuple[Segment, Encoded | None]]) -> list[tuple[Segment, Heard]]:
        memories = [encoded.memory for _, encoded in rows if isinstance(encoded, Seen)]
        found = iter(search_together(self.translator, memories, self.search))
        heard = []
        for (segment, reading), (_, encoded) in zip(super().heard([rows]), rows, strict=True):
            if encoded is not None:
                best = next(found)[0]
                text = self.translator.tokenizer.decode(best.labels)
                reading = replace(reading, translation=text)
                if best.cut:
                    self.cut.append(text)
            heard.append((segment, reading))
        return heard


@torch.inference_mode()
def look(model: SpeechTranslator, waveforms: Sequence[FloatArray]) -> list[tuple[FloatArray, Memory]]:
    """Of each waveform (S,), the emissions (T, C) for its transcript, and what its translation is made from."""
    batch, num_samples = padded(waveforms)
    device = model.recogniser.head.weight.device
    memory = model.memory(batch.to(device), num_samples.to(device))
    assert memory.emissions is not None
    emissions = memory.emissions.values.cpu().numpy().astype(np.float32)
    frames = memory.emissions.num_frames.tolist()
    return [(row[:size], own) for row, size, own in zip(emissions, frames, memory.apart(), strict=True)]


def search_together(
    model: SpeechTranslator, memories: Sequence[Memory], search: TranslationSearchConfig
) -> list[list[TranslationHypothesis]]:
    """Translations of each memory that came from `look`, best first."""
    return translate(model.decoder, Memory.together(memories), search) if memories else []


class Cascade(Transcriber):
    """A recogniser, whose readings an MT model translates."""

    def __init__(self, plain: Transcriber, texts: TextToText, config: TranslateConfig, name: str) -> None:
        super().__init__(
            plain.model,
            plain.decoder,
            plain.config,
            {**plain.details, "translation_model": name},
            plain.decoding,
        )
        self.texts = texts
        self.settings = config
        self.name = name
        self.cut: list[str] = []
        """Translations that the limit of labels cut off."""
        self.legibility = Legibility(texts, name)
        """Of the recording at hand."""

    def transcribe(
        self, path: str | Path, *, language: str = "", progress: Callable[[float], None] | None = None
    ) -> Transcript:
        """As `Transcriber.transcribe`; segments that the MT model cannot read are counted on stderr.

        Raises:
            InputError: there, too, or the MT model cannot read enough of the recording.
        """
        self.legibility = Legibility(self.texts, self.name)
        transcript = super().transcribe(path, language=language, progress=progress)
        name = shown(Path(path))
        self.legibility.check(name)
        if unread := self.legibility.unread:
            print(
                f"{name}: {unread} segment(s) without a translation, which MT model {self.name} cannot read",
                file=sys.stderr,
            )
        return transcript

    def heard(
        self, groups: Iterable[list[tuple[Segment, Encoded | None]]]
    ) -> Iterator[tuple[Segment, Heard]]:
        """The readings of segments, and the best translation of the first ones of each.

        With several handed over, the one is kept whose reading and translation together are most likely.
        """
        # As above, of the MT model.
        for rows in prefetch_rows(super().heard(groups), self._translated, BATCH):
            yield from rows

    def _translated(self, rows: Sequence[tuple[Segment, Heard]]) -> list[tuple[Segment, Heard]]:
        readings = [self._handed_over(heard) for _, heard in rows]
        found = iter(self.texts.translate([each.text for row in readings for each in row]))
        return [
            (segment, self._chosen(heard, row, [next(found) for _ in row]))
            for (segment, heard), row in zip(rows, readings, strict=True)
        ]

    def _handed_over(self, heard: Heard) -> list[Hypothesis]:
        """The readings that are translated: none where the first says nothing that the MT model can read."""
        readings = [each for each in heard.hypotheses[: self.settings.hand_over] if each.text]
        return readings if readings and self.legibility.reads(readings[0].text) else []

    def _chosen(self, heard: Heard, readings: Sequence[Hypothesis], found: Sequence[Scored]) -> Heard:
        kept = max(1, self.settings.transcribe.num_hypotheses)
        if not readings:
            return heard if len(heard.hypotheses) <= kept else Heard(heard.hypotheses[:kept])
        totals = [
            translation.score
            + self.settings.reading_weight
            * (reading.score - readings[0].score)
            / max(1, len(readings[0].words))
            for reading, translation in zip(readings, found, strict=True)
        ]
        chosen = int(np.argmax(totals))
        best = found[chosen]
        if best.cut:
            self.cut.append(best.text)
        # What is written down is what was translated.
        others = [each for each in heard.hypotheses if each is not readings[chosen]]
        return Heard([readings[chosen], *others][:kept], best.text)

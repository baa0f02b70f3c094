"""From recordings to transcripts: audio, segments, emissions, hypotheses, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from asr.arrays import FloatArray
from asr.audio import AudioInfo, channels, probe, stream
from asr.audio.clock import Clock
from asr.decode import BeamSearchConfig, Decoder, Hypothesis, build_decoder, decode_all
from asr.emissions import encode_groups, too_much
from asr.frames import samples_to_seconds
from asr.model import CTCModel
from asr.names import shown
from asr.opened import OpenedModel, open_model, tuned_search
from asr.segment import (
    OwnSegments,
    Segment,
    SegmenterConfig,
    Speech,
    VadConfig,
    build_segmenter,
    settings_for,
)
from asr.segment.overlap import Joiner, check_overlap, default_overlap, overlapping
from asr.segment.own import OwnSegment
from asr.segment.recording import quiet
from asr.transcript import Gap, Transcript, TranscriptSegment, Word
from lm.errors import InputError
from lm.folder import LanguageModel


@dataclass(frozen=True, kw_only=True)
class TranscribeConfig:
    """What happens between a file and its transcript."""

    channel: str = "mix"
    """``mix``, a channel number from 1 (an int will do), or ``split``: each channel a speaker."""
    segmenter: str = "vad"
    """How recordings are cut, by a name of `asr.segment.SEGMENTERS`."""
    segments: SegmenterConfig = field(default_factory=VadConfig)
    """Settings of that segmenter; of another's, its ``max_segment_s`` is taken."""
    classifier: str = ""
    """Folder of the model that the segmenter cuts by: a classifier for pdac, pstrm and pthr, empty for the package's
    own; a recogniser for ctc-dac and ctc-hybrid, empty for the one that transcribes."""
    overlap_s: float | None = None
    """Sound that two segments share where they touch, because speech had to be cut; their emissions then decide where
    one ends and the next begins. The longest segment includes it. None is `default_overlap`'s choice."""
    own: OwnSegments | None = None
    """A user's segments, instead of a segmenter's; of ``segments`` then ``max_segment_s`` alone counts."""
    batch_s: float = 0.0
    """Most seconds of speech that go through the encoder at once; 0 is `CTCModel.batch_seconds`'s choice."""
    num_hypotheses: int = 1
    """Texts kept for each segment; the further ones go into ``alternatives``."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "channel", str(self.channel))
        if self.num_hypotheses < 1:
            raise InputError(f"num_hypotheses is {self.num_hypotheses}. Give a number of texts from 1.")
        if not self.batch_s >= 0:
            raise InputError(
                f"batch_s is {self.batch_s}. Give seconds of speech, or 0 for what suits the device."
            )
        if self.overlap_s is not None:
            check_overlap(self.overlap_s, self.segments.max_segment_s)
        if self.overlap_s and self.own is not None:
            raise InputError(
                "segments of one's own keep their borders and do not overlap. Leave the overlap out."
            )
        self.cutting()

    @property
    def overlap(self) -> float:
        """Sound that two segments share where they touch, in seconds."""
        if self.own is not None:
            return 0.0
        settings = settings_for(self.segmenter, self.segments)
        return default_overlap(settings) if self.overlap_s is None else self.overlap_s

    def cutting(self) -> SegmenterConfig:
        """Settings that the segmenter cuts with: the longest segment without what it will share with others.

        Raises:
            InputError: with the overlap there is no room for a segment.
        """
        settings, overlap_s = settings_for(self.segmenter, self.segments), self.overlap
        if not overlap_s:
            return settings
        longest_s = settings.max_segment_s - overlap_s
        kept_s = getattr(settings, "keep_s", None)  # the usual shortest segment depends on it
        usual = settings_for(self.segmenter, max_segment_s=settings.max_segment_s, keep_s=kept_s)
        try:
            if getattr(settings, "min_segment_s", None) == getattr(usual, "min_segment_s", None):
                return settings_for(self.segmenter, settings, max_segment_s=longest_s)
            return replace(settings, max_segment_s=longest_s)  # a shortest one that was given does not shrink
        except InputError as error:
            raise InputError(
                f"segmenter {self.segmenter} with an overlap of {overlap_s:g} s: {error} A smaller one leaves room."
            ) from error


@dataclass(frozen=True)
class Encoded:
    """What the encoder made of a segment."""

    emissions: FloatArray
    """Log-probabilities, (T, C)."""


@dataclass(frozen=True)
class Heard:
    """What a segment says."""

    hypotheses: list[Hypothesis]
    """Best first; at least one."""
    translation: str = ""


NOTHING = Heard([Hypothesis(text="", words=(), score=0.0, confidence=0.0)])


class Transcriber:
    """A model, perhaps with a language model, ready to transcribe.

    Threads may share one. Processes are handed a copy by pickling; most pretrained encoders cannot be pickled, so
    there each process loads its own.

    >>> transcript = Transcriber.load("egs/mini/model").transcribe("talk.ogg")  # doctest: +SKIP
    >>> transcript.save("talk.eaf")  # doctest: +SKIP
    """

    def __init__(
        self,
        model: CTCModel,
        decoder: Decoder,
        config: TranscribeConfig,
        details: dict[str, str],
        decoding: BeamSearchConfig | None = None,
    ) -> None:
        self.model = model
        self.decoder = decoder
        self.config = config
        self.details = details
        self.decoding = decoding
        """Settings of the beam search; None where the decoder is greedy."""

    @classmethod
    def load(
        cls,
        model: str | Path,
        *,
        lm: str | Path | None = None,
        language: str = "",
        device: str = "auto",
        config: TranscribeConfig | None = None,
        decoding: dict[str, Any] | None = None,
    ) -> Transcriber:
        """Read a model and its language model.

        Args:
            model: an experiment or model folder of this toolkit, a folder of transformers' with a
                CTC model, or the name of one on the hub.
            lm: a language model's folder or ARPA file; None takes the one that lies in the model
                folder, if any; ``"none"`` decodes greedily.
            language: of a published model that has several (MMS), by its own code.
            device: ``cpu``, ``cuda``, or ``auto``: a GPU where there is one.
            decoding: settings of the beam search that differ from those tuned with the language
                model (see `asr.opened.tuned_search`).
        Raises:
            InputError: a folder or file is missing or altered, or the language model is for
                another alphabet.
        """
        opened = open_model(model, language, device)
        return cls(*parts_of(opened, lm, config or TranscribeConfig(), decoding or {}))

    def transcribe(
        self, path: str | Path, *, language: str = "", progress: Callable[[float], None] | None = None
    ) -> Transcript:
        """Transcribe one recording of any length, in memory that does not grow with it.

        Of one that breaks off, what can be read is; the rest, up to the end that its header promises, is a gap, and
        ``details["failed"]`` says why. It also says so where a segment that was given reaches beyond the recording,
        with which it ends then. ``details["quiet"]`` says where speech may have been missed.

        Args:
            language: written into the transcript.
            progress: called with the seconds of audio that are done.
        Raises:
            InputError: nothing of the recording can be read, or the segments given are of another: one of them lies
                wholly beyond the end by its header, or all of them do.
        """
        path = Path(path)
        info, own = probe(path, partly=True), self.config.own
        promised_s = info.header_duration_s
        # Said now and not after hours, where the header tells.
        if own and promised_s is not None and (why := own.beyond(path, promised_s, wholly=True)):
            raise InputError(why)
        wanted = channels(self.config.channel, info)
        duration = speech_s = peak = 0.0
        unheard = 0
        segments: list[TranscriptSegment] = []
        gaps: list[Gap] = []
        details = {**self.details, **facts(info)}
        for channel in wanted:
            clock = Clock(progress)
            speaker = f"channel {channel}" if len(wanted) > 1 else ""
            chunks = clock.watch(stream(path, channel=channel, partly=True), partly=True)
            for segment, heard in self.heard(self.encoded(path, chunks)):
                speech_s += segment.duration
                unheard += heard is NOTHING
                named = segment.speaker if isinstance(segment, OwnSegment) else ""
                row = self._segment(segment, heard, f"{named} {speaker}".strip())
                if row.text or row.translation:
                    segments.append(row)
                else:
                    gaps.append(Gap(start=segment.start, end=segment.end, reason="no words recognised"))
            duration, peak = max(duration, clock.seconds), max(peak, clock.peak)
            if lost := clock.lost(promised_s):
                details["failed"] = str(clock.failure)
                gaps.append(lost)
        if own and "failed" not in details and (why := own.beyond(path, duration)):
            if not (segments or gaps):
                raise InputError(why)
            details["failed"] = why
        if own is None:
            details |= quiet(path, speech_s, duration, peak)
        elif unheard:
            details["quiet"] = (
                f"{shown(path)}: {unheard} of the given segments are too short for the model to hear anything. "
                f"Mend their times in {shown(own.path)}, which are seconds in most forms."
            )
        rest = "silence" if own is None else "not in the given segments"
        segments.sort(key=lambda segment: (segment.start, segment.speaker))
        return Transcript(
            recording=path.stem,
            audio=path,
            duration=duration,
            segments=tuple(segments),
            gaps=tuple(account(segments, gaps, duration, rest)),
            language=language,
            details=details,
        )

    def encoded(
        self, path: Path, chunks: Iterable[FloatArray]
    ) -> Iterator[list[tuple[Segment, Encoded | None]]]:
        """The segments of a recording, in order and in groups that went through the encoder together.

        With each goes what the encoder makes of it, None where it is too short for that.

        Args:
            chunks: its waveform in consecutive pieces, each (S,).
        Raises:
            InputError: nothing can be read, or a segment alone is too much for the memory.
        """
        groups = self._encoded(path, self._groups(self._cut(path, chunks)))
        return self._joined(groups) if self.config.overlap else groups

    def encode(self, waveforms: Sequence[FloatArray]) -> list[Encoded]:
        """Each waveform (S,) through the encoder; called from several threads at once."""
        return [Encoded(emissions) for emissions in self.model.emissions(waveforms)]

    def heard(
        self, groups: Iterable[list[tuple[Segment, Encoded | None]]]
    ) -> Iterator[tuple[Segment, Heard]]:
        """What each segment says, in order.

        Args:
            groups: as from `encoded`.
        """
        for group in groups:
            readings = iter(decode_all(self.decoder, [each.emissions for _, each in group if each]))
            for segment, encoded in group:
                yield segment, Heard(next(readings)) if encoded else NOTHING

    def _encoded(
        self, path: Path, groups: Iterable[list[Speech]]
    ) -> Iterator[list[tuple[Segment, Encoded | None]]]:
        grid = self.model.grid
        groups_encoded = encode_groups(
            self.encode,
            (
                (group, [waveform for _, waveform in group if grid.num_frames(len(waveform))])
                for group in groups
            ),
            on_cpu=self.model.on_cpu,
        )
        for group, found in groups_encoded:
            made = iter(found)
            rows: list[tuple[Segment, Encoded | None]] = []
            for segment, waveform in group:
                long_enough = grid.num_frames(len(waveform)) > 0
                encoded = next(made) if long_enough else None
                if long_enough and encoded is None:
                    raise too_much(
                        f"{shown(path)}, {segment.start:.1f} to {segment.end:.1f} s",
                        len(waveform),
                        "Give shorter segments with --max-segment, or a machine with more.",
                    )
                rows.append((segment, encoded))
            yield rows

    def _joined(
        self, groups: Iterable[list[tuple[Segment, Encoded | None]]]
    ) -> Iterator[list[tuple[Segment, Encoded | None]]]:
        """The same, each second in one segment: those that overlap are parted where their emissions say."""
        surfaces = self.model.tokenizer.surfaces
        joiner = Joiner(self.model.grid, surfaces)
        nothing = np.zeros((0, len(surfaces)), np.float32)
        held: list[tuple[Segment, FloatArray]] = []

        def given(count: int) -> list[tuple[Segment, Encoded | None]]:
            ready, held[:count] = held[:count], []
            return [(segment, Encoded(emissions) if len(emissions) else None) for segment, emissions in ready]

        for group in groups:
            for segment, encoded in group:
                heard = segment, encoded.emissions if encoded else nothing
                if held and segment.start < held[-1][0].end:
                    held[-1], heard = joiner.part(held[-1], heard)
                held.append(heard)
            yield given(len(held) - 1)
        yield given(len(held))

    def _cut(self, path: Path, chunks: Iterable[FloatArray]) -> Iterator[Speech]:
        """The segments of a recording with their samples."""
        if self.config.own is not None:
            return self.config.own.split(chunks, path, self.config.segments.max_segment_s)
        settings, overlap_s = self.config.cutting(), self.config.overlap
        device = self.model.head.weight.device
        segmenter = build_segmenter(settings, self.config.classifier, device=device, recogniser=self.model)
        speech = segmenter(chunks)
        return overlapping(speech, self.model.grid, overlap_s) if overlap_s else speech

    def _groups(self, speech: Iterable[Speech]) -> Iterator[list[Speech]]:
        """Segments that go through the encoder together."""
        limit = self.model.batch_seconds(self.config.batch_s)
        group: list[Speech] = []
        try:
            for segment, waveform in speech:
                longest = max([len(waveform), *(len(other) for _, other in group)])
                if group and samples_to_seconds(longest) * (len(group) + 1) > limit:
                    yield group
                    group = []
                group.append((segment, waveform))
        except InputError:
            if group:
                yield group
            raise
        if group:
            yield group

    def _segment(self, segment: Segment, heard: Heard, speaker: str) -> TranscriptSegment:
        grid, hypotheses = self.model.grid, heard.hypotheses
        words = []
        for span in hypotheses[0].words:
            # The last frame's field can reach past the audio it was given.
            start = max(segment.start, min(segment.start + grid.start_s(span.start_frame), segment.end))
            end = max(start, min(segment.start + grid.start_s(span.end_frame), segment.end))
            words.append(Word(text=span.text, start=start, end=end, confidence=span.confidence))
        return TranscriptSegment(
            start=segment.start,
            end=segment.end,
            text=hypotheses[0].text,
            words=tuple(words),
            confidence=hypotheses[0].confidence,
            speaker=speaker,
            alternatives=tuple(hypothesis.text for hypothesis in hypotheses[1:]),
            translation=heard.translation,
        )


def parts_of(
    opened: OpenedModel, lm: str | Path | None, config: TranscribeConfig, decoding: Mapping[str, Any]
) -> tuple[CTCModel, Decoder, TranscribeConfig, dict[str, str], BeamSearchConfig | None]:
    """What a `Transcriber` is made of; arguments and errors as `Transcriber.load`'s."""
    beside = None if lm == "none" else (Path(lm) if lm else opened.language_model)
    language_model = LanguageModel.load(beside) if beside else None
    overrides = {**(opened.decoding if beside == opened.language_model else {}), **decoding}
    if config.num_hypotheses > 1:
        overrides["num_hypotheses"] = config.num_hypotheses
    model, tokenizer = opened.model, opened.model.tokenizer
    device = str(model.head.weight.device)
    search = tuned_search(language_model, overrides)
    try:
        decoder = build_decoder(
            tokenizer.surfaces, tokenizer.blank, *search, device=device, threads=model.threads_beside
        )
    except InputError as error:
        if lm or not beside:
            raise
        # Nobody asked for it: it came with the model.
        raise InputError(f"{error} Or leave out the language model that came with it: --lm none.") from error
    details = {"model": opened.source, "language_model": str(beside) if beside else "none"}
    return model, decoder, config, details, search[1]


def facts(info: AudioInfo) -> dict[str, str]:
    """What a transcript keeps of the recording it was made from."""
    return {"sample_rate": str(info.sample_rate), **({"telephone": "true"} if info.telephone else {})}


def account(
    segments: Sequence[TranscriptSegment], gaps: Sequence[Gap], duration: float, rest: str = "silence"
) -> list[Gap]:
    """The gaps of a recording, so that every second is in a segment or a gap.

    Where channels overlap, what one of them says leaves no gap in another.

    Args:
        gaps: those whose reason is known.
        rest: the reason of the others.
    """
    spans = [(each.start, each.end) for each in segments] + [(gap.start, gap.end) for gap in gaps]
    points = sorted({0.0, duration}.union(*spans))
    place = {point: number for number, point in enumerate(points)}
    speech = np.zeros(len(points), dtype=np.int64)
    for segment in segments:
        speech[place[segment.start]] += 1
        speech[place[segment.end]] -= 1
    spoken = np.cumsum(speech) > 0
    reasons = [rest] * len(points)
    for gap in gaps:
        reasons[place[gap.start] : place[gap.end]] = [gap.reason] * (place[gap.end] - place[gap.start])
    accounted: list[Gap] = []
    for number, (start, end) in enumerate(pairwise(points)):
        if spoken[number]:
            continue
        last = accounted[-1] if accounted else None
        if last is not None and last.end == start and last.reason == reasons[number]:
            accounted[-1] = replace(last, end=end)
        else:
            accounted.append(Gap(start=start, end=end, reason=reasons[number]))
    return accounted

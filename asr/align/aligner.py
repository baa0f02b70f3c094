"""From a recording and its transcript to the times of its lines."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr.align.heard import HeardRecording
from asr.align.scores import Decoys, choose_threshold, line_score, scrambled
from asr.align.search import SearchConfig, best_path
from asr.align.texts import Columns, Line, lines_of, unknown_characters
from asr.audio import channels, probe, stream
from asr.audio.clock import Clock
from asr.decode.confidence import acoustic_confidences, mean_confidence
from asr.decode.times import word_frames
from asr.names import shown
from asr.tokenizer import UNKNOWN, code_point
from asr.transcribe import Transcriber, account, facts
from asr.transcript import Gap, Transcript, TranscriptSegment, Word
from lm.errors import InputError

FEW = 20
"""Lines, with three decoys each, of which a threshold can be chosen that lines of another recording do not pass."""
SCRAMBLED = 8
"""Orders of their letters in which so few lines are looked for in the whole recording."""


@dataclass(frozen=True, kw_only=True)
class AlignConfig:
    """How a transcript is looked for, and what of it is believed."""

    search: SearchConfig = field(default_factory=SearchConfig)
    edge_s: float = 0.2
    """A line reaches this far beyond its first and last label, but to the middle of a pause at most. On killkan's
    dev chapter the linguists' lines begin 0.17 s before the first label and end 0.22 s after the last (medians)."""
    decoys: int = 3
    """Other lines that are tried in the place of each."""
    false_accepts: float = 0.01
    """Share of such decoys that the threshold of scores lets pass."""
    least_share: float = 0.25
    """With a smaller share of lines accepted, the transcript is another recording's. Of another chapter of the same
    radio drama 10 % of lines were, most of them refrains that are in both."""
    least_margin: float = 2.0
    """So much better, in nats a label, must fewer lines than `FEW` fit than with their letters in other orders: a few
    of another recording fit a little somewhere in a long one. Of killkan's chapters 1 to 12 lines in a row have 4 to 6
    in their own (a line that repeats its one word has 1.5), and 0 to 1.8 in another unless it says one of them."""

    def __post_init__(self) -> None:
        if not 0 <= self.false_accepts < 1:
            raise InputError(f"`false_accepts` must be from 0 to below 1; got {self.false_accepts}.")


@dataclass(frozen=True)
class AlignedLine:
    """A line of the transcript, with its place in the recording if it has one."""

    line: Line
    segment: TranscriptSegment
    """The text and what the transcript said of it; its times, words and confidence are the alignment's. Of a line
    that was passed over: where it would be, between its neighbours."""
    score: float
    """Natural log: see `asr.align.scores.line_score`. Minus infinity: passed over, or nothing to look for."""

    @property
    def placed(self) -> bool:
        """Whether it is said anywhere."""
        return self.score > -math.inf


@dataclass(frozen=True)
class Alignment:
    """A recording with the lines of its transcript."""

    audio: Path
    duration: float
    lines: tuple[AlignedLine, ...]
    decoys: tuple[float, ...]
    """Scores of lines that are not said where they were looked for."""
    heard: tuple[tuple[float, float], ...]
    """Stretches with speech, start and end in seconds."""
    unknown: dict[str, int]
    """Characters that the model cannot write, with their counts."""
    details: dict[str, str]
    lost: Gap | None = None
    """What is missing of a recording that broke off; ``details["failed"]`` says why."""
    margin: float = math.inf
    """How much better the lines with a place fit than with their letters in other orders, in nats a label; looked at
    where there are few lines to take decoys from."""

    @property
    def placed(self) -> list[AlignedLine]:
        """The lines with a place, in order."""
        return [each for each in self.lines if each.placed]

    def accepted(self, threshold: float) -> list[AlignedLine]:
        """The lines that are believed."""
        return [each for each in self.lines if each.score > threshold]

    def check(self, threshold: float, config: AlignConfig) -> None:
        """Refuse a transcript of another recording.

        Raises:
            InputError: hardly a line scores better than decoys do, of those that what was read may have, or there are
                few lines and they fit hardly better than any letters.
        """
        accepted = len(self.accepted(threshold))
        # What breaks off has no more of its lines than of its time, which some files do not tell; but few lines have
        # too few decoys to tell by.
        expected = float(len(self.lines))
        if self.lost:
            expected *= self.duration / self.lost.end if self.lost.end > self.duration else 0.0
        if accepted < config.least_share * max(expected, min(len(self.lines), FEW)):
            also = f" It is not whole, either: {self.details['failed']}" if self.lost else ""
            raise InputError(
                f"{shown(self.audio)}: {accepted} of {len(self.lines)} lines of its transcript are heard in it, no "
                "more than of another recording's. Check that the two belong together, and that the model "
                f"understands the language.{also}"
            )
        if self.margin < config.least_margin:
            raise InputError(
                f"{shown(self.audio)}: the {len(self.placed)} lines of its transcript that are heard in it fit hardly "
                f"better than with their letters in another order: by {self.margin:.1f} nats a letter, of "
                f"{config.least_margin:g} that so few lines need. Check that the two belong together, or give more of "
                "the transcript."
            )

    def transcript(self, language: str = "") -> Transcript:
        """The lines that have a place."""
        segments = tuple(each.segment for each in self.placed)
        gaps = [Gap(start=start, end=end, reason="not in the transcript") for start, end in self.heard]
        gaps += [self.lost] if self.lost else []
        return Transcript(
            recording=self.audio.stem,
            audio=self.audio,
            duration=self.duration,
            segments=segments,
            gaps=tuple(account(segments, gaps, self.duration)),
            language=language,
            details=self.details,
        )


class Aligner:
    """A recogniser that looks for given texts in recordings.

    >>> aligner = Aligner(Transcriber.load("egs/mini/model", lm="none"))  # doctest: +SKIP
    >>> aligner.align("talk.ogg", read_transcript("talk.txt")).transcript().save("talk.eaf")  # doctest: +SKIP
    """

    def __init__(self, transcriber: Transcriber, config: AlignConfig | None = None) -> None:
        """
        Args:
            transcriber: cuts recordings and encodes the segments, all that is speech to it; it decodes nothing.
        """
        self.transcriber = transcriber
        self.config = config or AlignConfig()

    def lines(self, transcript: Transcript) -> list[Line]:
        """The lines of a transcript as the model spells them."""
        return lines_of(transcript, self.transcriber.model.tokenizer)

    def align(
        self,
        path: str | Path,
        transcript: Transcript,
        *,
        others: Sequence[Line] = (),
        progress: Callable[[float], None] | None = None,
    ) -> Alignment:
        """Find the lines of a transcript in a recording of any length.

        Of one that breaks off, in what can be read; ``details["failed"]`` says why.

        Args:
            transcript: its segments are the lines, in the order they are said; their times are not used.
            others: lines of other recordings' transcripts to take decoys from; without any, its own lines are.
            progress: called with the seconds of audio that are done.
        Raises:
            InputError: nothing of the recording can be read or it has no speech, or the transcript has nothing that
                the model can write.
        """
        path = Path(path)
        tokenizer, search = self.transcriber.model.tokenizer, self.config.search
        lines = self.lines(transcript)
        wanted = [line for line in lines if line.findable]
        unknown = unknown_characters(lines, tokenizer)
        if not lines:
            raise InputError(f"the transcript of {shown(path)} has no text. Write a line for each utterance.")
        if not wanted:
            raise InputError(
                f"the transcript of {shown(path)} has no character that the model writes; it has "
                f"{', '.join(code_point(char) for char, _ in unknown.most_common(3)) or 'only punctuation'}. "
                "Give a model of this language and script."
            )
        info = probe(path, partly=True)
        wanted_channels = channels(self.transcriber.config.channel, info)
        if len(wanted_channels) > 1:
            raise InputError(
                f"{shown(path)}: a transcript is aligned to one channel. Give its number, or mix."
            )
        pool = others or wanted
        decoys = Decoys(pool, self.config.decoys)
        columns = Columns(tokenizer, [*wanted, *others], search.star_cost)
        clock = Clock(progress)
        with HeardRecording(columns, self.transcriber.model.grid) as heard:
            chunks = clock.watch(stream(path, channel=wanted_channels[0], partly=True), partly=True)
            heard.listen(chain.from_iterable(self.transcriber.encoded(path, chunks)))
            if not len(heard):
                raise clock.failure or InputError(
                    f"{shown(path)}: no speech in {clock.seconds:.1f} s. Listen to it; if there is some, give "
                    "--segmenter fixed."
                )
            best = best_path(heard, [columns.of(line.labels) for line in wanted], search)
            found = {line.number: frames for line, frames in zip(wanted, best.frames, strict=True)}
            aligned: list[AlignedLine] = []
            scores: list[float] = []
            for line in lines:
                frames = found.get(line.number)
                if frames is None:
                    aligned.append(AlignedLine(line, replace(line.segment, words=()), -math.inf))
                    continue
                first, last = int(frames[0, 0]), int(frames[-1, 1])
                emissions = heard.read(first, last)
                score = line_score(emissions, columns.of(line.labels), frames - first)
                aligned.append(AlignedLine(line, _segment(line, frames, emissions, columns, heard), score))
                scores += decoys.scores(line, emissions, columns)
            placed = [line for line in wanted if found[line.number] is not None]
            margin = self._margin(heard, columns, placed) if placed and len(pool) < FEW else math.inf
            return Alignment(
                audio=path,
                duration=clock.seconds,
                lines=tuple(_spread(aligned, clock.seconds, self.config.edge_s)),
                decoys=tuple(scores),
                heard=heard.stretches,
                unknown=dict(unknown.most_common()),
                details={
                    "model": self.transcriber.details["model"],
                    **facts(info),
                    **({"failed": str(clock.failure)} if clock.failure else {}),
                },
                lost=clock.lost(info.header_duration_s),
                margin=margin,
            )

    def _margin(self, heard: HeardRecording, columns: Columns, lines: Sequence[Line]) -> float:
        """What lines lose, a label, with their letters in other orders, wherever these fit best."""

        def fit(texts: Sequence[Sequence[int]]) -> float:
            return best_path(heard, [columns.of(labels) for labels in texts], self.config.search).score

        others = [list(scrambled(line, SCRAMBLED)) or [line.labels] for line in lines]
        best = max(fit([each[number % len(each)] for each in others]) for number in range(SCRAMBLED))
        return (fit([line.labels for line in lines]) - best) / sum(len(line.labels) for line in lines)

    def threshold(self, alignments: Sequence[Alignment]) -> float:
        """The score that a line of these must exceed, chosen by their decoys."""
        decoys = [score for alignment in alignments for score in alignment.decoys]
        return choose_threshold(decoys, self.config.false_accepts)


def _segment(
    line: Line,
    frames: NDArray[np.int64],
    emissions: NDArray[np.float32],
    columns: Columns,
    heard: HeardRecording,
) -> TranscriptSegment:
    """A line from its first label to its last, with its words."""
    first, last = int(frames[0, 0]), int(frames[-1, 1])
    labels = columns.of(line.labels).tolist()
    confidences = acoustic_confidences(emissions, labels, frames - first, line.words, columns.surfaces)
    spans = word_frames(line.words, frames - first, last - first)
    words, sure = [], []
    for (text, one, other), (begin, stop), confidence in zip(line.words, spans, confidences, strict=True):
        if set(line.labels[one:other]) == {UNKNOWN}:
            confidence = 0.0  # nothing of it was looked for
        else:
            sure.append(confidence)
        start, end = heard.span(first + begin, first + stop)
        words.append(Word(text=text, start=start, end=end, confidence=confidence))
    start, end = heard.span(first, last)
    return replace(
        line.segment,
        start=start,
        end=end,
        words=tuple(words),
        confidence=mean_confidence(sure),
        alternatives=(),
    )


def _spread(lines: Sequence[AlignedLine], duration: float, edge_s: float) -> list[AlignedLine]:
    """The lines a little longer where there is room, and those without a place between their neighbours."""
    placed = [place for place, each in enumerate(lines) if each.placed]
    spans: list[tuple[float, float]] = []
    for number, place in enumerate(placed):
        segment = lines[place].segment
        before = (segment.start - lines[placed[number - 1]].segment.end) / 2 if number else segment.start
        after = (
            (lines[placed[number + 1]].segment.start - segment.end) / 2
            if number + 1 < len(placed)
            else duration - segment.end
        )
        start = segment.start - min(max(before, 0.0), edge_s)
        spans.append((start, max(start, segment.end + min(max(after, 0.0), edge_s))))
    spread = []
    number = 0
    passed = 0.0  # where the last line with a place ended
    for each in lines:
        if each.placed:
            start, end = spans[number]
            passed, number = end, number + 1
        else:
            start, end = passed, spans[number][0] if number < len(spans) else duration
        confidence = each.segment.confidence if each.placed else 0.0
        segment = replace(each.segment, start=start, end=end, confidence=confidence)
        spread.append(replace(each, segment=segment))
    return spread

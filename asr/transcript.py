"""What a recording turned into: one value that every output format is written from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """One word with its place in the recording."""

    text: str
    start: float
    """Seconds from the beginning of the recording."""
    end: float
    """Seconds; greater than ``start``."""
    confidence: float
    """Probability that the word is right, 0 to 1, as the decoder estimates it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TranscriptSegment:
    """One stretch of speech, its text, and the words in it."""

    start: float
    end: float
    text: str
    """What was said, in its own language; "" beside a translation that was made without a transcript."""
    words: tuple[Word, ...] = ()
    confidence: float = 1.0
    speaker: str = ""
    alternatives: tuple[str, ...] = ()
    """Texts of the n-best list after the first."""
    translation: str = ""
    """What was said, in ``Transcript.translation_language``; "" where none is available."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """A stretch of the recording that carries no text, and why."""

    start: float
    end: float
    reason: str
    """"silence", or what failed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Transcript:
    """The transcript of one recording. Every second is in a segment or in a gap."""

    recording: str
    """Name of the recording: the file name without its folder and ending."""
    audio: Path
    duration: float
    """Seconds of decoded audio."""
    segments: tuple[TranscriptSegment, ...] = ()
    gaps: tuple[Gap, ...] = ()
    language: str = ""
    translation_language: str = ""
    """Language of the segments' translations."""
    details: dict[str, str] = field(default_factory=dict)
    """Facts worth keeping with the text: model, language model, the recording's sample rate."""

    @property
    def text(self) -> str:
        """The whole text, one segment per line."""
        return "\n".join(segment.text for segment in self.segments)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the transcript in the format that the file ending names.

        Args:
            path: for example ``talk.eaf``; the ending picks the writer.
            overwrite: replace a file that exists; without it an existing file is an error.
        Raises:
            InputError: unknown ending, unwritable folder, or the file exists.
        """
        from asr.formats import write_transcript

        return write_transcript(self, Path(path), overwrite=overwrite)

"""What a check says, and from which value on it says it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from asr.frames import FrameGrid
from asr.text import TextPolicy

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong, or worth knowing, with what to do about it."""

    kind: str
    """What sort of thing, as in ``unreadable-audio``; findings are grouped by it."""
    severity: Severity
    """``error``: training or scoring would break or lie. ``warning``: likely a flaw. ``note``: to know."""
    message: str
    remedy: str
    utterance_ids: tuple[str, ...] = ()
    """The utterances it is about, in the manifest's order."""
    where: str = ""
    """What it is about when that is not an utterance: a file, a character, a pair of splits."""


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """Thresholds. Levels are relative to full scale (1.0 is 0 dBFS)."""

    policy: TextPolicy = field(default_factory=TextPolicy)
    """Text as training will see it: for counting labels, unseen characters and equal texts."""

    grid: FrameGrid = field(default_factory=lambda: FrameGrid(hop_samples=640, window_samples=640))
    """Frames of the encoder that will be trained; by default 25 per second."""

    finer_grid: FrameGrid = field(default_factory=lambda: FrameGrid(hop_samples=320, window_samples=400))
    """What to recommend where ``grid`` has too few frames: wav2vec 2.0's 49 to 50 per second."""

    train_split: str = "train"
    """Split whose characters a model will know."""

    header_tolerance_s: float = 0.1
    """A header may miss the decoded length by this: codecs pad the last frame."""

    end_tolerance_s: float = 0.05
    """A span may end this far beyond its file: manifests round, and two decoders differ by a frame."""

    silent_peak: float = 1e-3
    """-60 dBFS. No sample reaches it: the utterance is silence."""

    quiet_level: float = 10 ** (-45 / 20)
    """-45 dBFS. The loudest twentieth of the utterance (by 10 ms) stays below it: hardly any speech."""

    clipped_level: float = 0.985
    """-0.13 dBFS. Samples from here on count as clipped; below 1, as codecs round flat tops off."""

    clipped_share: float = 5e-3
    """Above this share (8 samples in every 100 ms) loud vowels are distorted; compressed radio has less."""

    rate_factor: float = 3.0
    """An utterance this many times faster or slower than the median of its language is suspect."""

    min_rate_characters: int = 4
    """Shorter texts have no speaking rate worth the name."""

    rare_share: float = 0.02
    """A look-alike used for under this share of its pair is taken for a slip, not for spelling."""

"""Training a classifier of frames as a task of the one trainer: windows of long recordings, and where segments lie.

As in SHAS (Tsiamas et al. 2022, section 2.2): windows of 20 s, drawn anew in each epoch; a frame is wanted to be
1 inside a segment of the manifest and 0 outside, with one 0 between segments that touch.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from asr.arrays import FloatArray
from asr.augment import AugmentConfig, augment
from asr.batches import padded, substitutes, unsound, usable
from asr.cache import AudioCache
from asr.config import as_json, to_mapping
from asr.features import frame_mask
from asr.frames import FrameGrid, seconds_to_samples
from asr.importers.measure import measure
from asr.manifest import Utterance
from asr.mixing import MixConfig, Mixed, Mixture
from asr.segment.classifier import FrameClassifier, save_classifier
from asr.task import DIVERGED, StepOutput
from asr.watchdog import Watch
from lm.errors import InputError


@dataclass(frozen=True, kw_only=True)
class WindowConfig:
    """Windows of recordings to learn from; defaults of SHAS."""

    window_s: float = 20.0
    batch: int = 14
    """Windows in a batch."""
    jitter_s: float = 2.0
    """Farthest that a window moves from its place in an even row."""
    shortest_s: float = 0.1
    """Shorter segments of the manifest are taken for silence."""
    mix: MixConfig = field(default_factory=MixConfig)
    augment: AugmentConfig = field(
        default_factory=lambda: AugmentConfig(speeds=(1.0,), noise_probability=0.2)
    )
    """A change of speed would move the segments, so there is none."""
    cache_gb: float = 4.0
    """Memory for decoded recordings; those beyond it are read anew, window by window."""

    def __post_init__(self) -> None:
        if self.window_s <= 0 or self.batch < 1 or not 0 <= self.jitter_s < self.window_s:
            raise InputError(
                "windows: `window_s` must be above 0, `batch` at least 1, `jitter_s` from 0 to below `window_s`; "
                f"got {self.window_s}, {self.batch} and {self.jitter_s}."
            )
        if self.mix.skill_eta:
            raise InputError(
                "windows.mix.skill_eta: a classifier has no losses by group for Skill-it to follow. Give "
                "windows.mix.temperature instead."
            )
        if self.augment.speeds not in ((), (1.0,)):
            raise InputError(
                f"windows.augment.speeds is {self.augment.speeds}: a change of speed moves the segments. Give [1.0]."
            )


@dataclass(frozen=True)
class Recording:
    """A long recording and the segments that a manifest has in it."""

    whole: Utterance
    """All of it, with the other columns of its first row."""
    segments: NDArray[np.float64]
    """Starts and ends in seconds, (K, 2), in order of their starts."""


@dataclass(frozen=True)
class WindowBatch:
    """Windows and what is wanted of their frames."""

    ids: list[str]
    waveforms: Tensor
    """(N, S)."""
    num_samples: Tensor
    """(N,)."""
    targets: Tensor
    """(N, T) float32: 1 inside a segment."""


def recordings(rows: Sequence[Utterance], shortest_s: float) -> list[Recording]:
    """The recordings of a manifest with their segments; what cannot be read is told on stderr.

    Raises:
        InputError: none can be read.
    """
    found = []
    by_audio: dict[Path, list[Utterance]] = {}
    for row in rows:
        by_audio.setdefault(row.audio, []).append(row)
    lengths = measure(by_audio)
    for audio, own in by_audio.items():
        duration = lengths[audio]
        if isinstance(duration, str):
            print(f"left out: {duration}", file=sys.stderr)
            continue
        own.sort(key=lambda row: row.offset_s)
        spans = [(row.offset_s, row.offset_s + row.duration_s) for row in own if row.duration_s >= shortest_s]
        whole = replace(own[0], id=audio.stem, offset_s=0.0, duration_s=duration, text="", translation="")
        found.append(Recording(whole, np.array(spans, np.float64).reshape(-1, 2)))
    if not found:
        raise InputError("no recording of the manifest can be read; see above. Run `loquela corpus check`.")
    return found


def refuse_shared(rows: Sequence[Utterance], splits: Sequence[str]) -> None:
    """Refuse recordings of ``splits`` of which another split has segments: they would be taken for silence.

    Raises:
        InputError: there is one.
    """
    found: dict[Path, set[str]] = {}
    for row in rows:
        found.setdefault(row.audio, set()).add(row.split)
    for audio, own in found.items():
        if len(own) > 1 and not own.isdisjoint(splits):
            raise InputError(
                f"{audio}: its segments are in the splits {', '.join(sorted(own))}, and a segmenter takes for silence "
                "what is in no segment of its split. Split by recordings: `loquela corpus import --split-by recording`."
            )


def frame_targets(
    segments: NDArray[np.float64], start_s: float, num_frames: int, grid: FrameGrid
) -> NDArray[np.float32]:
    """1 for each frame of a window whose middle lies inside a segment, (T,).

    Args:
        segments: starts and ends in the recording, (K, 2), in order of their starts.
        start_s: where the window begins.
    """
    middles = start_s + grid.middles_s(np.arange(num_frames))
    targets = np.zeros(num_frames, np.float32)
    for start, end in segments:
        targets[(middles >= start) & (middles < end)] = 1
    # Where one segment follows another without a pause, the frame that the border falls in parts them.
    reach = np.maximum.accumulate(segments[:-1, 1]) if len(segments) > 1 else np.zeros(0)
    borders = segments[1:, 0][np.abs(segments[1:, 0] - reach) <= grid.frame_s]
    places = grid.frames_at(borders - start_s)
    targets[places[(places >= 0) & (places < num_frames)]] = 0
    return targets


class SegmenterTask(Mixed):
    """A classifier of frames on windows of long recordings."""

    def __init__(
        self,
        model: FrameClassifier,
        train: Sequence[Recording],
        dev: Sequence[Recording],
        config: WindowConfig,
        seed: int,
    ) -> None:
        self.model = model
        self.config = config
        self.seed = seed
        self.cache = AudioCache(config.cache_gb * 1e9)
        self.train, self.dev = train, dev
        self.windows = [
            (recording, start, length) for recording in train for start, length in self._rows_of(recording)
        ]
        self.mixture = Mixture(
            [self._window(recording, start, length) for recording, start, length in self.windows],
            config.mix,
            seed,
        )
        speech = sum(self._targets(*window).sum() for window in self.windows)
        frames = sum(self._num_frames(length) for _, _, length in self.windows)
        self.speech_share = float(speech / max(1, frames))
        if not 0 < self.speech_share < 1:
            raise InputError(
                f"{'all' if self.speech_share else 'none'} of the training frames lie inside a segment; a segmenter "
                "learns from recordings with segments and what is between them. Give a manifest of whole recordings."
            )

    def plan(self, epoch: int) -> list[list[tuple[int, int]]]:
        """Windows in batches, each with its place in the epoch's draw."""
        rows = self.mixture.draw(epoch)
        order = np.random.default_rng([self.seed, epoch, 2]).permutation(len(rows)).tolist()
        items = [(place, rows[place]) for place in order]
        return [items[at : at + self.config.batch] for at in range(0, len(items), self.config.batch)]

    def load(self, epoch: int, item: list[tuple[int, int]]) -> WindowBatch:
        """Windows moved and changed; each follows from seed, epoch and place."""

        def heard(row: tuple[int, int]) -> tuple[Recording, float, FloatArray]:
            place, index = row
            recording, start, length = self.windows[index]
            generator = np.random.default_rng([self.seed, epoch, place])
            latest = max(0.0, recording.whole.duration_s - length)
            start = min(max(0.0, start + generator.uniform(-1, 1) * self.config.jitter_s), latest)
            waveform = augment(self._sound(recording, start, length), self.config.augment, generator)
            return recording, start, waveform

        first = item[0][0]
        others = ((first, index) for index in substitutes(len(self.windows), [self.seed, epoch, first]))
        return self._collate(usable(item, heard, others))

    def seen(self, items: Sequence[list[tuple[int, int]]]) -> float:
        """Seconds of audio."""
        return self.mixture.note(row for item in items for _, row in item)

    def step(self, model: nn.Module, batch: WindowBatch, progress: float) -> StepOutput:
        """Mean cross-entropy of the frames; those inside segments, the many, weigh less (SHAS: 1 - their share)."""
        loss, _ = self._loss(model, batch)
        return StepOutput(loss)

    @torch.inference_mode()
    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """The loss on dev's windows, and how frames are told apart at probability 0.5."""
        loss, frames = 0.0, 0
        counts = np.zeros(3)  # right, found, wanted
        for recording in self.dev:
            for start, length in self._rows_of(recording):
                batch = self._collate([(recording, start, self._sound(recording, start, length))])
                value, odds = self._loss(model, batch)
                found, wanted = (odds > 0).cpu(), batch.targets > 0
                counts += [float((found & wanted).sum()), float(found.sum()), float(wanted.sum())]
                loss += float(value) * batch.targets.numel()
                frames += batch.targets.numel()
        right, found_all, wanted_all = counts
        return {
            "score": loss / max(1, frames),
            "precision": right / max(1.0, found_all),
            "recall": right / max(1.0, wanted_all),
            "speech_found": found_all / max(1, frames),
        }

    def fingerprint(self) -> dict[str, Any]:
        """Encoder, layers, windows, seed, training segments and those of dev."""
        settings = to_mapping(self.config)
        del settings["cache_gb"]
        train, dev = (
            zlib.crc32("\n".join(f"{each.whole.id} {each.segments.tolist()}" for each in part).encode())
            for part in (self.train, self.dev)
        )
        return {
            "encoder": as_json(self.model.encoder.config()),
            "classifier": {**self.model.settings, "frozen": self.model.frozen},
            "windows": settings,
            "seed": self.seed,
            "recordings": train,
            "dev": dev,
        }

    def head_parameters(self) -> list[nn.Parameter]:
        """All but the encoder's."""
        own = {id(parameter) for parameter in self.model.encoder.parameters()}
        return [parameter for parameter in self.model.parameters() if id(parameter) not in own]

    def watches(self) -> list[Watch]:
        """That it finds speech, and pauses."""
        return [
            Watch(
                value="speech_found",
                low=0.01,
                high=0.999,
                meaning="nearly every frame is told alike",
                remedy="Lower trainer.lr, or look whether the manifest's segments lie where somebody speaks.",
            )
        ]

    def explain(self, batch: WindowBatch) -> str:
        """Look for audio that is no audio."""
        return unsound(batch.ids, batch.waveforms) or (f"The audio looks sound. {DIVERGED}")

    def save(self, model: nn.Module, folder: Path, facts: dict[str, Any]) -> None:
        """Write the classifier's folder."""
        assert isinstance(model, FrameClassifier)
        save_classifier(model, folder, facts=facts)

    def _loss(self, model: nn.Module, batch: WindowBatch) -> tuple[Tensor, Tensor]:
        """Mean loss of the valid frames, and the log-odds (N, T)."""
        device = self.model.head.weight.device
        odds, num_frames = model(batch.waveforms.to(device), batch.num_samples.to(device))
        targets = batch.targets.to(device)[:, : odds.shape[1]]
        each = F.binary_cross_entropy_with_logits(
            odds, targets, reduction="none", pos_weight=odds.new_tensor(1 - self.speech_share)
        )
        valid = frame_mask(num_frames, odds.shape[1])
        return each[valid].mean(), odds

    def _rows_of(self, recording: Recording) -> list[tuple[float, float]]:
        """Starts and lengths of even windows that cover a recording; neighbours overlap where they must."""
        whole = recording.whole.duration_s
        length = min(self.config.window_s, whole)
        count = max(1, ceil(whole / self.config.window_s - 1e-9))
        return [(start, length) for start in np.linspace(0, whole - length, count).tolist()]

    def _window(self, recording: Recording, start: float, length: float) -> Utterance:
        return replace(recording.whole, offset_s=start, duration_s=length)

    def _sound(self, recording: Recording, start: float, length: float) -> FloatArray:
        return self.cache.stretch(recording.whole, start, length)

    def _num_frames(self, length: float) -> int:
        return self.model.grid.num_frames(seconds_to_samples(length))

    def _targets(self, recording: Recording, start: float, length: float) -> NDArray[np.float32]:
        return frame_targets(recording.segments, start, self._num_frames(length), self.model.grid)

    def _collate(self, items: Sequence[tuple[Recording, float, FloatArray]]) -> WindowBatch:
        grid = self.model.grid
        waveforms, num_samples = padded([waveform for _, _, waveform in items])
        targets, _ = padded(
            [
                frame_targets(recording.segments, start, grid.num_frames(len(waveform)), grid)
                for recording, start, waveform in items
            ]
        )
        names = [f"{recording.whole.id} at {start:.1f} s" for recording, start, _ in items]
        return WindowBatch(names, waveforms, num_samples, targets)

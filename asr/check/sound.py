"""Listen to every file once: can it be read, how long is it, is there speech, is it clipped, is it new."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr import audio
from asr.arrays import FloatArray
from asr.audio.clock import Clock
from asr.check.findings import CheckConfig, Finding
from asr.frames import SAMPLE_RATE
from asr.manifest import Utterance
from lm.errors import InputError

BLOCK_SAMPLES = SAMPLE_RATE // 100
"""Levels are kept per 10 ms, so that an hour of many utterances costs 4 MB and is read once."""


@dataclass(frozen=True)
class Sound:
    """What one file sounds like; each array has one value per 10 ms."""

    duration_s: float
    header_duration_s: float | None
    peaks: FloatArray
    powers: FloatArray
    """Mean squares."""
    clipped: FloatArray
    """Shares of clipped samples."""
    digest: bytes
    """Hash of the samples as 16-bit integers: the same audio in another lossless form hashes the same."""
    failure: InputError | None
    """Why it ends before the file does."""

    def blocks(self, utterance: Utterance) -> slice:
        """The blocks that an utterance covers; at least one."""
        first = int(utterance.offset_s * SAMPLE_RATE) // BLOCK_SAMPLES
        last = math.ceil((utterance.offset_s + utterance.duration_s) * SAMPLE_RATE / BLOCK_SAMPLES)
        return slice(min(first, len(self.peaks) - 1), max(last, first + 1))


def listen(path: Path, config: CheckConfig) -> Sound:
    """Read a file to its end, or as far as it goes.

    Raises:
        InputError: there is nothing in it that can be read.
    """
    header_duration_s = audio.probe(path).header_duration_s
    digest = hashlib.blake2b(digest_size=16)
    parts: list[tuple[FloatArray, FloatArray, FloatArray]] = []
    clock = Clock(None)
    # Whole blocks, but for the last chunk.
    for chunk in clock.watch(audio.stream(path, chunk_s=30.0), partly=True):
        digest.update((chunk * 32767).round().clip(-32768, 32767).astype("<i2").tobytes())
        padding = -len(chunk) % BLOCK_SAMPLES
        blocks = np.abs(np.pad(chunk, (0, padding)) if padding else chunk).reshape(-1, BLOCK_SAMPLES)
        parts.append(
            (
                blocks.max(axis=1),
                np.square(blocks).mean(axis=1),
                (blocks >= config.clipped_level).mean(axis=1, dtype=np.float32),
            )
        )
    peaks, powers, clipped = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Sound(clock.seconds, header_duration_s, peaks, powers, clipped, digest.digest(), clock.failure)


def check_sound(
    utterances: Sequence[Utterance],
    config: CheckConfig,
    progress: Callable[[int, int], None] | None = None,
    jobs: int = 1,
) -> Iterator[Finding]:
    """Findings about the audio, file by file; progress is called with files done and all."""
    by_file: dict[Path, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        by_file[utterance.audio].append(utterance)
    same: dict[tuple[bytes, int, int], list[Utterance]] = defaultdict(list)
    for number, (path, sound) in enumerate(_listen_to_all(list(by_file), config, jobs), start=1):
        members = by_file[path]
        if isinstance(sound, InputError):
            yield _unreadable(path, sound, members)
        else:
            if sound.failure:
                heard = sound.duration_s + config.end_tolerance_s
                lost = [each for each in members if each.offset_s + each.duration_s > heard]
                members = [each for each in members if each.offset_s + each.duration_s <= heard]
                yield _unreadable(path, sound.failure, lost)
            else:
                yield from _check_header(path, tuple(each.id for each in members), sound, config)
            for utterance in members:
                place = (round(utterance.offset_s * 1000), round(utterance.duration_s * 1000))
                same[sound.digest, *place].append(utterance)
                yield from _check_span(utterance, sound, config)
        if progress is not None:
            progress(number, len(by_file))
    yield from _check_duplicates(same.values())


def _listen_to_all(
    paths: Sequence[Path], config: CheckConfig, jobs: int
) -> Iterator[tuple[Path, Sound | InputError]]:
    """Each file and its sound, or why it has none, in order; only a few are held at once."""

    def one(path: Path) -> Sound | InputError:
        try:
            return listen(path, config)
        except InputError as error:
            return error

    with ThreadPoolExecutor(max_workers=jobs) as pool:  # the decoders work outside the interpreter's lock
        waiting: deque[tuple[Path, Future[Sound | InputError]]] = deque()
        for path in paths:
            waiting.append((path, pool.submit(one, path)))
            if len(waiting) > 2 * jobs:
                first, future = waiting.popleft()
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()


def _unreadable(path: Path, why: InputError, lost: Sequence[Utterance]) -> Finding:
    """A file that breaks off or cannot be read at all, and what of it is lost."""
    return Finding(
        kind="unreadable-audio",
        severity="error" if lost else "warning",
        message=str(why),
        remedy="Mend or replace the file, or remove the rows from the manifest that lie where it cannot be read."
        if lost
        else "Mend or replace the file; all utterances lie in what can be read.",
        utterance_ids=tuple(each.id for each in lost),
        where=str(path),
    )


def _check_header(path: Path, ids: tuple[str, ...], sound: Sound, config: CheckConfig) -> Iterator[Finding]:
    promised = sound.header_duration_s
    if promised is not None and abs(promised - sound.duration_s) > config.header_tolerance_s:
        yield Finding(
            kind="header-length",
            severity="warning",
            message=f"{path.name}: the header says {promised:.3f} s, decoding gives {sound.duration_s:.3f} s",
            remedy="Write the file again from its source, e.g. `ffmpeg -i OLD NEW.flac`; import without "
            "--trust-header.",
            utterance_ids=ids,
            where=str(path),
        )


def _check_span(utterance: Utterance, sound: Sound, config: CheckConfig) -> Iterator[Finding]:
    end = utterance.offset_s + utterance.duration_s
    if end > sound.duration_s + config.end_tolerance_s:
        yield Finding(
            kind="span-beyond-audio",
            severity="error",
            message=f"{utterance.id} ends at {end:.3f} s, its audio at {sound.duration_s:.3f} s",
            remedy="Correct offset_s and duration_s, or import again: importing measures durations.",
            utterance_ids=(utterance.id,),
            where=str(utterance.audio),
        )
        if utterance.offset_s >= sound.duration_s:
            return
    blocks = sound.blocks(utterance)
    peak = float(sound.peaks[blocks].max())
    level = math.sqrt(float(np.quantile(sound.powers[blocks], 0.95)))
    if peak < config.silent_peak:
        yield Finding(
            kind="silence",
            severity="error" if utterance.text else "warning",
            message=f"{utterance.id} is silent: its peak is {_decibels(peak)}",
            remedy="Check the recording and its channel; remove the row if nothing is said.",
            utterance_ids=(utterance.id,),
        )
    elif level < config.quiet_level:
        yield Finding(
            kind="near-silence",
            severity="warning",
            message=f"{utterance.id} is nearly silent: its loudest parts are at {_decibels(level)}",
            remedy="Listen to it: remove it if nothing is said, record it louder if you can.",
            utterance_ids=(utterance.id,),
        )
    share = float(sound.clipped[blocks].mean())
    if share > config.clipped_share:
        yield Finding(
            kind="clipping",
            severity="warning",
            message=f"{utterance.id}: {share:.2%} of the samples are clipped",
            remedy="Take the recording from its source at a lower level; turning it down now does not help.",
            utterance_ids=(utterance.id,),
        )


def _check_duplicates(groups: Iterable[list[Utterance]]) -> Iterator[Finding]:
    for members in groups:
        if len(members) < 2:
            continue
        splits = sorted({each.split for each in members})
        texts = {each.text for each in members}
        names = ", ".join(each.id for each in members[:4]) + (" …" if len(members) > 4 else "")
        said = "with the same text" if len(texts) == 1 else f"with {len(texts)} different texts"
        if len(splits) > 1:
            yield Finding(
                kind="audio-across-splits",
                severity="error",
                message=f"the same audio is in {' and '.join(map(repr, splits))}: {names} ({said})",
                remedy="Keep it in one split: a score on audio that was trained on means nothing.",
                utterance_ids=tuple(each.id for each in members),
            )
        else:
            yield Finding(
                kind="duplicate-audio",
                severity="warning",
                message=f"the same audio {len(members)} times, {said}: {names}",
                remedy="Keep one row; where the texts differ, the one that is right.",
                utterance_ids=tuple(each.id for each in members),
            )


def _decibels(level: float) -> str:
    return f"{20 * math.log10(level):.0f} dBFS" if level > 0 else "zero"

"""From a file to the one form that the toolkit hears: mono float32 at 16 kHz, in bounded chunks."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import soxr

from asr.arrays import FloatArray
from asr.audio.av_reader import AvReader
from asr.audio.header import CutShortError, soundfile_reads_whole
from asr.audio.reader import AudioInfo, Reader
from asr.audio.soundfile_reader import SoundfileReader
from asr.frames import SAMPLE_RATE, samples_to_seconds, seconds_to_samples
from asr.names import shown, tell_once
from lm.errors import InputError

Channel = int | Literal["mix"]
"""``mix``: the mean of all channels; or one channel, counted from 1."""

CHUNK_S = 30.0
STRETCH_TOLERANCE_S = 0.1
"""A stretch may end this far beyond the recording: tables round their times."""
CANCELLED = 0.01
"""Share of the loudest channel's power below which a mix has lost it."""
FILTER_S = 0.05
"""Sound before a stretch that the resampling filter needs (its own reach is under 10 ms)."""


def probe(path: str | os.PathLike[str], *, partly: bool = False) -> AudioInfo:
    """What the header says; nothing but the first frames is decoded.

    Args:
        partly: also of a WAV or Ogg file whose end is missing; its length is that of the whole, where it is known.
    Raises:
        InputError: there is no such file, or no sound in it.
    """
    opened, failure = _open(path, partly)
    with opened as reader:
        return reader.info if failure is None else replace(reader.info, header_duration_s=failure.length_s)


def channels(policy: str, info: AudioInfo) -> list[Channel]:
    """The channels to read one after the other under a policy.

    Args:
        policy: ``mix``; a number from 1; or ``split``, each channel a speaker of its own.
    Raises:
        InputError: unknown policy, or the recording lacks that channel.
    """
    if policy == "mix":
        return ["mix"]
    if policy == "split":
        return list(range(1, info.num_channels + 1))
    if not policy.isascii() or not policy.isdigit():
        raise InputError(
            f"channel policy {policy!r} is unknown. Give `mix`, `split`, or a channel number from 1."
        )
    _check_channel(int(policy), info)
    return [int(policy)]


def stream(
    path: str | os.PathLike[str],
    *,
    channel: Channel = "mix",
    offset_s: float = 0.0,
    duration_s: float | None = None,
    chunk_s: float = CHUNK_S,
    partly: bool = False,
) -> Iterator[FloatArray]:
    """Chunks of a recording's waveform, (S,) float32 at 16 kHz; neither clipped nor normalised.

    Laid together the chunks are the same for every ``chunk_s``, and a stretch is the same as
    cutting it from the whole (of lossy codecs to the accuracy of their decoder).

    Args:
        path: the recording.
        channel: ``mix`` or a number from 1.
        offset_s: where to begin, in seconds.
        duration_s: how much to read, in seconds; None reads to the end.
        chunk_s: length of every chunk but the last; bounds the memory.
        partly: of a WAV or Ogg file whose end is missing give what there is; the error comes after it, unless that
            is all of the stretch.
    Raises:
        InputError: while iterating: the file cannot be read to the end of the stretch; what can be comes before.
    """
    if not 0 <= offset_s < math.inf or not (duration_s is None or 0 < duration_s < math.inf):
        raise InputError(
            f"{shown(path)}: stretch of {duration_s} s at {offset_s} s. Give a positive span of seconds."
        )
    if chunk_s * SAMPLE_RATE < 1:
        raise ValueError(f"`chunk_s` must hold at least one sample; got {chunk_s}.")
    start = seconds_to_samples(offset_s)
    wanted = None if duration_s is None else seconds_to_samples(duration_s)
    opened, failure = _open(path, partly)
    with opened as reader:
        if channel != "mix":
            _check_channel(channel, reader.info)
        waveform = _limited(_resampled(reader, channel, start), wanted)
        count = 0
        for chunk in _regrouped(waveform, seconds_to_samples(chunk_s)):
            count += len(chunk)
            yield chunk
        missing = wanted is not None and wanted - count > STRETCH_TOLERANCE_S * SAMPLE_RATE
        if failure is not None and (wanted is None or missing):
            raise failure
        length_s = samples_to_seconds(start + count)
        if count == 0 or missing:
            ends = f"it ends at {length_s:.2f} s" if count else "it ends before that"
            span = "" if duration_s is None else f" {duration_s:.2f} s"
            raise InputError(
                f"{shown(path)}: no{span} of sound at {offset_s:.2f} s; {ends}. Mend the times given for it."
            )


def load(
    path: str | os.PathLike[str],
    *,
    channel: Channel = "mix",
    offset_s: float = 0.0,
    duration_s: float | None = None,
) -> FloatArray:
    """The waveform of a recording or a short stretch of one, (S,); see `stream`.

    A stretch may be of a recording whose end is missing.
    """
    chunks = stream(
        path, channel=channel, offset_s=offset_s, duration_s=duration_s, partly=duration_s is not None
    )
    return np.concatenate(list(chunks))


def measure(path: str | os.PathLike[str]) -> float:
    """Seconds that a recording really has, by decoding all of it.

    Raises:
        InputError: it cannot be decoded to the end.
    """
    with _open(path)[0] as reader:
        return sum(map(len, reader.blocks(0))) / reader.info.sample_rate


def _open(path: str | os.PathLike[str], partly: bool = False) -> tuple[Reader, CutShortError | None]:
    """A reader; and what its file's own bytes show to be wrong at the end, where that is to be borne."""
    path = Path(path)
    failure: CutShortError | None = None
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"{shown(path)} is a folder. Give an audio file.")
        if not stat.S_ISREG(mode):
            raise InputError(f"{shown(path)} is a pipe or a device. Save the sound to a file first.")
        if path.stat().st_size == 0:
            raise InputError(f"{shown(path)} is empty (0 bytes). Copy or record it again.")
        by_soundfile = soundfile_reads_whole(path)
    except CutShortError as error:
        if not partly:
            raise
        by_soundfile, failure = True, error
    except OSError as error:
        raise InputError(
            f"{shown(path)}: {error.strerror}. Give the path of a readable audio file."
        ) from error
    if by_soundfile:
        try:
            return SoundfileReader(path), failure
        except InputError as error:
            raise failure or error from error
        except OSError:
            pass  # a codec that libsndfile lacks, as AAC in CAF
    return AvReader(path), failure


def _check_channel(channel: int, info: AudioInfo) -> None:
    if not 1 <= channel <= info.num_channels:
        raise InputError(
            f"{shown(info.path)} has no channel {channel}; it has {info.num_channels}. "
            f"Give `mix`, `split` or a number from 1 to {info.num_channels}."
        )


def _resampled(reader: Reader, channel: Channel, start: int) -> Iterator[FloatArray]:
    """The waveform at 16 kHz from its sample ``start`` to the end."""
    rate = reader.info.sample_rate
    if rate == SAMPLE_RATE:
        yield from _mono(reader, channel, start)
        return
    # Begin where a sample of the file and one of the waveform fall together, so that the filter
    # takes the same phases as over the whole file, and early enough to fill it.
    common = math.gcd(rate, SAMPLE_RATE)
    step_in, step_out = rate // common, SAMPLE_RATE // common
    steps = max(0, start - seconds_to_samples(FILTER_S)) // step_out
    skip = start - steps * step_out
    resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")
    for block in _mono(reader, channel, steps * step_in):
        out = resampler.resample_chunk(block)
        if skip < len(out):
            yield out[skip:]
        skip = max(0, skip - len(out))
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)[skip:]


def _mono(reader: Reader, channel: Channel, start: int) -> Iterator[FloatArray]:
    """Blocks (S,) at the file's rate from its sample ``start``."""
    info = reader.info
    if info.num_channels == 1 or channel != "mix":
        wanted = 0 if channel == "mix" else channel - 1
        for block in reader.blocks(start):
            yield np.ascontiguousarray(block[:, wanted])
        return
    count, mixed_power, powers = 0, 0.0, np.zeros(info.num_channels)
    try:
        for block in reader.blocks(start):
            mixed: FloatArray = block.mean(axis=1, dtype=np.float32)
            count += len(block)
            mixed_power += float(np.square(mixed).sum())
            powers += np.square(block).sum(axis=0)
            yield mixed
    finally:
        if count > info.sample_rate and mixed_power < CANCELLED * powers.max():
            tell_once(
                f"{shown(info.path)}: its channels cancel each other out, as of a balanced line in a stereo jack, and "
                "little is left of what they say. Give a channel's number instead of mix."
            )


def _limited(blocks: Iterable[FloatArray], count: int | None) -> Iterator[FloatArray]:
    """The first ``count`` samples; nothing beyond them is decoded."""
    for block in blocks:
        if count is not None:
            block = block[:count]
            count -= len(block)
        yield block
        if count == 0:
            return


def _regrouped(blocks: Iterable[FloatArray], size: int) -> Iterator[FloatArray]:
    """The same samples in chunks of ``size``, the last one shorter."""
    held: list[FloatArray] = []
    count = 0
    try:
        for block in blocks:
            while count + len(block) >= size:
                cut = size - count
                yield np.concatenate([*held, block[:cut]])
                held, count, block = [], 0, block[cut:]
            if len(block):
                held.append(block)
                count += len(block)
    except InputError:
        if count:
            yield np.concatenate(held)
        raise
    if count:
        yield np.concatenate(held)

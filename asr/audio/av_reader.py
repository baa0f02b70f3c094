"""Reading by FFmpeg's libraries: mp3, m4a, mp4, webm and whatever libsndfile cannot read whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition

from asr.arrays import FloatArray
from asr.audio.header import mp3_counts_itself
from asr.audio.reader import (
    HEADER_TOLERANCE_S,
    PREROLL_S,
    AudioInfo,
    broken,
    check_finite,
    check_rate,
    no_samples,
)
from asr.names import shown, tell_once
from lm.errors import InputError

GAP_S = 0.1
"""Sound that lags further behind its time stamps is missing; less is their rounding, or how the container groups."""
MAX_GAP_S = 300.0
"""A longer hole is not filled with silence: the stamp is damaged, or another recording begins."""
RESTART_S = 1.0
"""Stamps this far behind the sound are no jitter: they began anew."""
# No playlists, concatenation scripts or image lists: a file must not make us open another.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mp3,aac,flac,wav,w64,ogg,aiff,caf,au,asf,avi,flv,mpeg,mpegts,"
    "amr,amrnb,amrwb,ac3,eac3,ape,wv,tta"
)
EXACT_LENGTH = ("mov", "matroska", "flac")
"""Formats whose length is written by the encoder; the others' is guessed from a bit rate."""
AV_ERRORS = (av.error.FFmpegError, OSError, ValueError)


class AvReader:
    """A recording that FFmpeg's libraries read: of several sound tracks the first.

    Where the sound of a video begins after the picture, silence comes before it, and where sound is missing,
    silence stands for it, so that times are those that a player shows.

    Raises:
        InputError: the file is not one they know, or has no sound.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._open() as container:
            if not container.streams.audio:
                raise InputError(f"{shown(path)} has no audio stream. Give a recording with sound.")
            stream = container.streams.audio[0]
            try:
                # The first frames tell the truth where the header does not (HE-AAC's doubled rate).
                first = list(islice(container.decode(stream), 2))
            except AV_ERRORS as error:
                raise broken(path, 0.0, None) from error
            if not first or not first[0].samples:
                raise no_samples(path)
            check_rate(path, first[0].sample_rate)
            lead_s = _lead_s(container, stream)
            self._lead = round(lead_s * first[0].sample_rate)
            self.info = AudioInfo(
                path=path,
                sample_rate=first[0].sample_rate,
                num_channels=first[0].layout.nb_channels,
                header_duration_s=_promised_s(path, container, stream, lead_s),
                codec=stream.codec_context.name,
                container=container.format.name,
            )
            self._grid = _frame_grid(container, stream, first)

    def __enter__(self) -> AvReader:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing to close: every pass opens the file for itself."""

    def blocks(self, start: int) -> Iterator[FloatArray]:
        """Samples (S, C) from ``start``; see `Reader`."""
        size = self.info.block_samples
        for at in range(start, self._lead, size):
            yield np.zeros((min(size, self._lead - at), self.info.num_channels), np.float32)
        yield from self._sound(max(0, start - self._lead))

    def _sound(self, start: int) -> Iterator[FloatArray]:
        """The same of the sound alone, counted from where it begins."""
        info, rate = self.info, self.info.sample_rate
        position = 0
        held: list[FloatArray] = []
        count = 0
        try:
            target, position = self._entry(start)
            with self._open() as container:
                stream = container.streams.audio[0]
                if target is not None:
                    container.seek(target, stream=stream, backward=True)
                for size, frame in self._unbroken(_decoded(container, stream), position):
                    position += size
                    if position <= start:
                        continue
                    samples = (
                        np.zeros((size, info.num_channels), np.float32) if frame is None else _samples(frame)
                    )
                    samples = samples[max(0, size - (position - start)) :]
                    held.append(samples)
                    count += len(samples)
                    if count >= info.block_samples:
                        yield _joined(held, info, self._lead + position)
                        held, count = [], 0
        except AV_ERRORS as error:
            if held:
                yield _joined(held, info, self._lead + position)
            if isinstance(error, InputError):
                raise
            raise broken(info.path, (self._lead + position) / rate, info.header_duration_s) from error
        if held:
            yield _joined(held, info, self._lead + position)
        promised, end_s = info.header_duration_s, (self._lead + position) / rate
        # What the sound lags behind at its end, it lags behind the promise too.
        if promised is not None and end_s < promised - HEADER_TOLERANCE_S - GAP_S:
            raise broken(info.path, end_s, promised)

    def _open(self) -> Any:
        # "file:" so that no name is taken for a protocol, as `concat:a|b` or `http://x` would be.
        name = "file:" + os.path.abspath(self._path)
        try:
            return av.open(name, options={"format_whitelist": FORMATS, "protocol_whitelist": "file"})
        except AV_ERRORS as error:
            raise InputError(
                f"{shown(self._path)} cannot be read as audio: another kind of file, or one whose beginning "
                "or index is missing. Copy it again, or convert it with `ffmpeg -i OLD NEW.wav`."
            ) from error

    def _entry(self, start: int) -> tuple[int | None, int]:
        """Where to begin decoding for ``start``: the time stamp to seek, the sample found there.

        Seeks only where the place can be proved: the frame found must lie on the grid that the
        file's first two frames began. Otherwise decodes from the beginning, (None, 0).
        """
        before = start - round(PREROLL_S * self.info.sample_rate)
        if self._grid is None or before <= 0:
            return None, 0
        origin, first_size, size = self._grid
        with self._open() as container:
            stream = container.streams.audio[0]
            container.seek(origin + before, stream=stream, backward=True)
            found = next(container.decode(stream), None)
        if found is None or found.pts is None:
            return None, 0
        place = found.pts - origin
        if 0 < place <= start and (place - first_size) % size == 0:
            return origin + before, place
        return None, 0

    def _unbroken(self, frames: Iterator[Any], position: int) -> Iterator[tuple[int, Any]]:
        """The frames with their samples, as long as they are alike; None stands for samples that are missing.

        Sound is measured by the time stamps since the first one, as small losses add up.

        Args:
            position: of the first frame's first sample.
        """
        rate, first_s = self.info.sample_rate, None
        for frame in frames:
            where = f"after {(self._lead + position) / rate:.1f} s"
            if frame.is_corrupt:
                raise InputError(
                    f"{shown(self._path)} is damaged {where}. Copy it again or cut that place out."
                )
            shape = (frame.sample_rate, frame.layout.nb_channels)
            if shape != (rate, self.info.num_channels):
                raise InputError(
                    f"{shown(self._path)} changes to {shape[0]} Hz, {shape[1]} channels {where}. "
                    "Convert it with `ffmpeg -i OLD NEW.wav`."
                )
            if frame.pts is not None:
                begins_s = float(frame.pts * frame.time_base) - position / rate
                lacking_s = 0.0 if first_s is None else begins_s - first_s
                if lacking_s > MAX_GAP_S:
                    raise InputError(
                        f"{shown(self._path)}: {lacking_s:.2f} s of sound are missing {where}. "
                        "Fill them with silence by `ffmpeg -i OLD -af aresample=async=1:first_pts=0 NEW.wav`."
                    )
                if lacking_s > GAP_S:
                    tell_once(
                        f"{shown(self._path)}: its sound lags behind its time stamps, as where packets were lost; "
                        "silence fills the holes, so that times are those that a player shows."
                    )
                    lacking = round(lacking_s * rate)
                    position += lacking
                    for at in range(0, lacking, self.info.block_samples):
                        yield min(self.info.block_samples, lacking - at), None
                elif first_s is None or lacking_s < -RESTART_S:
                    first_s = begins_s
            position += frame.samples
            yield frame.samples, frame


def _joined(held: list[FloatArray], info: AudioInfo, end: int) -> FloatArray:
    block = np.concatenate(held)
    check_finite(block, info, end - len(block))
    return block


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    """Decoded frames; of an MP3, not minding tags and padding behind the last of them."""
    if container.format.name != "mp3":
        yield from container.decode(stream)
        return
    failed: Exception | None = None
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except AV_ERRORS as error:
            failed = failed or error
            continue
        if frames and failed is not None:
            raise failed  # not behind the sound but within it
        yield from frames


def _frame_grid(container: Any, stream: Any, first: list[Any]) -> tuple[int, int, int] | None:
    """(first time stamp, samples of the first frame, samples of the next), where stamps count samples.

    Only MP4 keeps a table that places a packet to the sample; Matroska rounds to milliseconds and
    the others guess.
    """
    if len(first) < 2 or "mov" not in container.format.name or first[0].pts is None:
        return None
    if stream.time_base * first[0].sample_rate != 1 or first[1].pts != first[0].pts + first[0].samples:
        return None
    return first[0].pts, first[0].samples, first[1].samples


def _lead_s(container: Any, stream: Any) -> float:
    """Seconds by which a video's sound begins after its first stream; 0 where there is no picture that moves.

    A file of sound alone may give the delay of its encoder as the beginning, and a cover is no picture to wait for.
    """
    moving = [each for each in container.streams.video if not each.disposition & Disposition.attached_pic]
    if not moving or stream.start_time is None or container.start_time is None:
        return 0.0
    begins_s = float(stream.start_time * stream.time_base)
    return max(0.0, begins_s - float(container.start_time / av.time_base))


def _promised_s(path: Path, container: Any, stream: Any, lead_s: float) -> float | None:
    """Seconds that the container promises up to the end of this stream, where its word is good."""
    kind = container.format.name
    if not any(name in kind for name in EXACT_LENGTH) and not (kind == "mp3" and mp3_counts_itself(path)):
        return None
    if stream.duration:
        return lead_s + float(stream.duration * stream.time_base)
    if "DURATION" in stream.metadata:  # Matroska: 00:01:02.345000000, the time stamp of its end
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        end_s = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        return end_s - max(0.0, (container.start_time or 0) / av.time_base)
    # The container's length is that of its longest stream, which may be the picture.
    if container.duration and len(container.streams) == 1:
        return float(container.duration / av.time_base)
    return None


def _samples(frame: Any) -> FloatArray:
    """The samples of a decoded frame, (S, C), full scale at 1."""
    array = frame.to_ndarray()  # planar (C, S), packed (1, S * C)
    array = array.T if frame.format.is_planar else array.reshape(-1, frame.layout.nb_channels)
    if array.dtype == np.uint8:
        array = (array.astype(np.float32) - 128) / 128
    elif array.dtype.kind == "i":
        array = array / -float(np.iinfo(array.dtype).min)
    return np.ascontiguousarray(array, dtype=np.float32)

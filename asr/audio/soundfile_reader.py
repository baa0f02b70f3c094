"""Reading by libsndfile: wav, flac, Ogg Vorbis and Opus, aiff, au, sphere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import soundfile

from asr.arrays import FloatArray
from asr.audio.reader import (
    HEADER_TOLERANCE_S,
    PREROLL_S,
    AudioInfo,
    broken,
    check_finite,
    check_rate,
    no_samples,
)

UNKNOWN_LENGTH = 1 << 50
"""libsndfile's number of samples of a FLAC written to a pipe is greater."""


class SoundfileReader:
    """A recording that libsndfile reads; `asr.audio.header` says whether it reads all of it.

    Raises:
        OSError: libsndfile does not know the file's format or codec.
        InputError: no samples, or an impossible rate.
    """

    def __init__(self, path: Path) -> None:
        # Bytes, because a name need not be text; absolute, because "-" would be standard input.
        name = os.path.abspath(path)
        try:
            self._file = soundfile.SoundFile(os.fsencode(name) if os.name == "posix" else name)
        except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: a name that ends in .raw
            raise OSError(str(error)) from error
        rate, self._promised = self._file.samplerate, self._file.frames
        if self._promised >= UNKNOWN_LENGTH:
            raise OSError("libsndfile fails at the end of a file of unknown length")
        if self._promised == 0:
            raise no_samples(path)
        check_rate(path, rate)
        self.info = AudioInfo(
            path=path,
            sample_rate=rate,
            num_channels=self._file.channels,
            header_duration_s=self._promised / rate,
            codec=self._file.subtype.lower(),
            container=self._file.format.lower(),
        )

    def __enter__(self) -> SoundfileReader:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def blocks(self, start: int) -> Iterator[FloatArray]:
        """Samples (S, C) from ``start``; see `Reader`."""
        info, rate = self.info, self.info.sample_rate
        lossy = info.container == "ogg"
        position = max(0, min(start, self._promised) - (round(PREROLL_S * rate) if lossy else 0))
        if info.codec == "vorbis":  # libsndfile 1.2 seeks to a wrong place near the end: read up to it
            position = 0
        try:
            self._file.seek(position)
            while len(block := self._file.read(info.block_samples, dtype="float32", always_2d=True)):
                check_finite(block, info, position)
                position += len(block)
                if position > start:
                    yield block[max(0, len(block) - (position - start)) :]
        except soundfile.LibsndfileError as error:
            raise broken(info.path, position / rate, info.header_duration_s) from error
        if position < self._promised - (HEADER_TOLERANCE_S * rate if lossy else 0):
            raise broken(info.path, position / rate, info.header_duration_s)

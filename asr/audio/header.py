"""What an audio file's own bytes promise, where the decoders would pass over a broken promise.

libsndfile reads what it finds: a WAV whose end is missing, the first of several chained Ogg
streams, an MP3 up to a length guessed from its first frame. Each would lose sound without a word,
so the first is refused and the others are left to FFmpeg's libraries.
"""

from __future__ import annotations

import os
from pathlib import Path

from asr.names import shown
from lm.errors import InputError

HEAD_BYTES = 64
MAX_OGG_PAGE = 27 + 255 + 255 * 255
SOUNDFILE_MAGIC = (
    b"RIFF",
    b"RIFX",
    b"RF64",
    b"riff",
    b"fLaC",
    b"OggS",
    b"FORM",
    b".snd",
    b"caff",
    b"NIST_1A",
    b"Creative",
)
"""How the files begin that libsndfile reads; not MP3, whose length it guesses and whose places it misses."""
STREAMED_WAV = (0x7FFFF000, 0xFFFFF000)
"""Sizes from here to the next power of two were written by a program that could not seek back."""


class CutShortError(InputError):
    """The end of a file is missing; what there is can be read."""

    def __init__(self, message: str, length_s: float | None = None) -> None:
        """
        Args:
            length_s: seconds of the whole, where the file says so.
        """
        super().__init__(message)
        self.length_s = length_s


def soundfile_reads_whole(path: Path) -> bool:
    """Whether libsndfile reads this kind of file, and every sample of it.

    Raises:
        CutShortError: a WAV or Ogg file whose end is missing.
        InputError: a WAV whose recorder never wrote its length.
    """
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        check_wav(path)
    if head.startswith(b"OggS"):
        return not ogg_is_chained(path)
    return head.startswith(SOUNDFILE_MAGIC)


def check_wav(path: Path) -> None:
    """Compare the size that a WAV header promises with the file's.

    Raises:
        CutShortError: samples are missing at the end.
        InputError: the recorder never wrote their number.
    """
    size = path.stat().st_size
    wide = byte_rate = 0  # wide: data size of an RF64 file
    with open(path, "rb") as file:
        file.seek(12)
        while len(header := file.read(8)) == 8:
            name, length = header[:4], int.from_bytes(header[4:], "little")
            if name == b"data":
                break
            body = file.read(min(length, 28))
            if name == b"ds64":
                wide = int.from_bytes(body[8:16], "little")
            if name == b"fmt ":
                byte_rate = int.from_bytes(body[8:12], "little")
            file.seek(length + length % 2 - len(body), os.SEEK_CUR)
        else:
            return  # no data chunk: the decoder says so
        found = size - file.tell()
    if length == 0xFFFFFFFF and wide:
        length = wide
    elif STREAMED_WAV[0] <= length < 0x80000000 or length >= STREAMED_WAV[1]:
        return
    if length == 0 and found > 8:
        raise InputError(
            f"{shown(path)}: the header says no samples but {found} bytes follow; "
            "the recorder did not close the file. Repair a copy with `ffmpeg -i OLD.wav NEW.wav`."
        )
    if length > found:
        seconds = (
            f"ends after {found / byte_rate:.1f} s of {length / byte_rate:.1f} s"
            if byte_rate
            else "is cut short"
        )
        raise CutShortError(
            f"{shown(path)} {seconds}: {length - found} bytes of samples are missing. "
            "Copy the file again, or repair a copy with `ffmpeg -i OLD.wav NEW.wav` to use what there is.",
            length / byte_rate if byte_rate else None,
        )


def ogg_is_chained(path: Path) -> bool:
    """Whether an Ogg file ends in another stream than it begins with.

    Raises:
        CutShortError: the file stops in the middle of a page. (Ogg promises no length: a file cut
            exactly between two pages cannot be told from a whole one.)
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        first = file.read(27)
        file.seek(max(0, size - 2 * MAX_OGG_PAGE))
        tail = file.read()
    at = tail.rfind(b"OggS\0")
    page = tail[at:] if at >= 0 else b""
    table = page[27 : 27 + page[26]] if len(page) > 26 else b""
    if not table or 27 + len(table) + sum(table) > len(page) or len(table) < page[26]:
        raise CutShortError(
            f"{shown(path)} is cut short: it stops in the middle of an Ogg page. "
            "Copy the file again, or repair a copy with `ffmpeg -i OLD.ogg -c copy NEW.ogg`."
        )
    return page[14:18] != first[14:18]


def mp3_counts_itself(path: Path) -> bool:
    """Whether an MP3 has the Xing or Info header that counts its frames; else its length is a guess."""
    with open(path, "rb") as file:
        head = file.read(10)
        if head.startswith(b"ID3") and len(head) == 10:  # length in four bytes of seven bits
            size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
            file.seek(10 + size)
        else:
            file.seek(0)
        frame = file.read(64)
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    return at >= 0 and len(frame) > at + 7 and bool(frame[at + 7] & 1)

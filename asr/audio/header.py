"""What an audio file's own bytes promise, where the decoders would pass over a broken promise.

libsndfile reads what it finds: a WAV whose end is missing, the first of several chained Ogg
streams, an MP3 up to a length guessed from its first frame. Each would lose sound without a word,
so the first is refused and the others are left to FFmpeg's libraries.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import BinaryIO, Literal

from asr.names import shown
from lm.errors import InputError

ByteOrder = Literal["little", "big"]
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
        CutShortError: a file of samples, or an Ogg file, whose end is missing.
        InputError: a WAV whose header counts fewer samples than it has.
    """
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:12] == b"WAVE":
        check_wav(path, "big" if head.startswith(b"RIFX") else "little")
    elif (missing := (_promised_bytes(path, head) or 0) - path.stat().st_size) > 1:  # one may be padding
        raise CutShortError(
            f"{shown(path)} is cut short: {missing} bytes are missing. "
            f"Copy the file again, or repair a copy with `ffmpeg -i OLD{path.suffix} NEW.wav` to use what there is."
        )
    if head.startswith(b"OggS"):
        return not ogg_is_chained(path)
    return head.startswith(SOUNDFILE_MAGIC)


def check_wav(path: Path, order: ByteOrder) -> None:
    """Compare the size that a WAV header promises with the file's.

    Raises:
        CutShortError: samples are missing at the end.
        InputError: the recorder never wrote their number, or one that is too small.
    """
    size = path.stat().st_size
    wide = byte_rate = 0  # wide: data size of an RF64 file
    with open(path, "rb") as file:
        file.seek(12)
        while len(header := file.read(8)) == 8:
            name, length = header[:4], int.from_bytes(header[4:], order)
            if name == b"data":
                break
            body = file.read(min(length, 28))
            if name == b"ds64":
                wide = int.from_bytes(body[8:16], order)
            if name == b"fmt ":
                byte_rate = int.from_bytes(body[8:12], order)
            file.seek(length + length % 2 - len(body), os.SEEK_CUR)
        else:
            return  # no data chunk: the decoder says so
        begin = file.tell()
        found = size - begin
        if length == 0xFFFFFFFF and wide:
            length = wide
        elif STREAMED_WAV[0] <= length < 0x80000000 or length >= STREAMED_WAV[1]:
            return
        beyond = _beyond_chunks(file, begin + length, size, order)
    if length == 0 and found > 8:
        raise InputError(
            f"{shown(path)}: the header says no samples but {found} bytes follow; "
            "the recorder did not close the file. Repair a copy with `ffmpeg -i OLD.wav NEW.wav`."
        )
    if byte_rate and beyond > byte_rate:  # less than a second may be anybody's remark
        raise InputError(
            f"{shown(path)}: the header counts {length / byte_rate:.1f} s of sound, and {beyond} bytes follow that it "
            "does not account for: the recorder did not close the file, or it is longer than a WAV can say. Repair a "
            "copy with `ffmpeg -ignore_length 1 -i OLD.wav -rf64 auto NEW.wav`."
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


def _beyond_chunks(file: BinaryIO, at: int, size: int, order: ByteOrder) -> int:
    """Bytes at the end of a WAV that are in none of the chunks that follow one another from a place on."""
    while at + 8 <= size:
        for padding in (at % 2, 1 - at % 2):  # some writers forget that chunks begin at even places
            file.seek(at + padding)
            header = file.read(8)
            end = at + padding + 8 + int.from_bytes(header[4:], order)
            named = header[:4].isascii() and header[:4].decode().isprintable()
            if named and header[:4] not in (b"RIFF", b"RIFX", b"RF64") and end <= size:
                at = end
                break
        else:
            break
    return size - at


def _promised_bytes(path: Path, head: bytes) -> int | None:
    """How large a file is by the headers of other kinds that libsndfile reads; None where these do not say."""
    if head.startswith(b"FORM"):  # AIFF
        return 8 + int.from_bytes(head[4:8], "big")
    if head.startswith(b".snd"):  # AU
        at, length = int.from_bytes(head[4:8], "big"), int.from_bytes(head[8:12], "big")
        return None if length == 0xFFFFFFFF else at + length
    if head.startswith(b"riff"):  # W64
        return int.from_bytes(head[16:24], "little")
    if head.startswith(b"NIST_1A"):  # SPHERE
        return _sphere_bytes(path)
    if head.startswith(b"caff"):
        return _caf_bytes(path)
    if head.startswith(b"Creative"):
        return _voc_bytes(path, int.from_bytes(head[20:22], "little"))
    return None


def _sphere_bytes(path: Path) -> int | None:
    with open(path, "rb") as file:
        _, length, *lines = file.read(1024).split(b"\n")
    fields = {
        name: value for name, _, value in (line.split(b" ", 2) for line in lines if line.count(b" ") > 1)
    }
    try:
        counts = [int(fields[name]) for name in (b"sample_count", b"channel_count", b"sample_n_bytes")]
        return None if b"shorten" in fields.get(b"sample_coding", b"") else int(length) + math.prod(counts)
    except (KeyError, ValueError):
        return None


def _caf_bytes(path: Path) -> int | None:
    size, at = path.stat().st_size, 8
    with open(path, "rb") as file:
        while at < size:
            file.seek(at)
            header = file.read(12)
            length = int.from_bytes(header[4:], "big", signed=True)
            at += 12 + max(0, length)
            if header.startswith(b"data"):  # what follows may be counted wrongly, by libsndfile itself
                return at if length >= 0 else None
    return at


def _voc_bytes(path: Path, at: int) -> int:
    size = path.stat().st_size
    with open(path, "rb") as file:
        while at < size:
            file.seek(at)
            header = file.read(4)
            if not header[0]:
                return at + 1
            at += 4 + int.from_bytes(header[1:], "little")
    return at


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

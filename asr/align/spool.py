"""Rows of numbers on disk: what a recording of hours gives, in the memory of a moment."""

from __future__ import annotations

import tempfile
from types import TracebackType
from typing import Self

import numpy as np

from asr.arrays import FloatArray


class Spool:
    """Rows of float32 in a temporary file that goes when it is closed."""

    def __init__(self, width: int) -> None:
        """
        Args:
            width: numbers in a row.
        """
        self.width = width
        self.length = 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115, closed by `close`

    def __len__(self) -> int:
        return self.length

    def append(self, rows: FloatArray) -> None:
        """Add rows (n, width) at the end."""
        self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(rows, dtype=np.float32).tobytes())
        self.length += len(rows)

    def read(self, first: int, last: int) -> FloatArray:
        """Rows from ``first`` to before ``last``, (last - first, width)."""
        assert 0 <= first <= last <= self.length
        self._file.seek(4 * self.width * first)
        data = self._file.read(4 * self.width * (last - first))
        return np.frombuffer(data, dtype=np.float32).reshape(last - first, self.width)

    def close(self) -> None:
        """Give the disk back."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

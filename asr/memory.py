"""Telling a lack of memory from other errors."""

from __future__ import annotations


def is_lack_of_memory(error: MemoryError | RuntimeError) -> bool:
    """Whether numpy or torch could not allocate; of a CPU's memory torch says so in the message alone."""
    return isinstance(error, MemoryError) or any(
        words in str(error) for words in ("out of memory", "can't allocate memory", "not enough memory")
    )

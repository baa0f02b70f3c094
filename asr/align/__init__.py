"""Where in a recording the lines of its transcript are said, however loosely they follow it."""

from asr.align.aligner import AlignConfig, AlignedLine, Aligner, Alignment
from asr.align.search import SearchConfig

__all__ = ["AlignConfig", "AlignedLine", "Aligner", "Alignment", "SearchConfig"]

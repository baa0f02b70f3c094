"""From a folder of raw recordings to a set to pretrain on: cut, measured, sorted, crash-safe."""

from asr.curate.curate import CurateConfig, curate

__all__ = ["CurateConfig", "curate"]

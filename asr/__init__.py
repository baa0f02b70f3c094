"""Speech recognition for languages with hours, not thousands of hours, of recordings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asr.transcribe import TranscribeConfig, Transcriber
    from asr.transcript import Transcript

__all__ = ["TranscribeConfig", "Transcriber", "Transcript"]


def __getattr__(name: str) -> Any:
    # `import asr`, and with it `loquela --help`, must not wait for torch.
    import importlib

    module = {
        "Transcriber": "asr.transcribe",
        "TranscribeConfig": "asr.transcribe",
        "Transcript": "asr.transcript",
    }.get(name)
    if module is None:
        raise AttributeError(f"module 'asr' has no attribute {name!r}")
    return getattr(importlib.import_module(module), name)

"""A library that we may replace one day is known to one place, as `ARCHITECTURE.md` says."""

from __future__ import annotations

import ast
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

PLACES = {
    "webrtcvad": ("asr/segment/vad.py",),
    "transformers": ("asr/encoder/*", "st/hub/*"),
    "soundfile": ("asr/audio*",),
    "av": ("asr/audio*",),
    "soxr": ("asr/audio*",),
    "matplotlib": ("asr/inspect/plots.py",),
    "numba": (
        "lm/binary.py",
        "lm/tables.py",
        "asr/decode/agreement.py",
        "asr/decode/confidence.py",
        "asr/decode/engine.py",
        "asr/decode/hotwords.py",
        "asr/decode/lexicon.py",
        "asr/decode/times.py",
        "asr/best_path.py",
    ),
    "pyctcdecode": ("asr/decode/others.py",),
    "flashlight": ("asr/decode/others.py",),
    "peft": ("asr/encoder/lora.py",),
    "uroman": ("asr/text.py",),
    "epitran": ("asr/text.py",),
    "sacrebleu": ("st/score.py",),
}
"""Library -> the files that may import it; a pattern covers a module that grew into a package."""


def importers(library: str) -> list[str]:
    """Files of our packages that import the library, below the root."""
    found = []
    for package in ("lm", "asr", "st", "recipes"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names: list[str] = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    names = [node.module or ""]
                if library in (name.split(".")[0] for name in names):
                    found.append(path.relative_to(ROOT).as_posix())
    return sorted(set(found))


@pytest.mark.parametrize("library", PLACES)
def test_a_library_is_imported_in_its_place_alone(library: str) -> None:
    found = importers(library)
    assert found, f"nothing imports {library}: the guard looks in the wrong place"
    assert [path for path in found if not any(fnmatchcase(path, place) for place in PLACES[library])] == []

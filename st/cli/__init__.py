"""The command ``loquela`` with all of its commands: those of recognition, and those of translation."""

from __future__ import annotations

from collections.abc import Sequence

from asr.cli import COMMANDS as RECOGNITION
from asr.cli import Commands
from asr.cli import main as run

COMMANDS: Commands = {
    **RECOGNITION,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    return run(argv, COMMANDS)

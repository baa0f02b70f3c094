"""The command ``loquela`` with all of its commands: those of recognition, and those of translation."""

from __future__ import annotations

from collections.abc import Sequence

from asr.cli import COMMANDS as RECOGNITION
from asr.cli import Commands
from asr.cli import main as run

COMMANDS: Commands = {
    **RECOGNITION,
    "translate": ("st.cli.translate", "recordings in, transcripts with translations out"),
    "score": ("st.cli.score", "word and character error rates, or BLEU, chrF and TER, with intervals"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    return run(argv, COMMANDS)

"""Look a corpus over before training on it: every finding comes with its remedy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from asr.check.characters import check_characters
from asr.check.findings import CheckConfig, Finding, Severity
from asr.check.length import check_length
from asr.check.shared import check_splits
from asr.check.sound import check_sound
from asr.manifest import Utterance

__all__ = ["CheckConfig", "Finding", "Severity", "check_manifest"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


def check_manifest(
    utterances: Sequence[Utterance],
    config: CheckConfig | None = None,
    *,
    listen: bool = True,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Finding]:
    """Everything that is wrong with a corpus or worth knowing, errors first.

    Each audio file is decoded once, whatever the number of its utterances.

    Args:
        listen: check the audio too; without it only the manifest is read.
        jobs: audio files heard at once.
        progress: called with the number of audio files heard and the number of all.
    """
    config = config or CheckConfig()
    findings = [
        *(check_sound(utterances, config, progress, jobs) if listen else ()),
        *check_length(utterances, config),
        *check_splits(utterances, config),
        *check_characters(utterances, config),
    ]
    return sorted(
        findings, key=lambda finding: SEVERITIES.index(finding.severity)
    )  # stable: kinds stay together

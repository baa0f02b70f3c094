"""Does the text fit the time: enough frames for CTC, and a speaking rate that people have."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from statistics import median

from asr.check.findings import CheckConfig, Finding
from asr.frames import frames_needed, seconds_to_samples
from asr.manifest import Utterance, normalised_text


def check_length(utterances: Sequence[Utterance], config: CheckConfig) -> Iterator[Finding]:
    """Findings about text against duration; an empty text is a finding of its own."""
    empty = tuple(each.id for each in utterances if not normalised_text(each, config.policy))
    if empty:
        yield Finding(
            kind="empty-text",
            severity="warning",
            message=f"{len(empty)} of {len(utterances)} utterances have no text that training can use",
            remedy="Transcribe them, or leave them: training and scoring pass over them.",
            utterance_ids=empty,
        )
    for utterance in utterances:
        needed = frames_needed(normalised_text(utterance, config.policy))
        samples = seconds_to_samples(utterance.duration_s)
        frames = config.grid.num_frames(samples)
        if needed > frames:
            finer = config.finer_grid
            cure = finer.num_frames(samples) >= needed and finer.hop_samples < config.grid.hop_samples
            rate = (
                f"{finer.frames_per_second:g} frames a second would do"
                if cure
                else "no usual frame rate does"
            )
            yield Finding(
                kind="text-too-long-for-ctc",
                severity="error",
                message=f"{utterance.id}: its text needs {needed} frames, {utterance.duration_s:.2f} s give "
                f"{frames} at {config.grid.frames_per_second:g} a second; {rate}",
                remedy="Check that text and audio belong together; else use an encoder with more frames per "
                "second, or larger labels (sentencepiece).",
                utterance_ids=(utterance.id,),
            )
    yield from _check_rate(utterances, config)


def _check_rate(utterances: Sequence[Utterance], config: CheckConfig) -> Iterator[Finding]:
    rates: dict[str, dict[str, float]] = defaultdict(dict)
    for utterance in utterances:
        characters = len(normalised_text(utterance, config.policy).replace(" ", ""))
        if characters >= config.min_rate_characters:
            rates[utterance.language][utterance.id] = characters / utterance.duration_s
    for language, of_id in rates.items():
        usual = median(of_id.values())
        named = f" of {language}" if language else ""
        for name, rate in of_id.items():
            if rate > config.rate_factor * usual or rate < usual / config.rate_factor:
                fast = rate > usual
                yield Finding(
                    kind="unusual-rate",
                    severity="warning",
                    message=f"{name}: {rate:.1f} characters per second; the median{named} is {usual:.1f}",
                    remedy="Too fast: the text may belong to more audio. Too slow: words may be missing from "
                    "the text, or the audio has long pauses. Listen, and mend text or times.",
                    utterance_ids=(name,),
                    where="fast" if fast else "slow",
                )

"""The annotations of chosen tiers, whoever made them: of ELAN and Praat alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from asr.formats.clean import one_line
from asr.formats.eaf import find_media, origin_of, read_eaf
from asr.formats.textgrid import read_textgrid
from asr.formats.tiernames import is_ours, speaker_of
from asr.importers.tiers import choose_tiers
from asr.names import shown
from asr.transcript import TranscriptSegment


def read_annotations(
    path: Path, tiers: Sequence[str] = (), *, times_alone: bool = False
) -> dict[str, list[TranscriptSegment]]:
    """The annotations of each chosen tier, by the recording's time; in a TextGrid an interval without text is none.

    The speaker is the tier's participant, or of several tiers the tier's name.

    Args:
        path: an ``.eaf`` or ``.TextGrid``.
        tiers: their names or shell patterns; not needed where only one can be meant, or where
            all are of this toolkit's utterances.
        times_alone: what they say does not matter, so that a tier that only numbers them will do.
    Raises:
        InputError: unreadable, no such tier, or several to choose among.
    """
    dependents: list[str] = []
    if path.suffix.lower() == ".eaf":
        document = read_eaf(path)
        origin_s = origin_of(document, find_media(document, path) or path)
        found = {
            tier.id: [(each.start + origin_s, each.end + origin_s, each.value) for each in tier.annotations]
            for tier in document.tiers
        }
        participants = {tier.id: tier.participant for tier in document.tiers}
        candidates = [tier.id for tier in document.tiers if not tier.parent]
        if not times_alone:
            dependents = [
                tier.id
                for tier in document.tiers
                if tier.parent
                and not is_ours(tier.id)
                and any(each.value.strip() for each in tier.annotations)
            ]
    else:
        found = {
            tier.name: [(each.start, each.end, each.text) for each in tier.intervals if each.text.strip()]
            for tier in read_textgrid(path).tiers
            if not tier.is_point_tier
        }
        participants = {}
        # Beside a tier of our utterances lies one of their confidences.
        candidates = [name for name in found if not is_ours(name) or speaker_of(name) is not None]
    chosen = candidates
    if tiers or not candidates or any(speaker_of(name) is None for name in candidates):
        values = {name: [text for _, _, text in rows] for name, rows in found.items()}
        chosen = choose_tiers(values, candidates, tiers, shown(path), dependents)
    annotations = {}
    for name in chosen:
        ours = speaker_of(name)
        named = name if ours is None and len(chosen) > 1 else ours or ""
        speaker = one_line(participants.get(name) or named)
        annotations[name] = [
            TranscriptSegment(start=start, end=end, text=one_line(text), speaker=speaker)
            for start, end, text in found[name]
        ]
    return annotations

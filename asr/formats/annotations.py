"""The annotations of chosen tiers, whoever made them: of ELAN and Praat alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from asr.formats.choose import choose_tiers
from asr.formats.clean import one_line
from asr.formats.eaf import EafDocument, find_media, origin_of, read_eaf
from asr.formats.eaf.document import speaker_in, untimed
from asr.formats.textgrid import read_textgrid, speakers_in
from asr.formats.tiernames import is_ours, may_be_transcript, speaker_of
from asr.names import shown, tell_once
from asr.transcript import TranscriptSegment
from lm.errors import InputError


def read_annotations(
    path: Path, tiers: Sequence[str] = (), *, times_alone: bool = False
) -> dict[str, list[TranscriptSegment]]:
    """The annotations of each chosen tier, by the recording's time; in a TextGrid an interval without text is none.

    The speaker is the tier's participant, or of several tiers the tier's name. Times that no one set are told on
    stderr where they alone matter; what has no place in time at all is then left out.

    Args:
        path: an ``.eaf`` or ``.TextGrid``.
        tiers: their names or shell patterns; not needed where only one can be meant, or where
            all are of this toolkit's utterances.
        times_alone: what they say does not matter, so that a tier that only numbers them will do.
    Raises:
        InputError: unreadable, no such tier, or several to choose among or of one name.
    """
    dependents: list[str] = []
    document = read_eaf(path) if path.suffix.lower() == ".eaf" else None
    if document is not None:
        origin_s = origin_of(document, find_media(document, path) or path)
        names = [tier.id for tier in document.tiers]
        lost = {each.id for each in untimed(document, names)[0]} if times_alone else set()
        found = {
            tier.id: [
                (each.start + origin_s, each.end + origin_s, each.value)
                for each in tier.annotations
                if each.id not in lost
            ]
            for tier in document.tiers
        }
        speakers = {tier.id: speaker_in(tier) for tier in document.tiers}
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
        praats = read_textgrid(path)
        intervals = [tier for tier in praats.tiers if not tier.is_point_tier]
        names = [tier.name for tier in intervals]
        if times_alone and praats.start > 0:
            tell_once(
                f"{shown(path)} begins at {praats.start:.3f} s, and its times are taken as those of the recording. "
                "If that is only the part that it covers, shift the times to 0 in Praat."
            )
        found = {
            tier.name: [(each.start, each.end, each.text) for each in tier.intervals if each.text.strip()]
            for tier in intervals
        }
        # Beside a tier of our utterances lies one of their confidences.
        candidates = [name for name in found if may_be_transcript(name)]
        ours = speakers_in(praats)
        speakers = {name: ours.get(name, "") for name in names}
    values = {name: [text for _, _, text in rows] for name, rows in found.items()}
    chosen = choose_tiers(values, candidates, tiers, shown(path), dependents)
    for name in chosen:
        if names.count(name) > 1:
            raise InputError(
                f"{shown(path)} has {names.count(name)} tiers named {name!r}. Rename one in Praat."
            )
    if times_alone and document is not None:
        _tell_untimed(document, chosen)
    annotations = {}
    for name in chosen:
        named = name if speaker_of(name) is None and len(chosen) > 1 else ""
        speaker = one_line(speakers[name] or named)
        annotations[name] = [
            TranscriptSegment(start=start, end=end, text=one_line(text), speaker=speaker)
            for start, end, text in found[name]
        ]
    return annotations


def _tell_untimed(document: EafDocument, tiers: Sequence[str]) -> None:
    lost, shared = untimed(document, tiers)
    if lost:
        tell_once(
            f"{shown(document.path)}: {len(lost)} annotation(s) have no start or no end, nor has what they depend "
            "on, and are left out. Give them their times in ELAN."
        )
    if shared:
        tell_once(
            f"{shown(document.path)}: {len(shared)} annotation(s) of {', '.join(map(repr, tiers))} have no times "
            "of their own, but an even share of the annotation they depend on. Choose the tier above with --tier."
        )

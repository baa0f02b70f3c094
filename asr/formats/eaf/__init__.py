"""ELAN annotation files (.eaf): read any, write a transcript as one, add a transcript to one."""

from asr.formats.eaf.document import EafAnnotation, EafDocument, EafMedia, EafTier, is_own, read_eaf
from asr.formats.eaf.insert import add_tiers
from asr.formats.eaf.media import find_media, origin_of, sound_first
from asr.formats.eaf.write import transcript_from_eaf, write_eaf

__all__ = [
    "EafAnnotation",
    "EafDocument",
    "EafMedia",
    "EafTier",
    "add_tiers",
    "find_media",
    "is_own",
    "origin_of",
    "read_eaf",
    "sound_first",
    "transcript_from_eaf",
    "write_eaf",
]

"""Corpora of other forms, read into utterances; one file per form."""

from asr.importers.base import Draft, ImportConfig, Importer, Reading
from asr.importers.corpus import IMPORTERS, Imported, detect_form, import_corpus
from asr.importers.splits import assign_splits

__all__ = [
    "IMPORTERS",
    "Draft",
    "ImportConfig",
    "Imported",
    "Importer",
    "Reading",
    "assign_splits",
    "detect_form",
    "import_corpus",
]

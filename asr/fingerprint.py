"""Whether a training is gone on with as what it was: its settings, name by name."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from asr.card import own_folder, read_card
from asr.manifest import Utterance

BEGUN = "settings of "
"""Before the names of settings that say what a model was made of; the task's own may have the same."""
CHECKSUMS = ("dev", "recordings", "texts", "translations", "utterances", "weights")
"""Names whose values say nothing to a reader."""
BATCH_SIZES = {
    "ctc": "ctc.batch_s",
    "data": "data.batch_s",
    "mt": "mt.batch_labels",
    "windows": "windows.batch",
}
"""Group of a fingerprint -> the setting in it that says how much a batch holds."""
CHANGEABLE = (
    *BATCH_SIZES.values(),
    *("ctc.mask_start", "encoder.time_masks_per_s", "objective.diversity_weight"),
    *("objective.mask_probability", "objective.mask_span_s", "objective.num_negatives"),
    "dev",
)
"""Ends of the names of settings that a training goes on with others of: what memory asks for, what the watches
advise to change, and what is selected on."""
WHERE = ("id", "offset_s", "duration_s")
"""Columns that say where utterances lie in their recordings."""
DEV = (*WHERE, "language", "text", "translation")
"""Columns that scores on dev follow from."""


Differences = Mapping[str, tuple[Any, Any]]
"""Dotted names -> an old value and a new one."""


def rows_checksum(rows: Sequence[Utterance], *columns: str) -> int:
    """Checksum of some columns of some rows."""
    return zlib.crc32(repr([tuple(getattr(row, name) for name in columns) for row in rows]).encode())


def identity(source: str) -> Any:
    """What the files of a model folder hold, wherever it lies; what is no folder of ours, as it is."""
    folder = own_folder(source) if source else None
    return read_card(folder)["sha256"] if folder else source


def differences(old: Any, new: Any, usual: Any = None, name: str = "") -> dict[str, tuple[Any, Any]]:
    """The values that differ, each by its dotted name.

    Args:
        old: values by name, groups of them nested.
        usual: in the same way, what a name stands for that is not there; an earlier version wrote fewer.

    >>> differences({"mt": {"batch_labels": 9}}, {"mt": {"batch_labels": 8, "nbest": 1}}, {"mt": {"nbest": 1}})
    {'mt.batch_labels': (9, 8)}
    """
    if isinstance(new, Mapping) and isinstance(old, str):
        old = identity(old)  # an earlier version wrote where some folders lie
    if name == "teacher" and old:
        old = [old[0].rpartition(" ")[2], *old[1:]]  # as here, before the digest of what it was asked
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return {} if old == new else {name: (old, new)}
    found: dict[str, tuple[Any, Any]] = {}
    for key in sorted(old.keys() | new.keys()):
        default = usual.get(key) if isinstance(usual, Mapping) else None
        inner = f"{name}.{key}" if name else key
        found |= differences(old.get(key, default), new.get(key, default), default, inner)
    return found


def described(found: Differences) -> str:
    """What differs, in words: ``ctc.batch_s: 10 -> 8, labels``."""

    def told(name: str, old: Any, new: Any) -> str:
        values = f"{old!r} -> {new!r}"
        # Labels and what files hold would fill the screen.
        return name if name in CHECKSUMS or len(values) > 80 else f"{name}: {values}"

    return ", ".join(dict.fromkeys(told(name.removeprefix(BEGUN), *values) for name, values in found.items()))

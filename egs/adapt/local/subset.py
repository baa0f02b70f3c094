"""Keep the labels of some minutes of a training split: ``subset.py MANIFEST MINUTES OUT``.

Utterances are taken in the order of their ids' checksums, so that ten minutes lie within an hour and
an hour within all. The other training rows become the split ``unlabelled`` and lose their texts.
"""

from __future__ import annotations

import sys
import zlib
from dataclasses import replace

from asr.cli import guarded
from asr.manifest import read_manifest, total_hours, write_manifest
from lm.errors import InputError


def main() -> int:
    """Read, choose, write."""
    source, minutes, target = sys.argv[1:]
    rows = read_manifest(source)
    train = [row for row in rows if row.split == "train" and row.text]
    if minutes == "all":
        write_manifest(rows, target)
        return 0
    wanted = float(minutes) / 60
    if wanted > total_hours(train):
        raise InputError(
            f"{source} has {60 * total_hours(train):.0f} min of training labels; {minutes} were asked for."
        )
    chosen: set[str] = set()
    hours = 0.0
    for row in sorted(train, key=lambda row: (zlib.crc32(row.id.encode()), row.id)):
        if hours >= wanted:
            break
        chosen.add(row.id)
        hours += row.duration_s / 3600
    kept = [
        replace(row, split="unlabelled", text="", translation="")
        if row.split == "train" and row.id not in chosen
        else row
        for row in rows
    ]
    write_manifest(kept, target)
    print(f"{target}: {len(chosen)} utterances, {60 * hours:.1f} min of labels", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))

"""Carve a dev split from the training sessions; the published dev becomes the test split.

Whole sessions are taken, in the order of their names' checksums, until dev has 6 % of the
training audio, so that no session is on both sides. The speakers are shared, as in the
published split.
"""

from __future__ import annotations

import sys
import zlib
from collections import defaultdict
from dataclasses import replace

from asr.cli import guarded
from asr.manifest import Utterance, read_manifest, total_hours, write_manifest

SHARE = 0.06


def main() -> int:
    """Read, carve, write."""
    source, target = sys.argv[1:]
    rows = read_manifest(source)
    train = [row for row in rows if row.split == "train"]
    sessions: dict[str, list[Utterance]] = defaultdict(list)
    for row in train:
        sessions[row.extra["recording"]].append(row)
    chosen: set[str] = set()
    hours = 0.0
    for name in sorted(sessions, key=lambda name: (zlib.crc32(name.encode()), name)):
        if hours >= SHARE * total_hours(train):
            break
        chosen.add(name)
        hours += total_hours(sessions[name])
    splits = {"train": "train", "dev": "test"}
    carved = [
        replace(
            row,
            split="dev" if row.split == "train" and row.extra["recording"] in chosen else splits[row.split],
        )
        for row in rows
    ]
    write_manifest(carved, target)
    print(f"dev: {len(chosen)} of {len(sessions)} training sessions, {hours:.2f} h", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))

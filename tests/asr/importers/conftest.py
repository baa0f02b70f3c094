"""Small recordings and ELAN files for the importers' tests, made from a seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

MakeAudio = Callable[..., Path]
MakeEaf = Callable[..., Path]


@pytest.fixture
def make_audio() -> MakeAudio:
    """Write a quiet noise of some seconds; the ending picks the format."""

    def make(path: Path, seconds: float = 1.0, *, rate: int = 16_000, seed: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = np.random.default_rng(seed).normal(0, 0.1, round(seconds * rate))
        soundfile.write(path, samples, rate)
        return path

    return make


@pytest.fixture
def make_eaf() -> MakeEaf:
    """Write an ELAN file.

    Tiers are (name, participant, [(start ms, end ms, text)]), children (name, parent tier,
    [(place of the parent annotation, text)]); a child's participant is its parent's.
    """

    def make(
        path: Path,
        tiers: Sequence[tuple[str, str, Sequence[tuple[int, int, str]]]],
        children: Sequence[tuple[str, str, Sequence[tuple[int, str]]]] = (),
        *,
        media: str = "elsewhere.mp4",
        origin_ms: int = 0,
    ) -> Path:
        slots: list[str] = []
        body: list[str] = []
        ids: dict[str, list[str]] = {}
        number = 0
        participants = {name: participant for name, participant, _ in tiers}
        for name, participant, members in tiers:
            body.append(f'<TIER TIER_ID="{name}" PARTICIPANT="{participant}" LINGUISTIC_TYPE_REF="main">')
            for start, end, text in members:
                first = len(slots) + 1
                slots += [
                    f'<TIME_SLOT TIME_SLOT_ID="ts{first + i}" TIME_VALUE="{time}"/>'
                    for i, time in enumerate((start, end))
                ]
                number += 1
                ids.setdefault(name, []).append(f"a{number}")
                body.append(
                    f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{number}" TIME_SLOT_REF1="ts{first}" '
                    f'TIME_SLOT_REF2="ts{first + 1}"><ANNOTATION_VALUE>{text}</ANNOTATION_VALUE>'
                    "</ALIGNABLE_ANNOTATION></ANNOTATION>"
                )
            body.append("</TIER>")
        for name, parent, below in children:
            participants[name] = participants[parent]
            body.append(
                f'<TIER TIER_ID="{name}" PARENT_REF="{parent}" PARTICIPANT="{participants[name]}" '
                'LINGUISTIC_TYPE_REF="below">'
            )
            previous: dict[int, str] = {}
            for place, text in below:
                number += 1
                before = f' PREVIOUS_ANNOTATION="{previous[place]}"' if place in previous else ""
                previous[place] = f"a{number}"
                ids.setdefault(name, []).append(f"a{number}")
                body.append(
                    f'<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a{number}" '
                    f'ANNOTATION_REF="{ids[parent][place]}"{before}>'
                    f"<ANNOTATION_VALUE>{text}</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>"
                )
            body.append("</TIER>")
        path.write_text(
            '<?xml version="1.0" encoding="UTF-8"?><ANNOTATION_DOCUMENT AUTHOR="" DATE="" '
            'FORMAT="3.0" VERSION="3.0"><HEADER TIME_UNITS="milliseconds">'
            f'<MEDIA_DESCRIPTOR MEDIA_URL="file:///home/someone/{media}" MIME_TYPE="video/mp4" '
            f'RELATIVE_MEDIA_URL="./{media}" TIME_ORIGIN="{origin_ms}"/></HEADER>'
            f"<TIME_ORDER>{''.join(slots)}</TIME_ORDER>{''.join(body)}"
            '<LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="main" TIME_ALIGNABLE="true"/>'
            '<LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="below" TIME_ALIGNABLE="false" '
            'CONSTRAINTS="Symbolic_Subdivision"/>'
            "</ANNOTATION_DOCUMENT>",
            encoding="utf-8",
        )
        return path

    return make

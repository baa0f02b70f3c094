"""The yaml of segments: what is read quickly is what YAML reads."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings, strategies

from asr.formats import segment_yaml
from asr.formats.segment_yaml import read_entries
from asr.segment.files import write_segments
from asr.transcript import Transcript, TranscriptSegment


def test_entries_are_the_same_line_by_line_with_libyaml_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "train.yaml"
    plain = (
        "- {duration: -0.5, offset: 1_0.5, speaker_id: 0012, wav: tornan_foudaï.wav}\r\n- {speaker_id: no}\n"
    )
    table.write_text(plain, encoding="utf-8")
    quick = read_entries(table)
    assert quick[0] == {
        "duration": "-0.5",
        "offset": "1_0.5",
        "speaker_id": "0012",
        "wav": "tornan_foudaï.wav",
    }
    assert quick == segment_yaml._plain_entries(plain)
    # entries that only YAML can read: wrapped, quoted with escapes, in block style
    wrapped = "- {duration: 1.0,\n    wav: 'it''s: a'}\n- offset: 1:30\n  wav: 2020-01-01 # note\n"
    assert segment_yaml._plain_entries(plain + wrapped) is None
    table.write_text(plain + wrapped, encoding="utf-8")
    whole = read_entries(table)
    assert whole[:2] == quick
    assert whole[2:] == [{"duration": "1.0", "wav": "it's: a"}, {"offset": "1:30", "wav": "2020-01-01"}]
    loader = type("_PlainLoader", (yaml.SafeLoader,), {"yaml_implicit_resolvers": {}})
    monkeypatch.setattr(segment_yaml, "_LOADER", loader)
    assert read_entries(table) == whole


def test_what_we_write_is_read_without_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """libyaml takes ten times as long."""
    made = Transcript(
        recording="a talk",
        audio=Path("a talk: 1, {x: y}.wav"),
        duration=9.0,
        segments=(
            TranscriptSegment(start=0.5, end=2, text=""),
            TranscriptSegment(start=3, end=4, text="", speaker="Ana Ñ, wav: b"),
        ),
    )
    path = write_segments(made, tmp_path / "a.yaml")
    expected = yaml.load(path.read_text(encoding="utf-8"), Loader=segment_yaml._LOADER)
    monkeypatch.delattr(yaml, "load")
    assert read_entries(path) == expected
    assert [each["wav"] for each in expected] == [made.audio.name] * 2


@given(
    strategies.lists(
        strategies.text(strategies.characters(exclude_categories=["Cs"]))
        .filter(lambda text: not set('"\\') & set(text))
        .map(lambda text: f'"{text}"')
        | strategies.from_regex(r"[\w./+-]+", fullmatch=True),
        min_size=1,
        max_size=4,
    )
)
@example(["-"])
@example(['"a\x85b"'])
@example(['"\u2028"'])
@example(['", wav: b"', '" "', '""'])
@settings(max_examples=200, deadline=None)
def test_an_entry_that_is_read_quickly_is_what_yaml_reads(values: list[str]) -> None:
    text = "- {" + ", ".join(f"k{place}: {value}" for place, value in enumerate(values)) + "}\n"
    quick = segment_yaml._plain_entries(text)
    if quick is not None:
        assert quick == yaml.load(text, Loader=segment_yaml._LOADER)

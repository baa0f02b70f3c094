"""TextGrids: ours read back by us and by praatio; those of others in every form and encoding."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from format_cases import file_text, plain_transcript, transcripts
from hypothesis import given, settings
from praatio import textgrid as praatio_textgrid

from asr.formats import read_transcript, write_transcript
from asr.formats.layout import lay_out
from asr.formats.textgrid import Interval, Point, read_textgrid
from asr.transcript import Transcript, TranscriptSegment
from lm.errors import InputError

LONG = '''File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 2.5
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "say ""it"""
        xmin = 0
        xmax = 2.5
        intervals: size = 2
        intervals [1]:
            xmin = 0
            xmax = 1.25e0
            text = "\u00f1 ""1 2"" !"
        intervals [2]:
            xmin = 1.25
            xmax = 2.5
            text = "two
lines"
    item [2]:
        class = "TextTier"
        name = "points"
        xmin = 0
        xmax = 2.5
        points: size = 1
        points [1]:
            number = 0.5
            mark = "H*"
'''
SHORT = '''File type = "ooTextFile short"
"TextGrid"

0
2.5 ! the end
<exists>
2
"IntervalTier"
"say ""it"""
0
2.5
2
0
1.25
"\u00f1 ""1 2"" !"
1.25
2.5
"two
lines"
"TextTier" "points" 0 2.5 1
0.5
"H*"
'''


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
@pytest.mark.parametrize("form", [LONG, SHORT], ids=["long", "short"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_form_and_encoding_reads_alike(form: str, encoding: str, newline: str, tmp_path: Path) -> None:
    path = tmp_path / "a.TextGrid"
    path.write_bytes(form.replace("\n", newline).encode(encoding))
    document = read_textgrid(path)
    assert (document.start, document.end) == (0.0, 2.5)
    words, points = document.tiers
    assert words.name == 'say "it"'
    assert words.intervals == (
        Interval(start=0.0, end=1.25, text='\u00f1 "1 2" !'),
        Interval(start=1.25, end=2.5, text=f"two{newline}lines"),
    )
    assert points.is_point_tier
    assert points.points == (Point(time=0.5, text="H*"),)


def test_bytes_that_latin_1_has_not_are_windows_1252_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.TextGrid"
    path.write_bytes(SHORT.replace("two\nlines", "so don’t “go”").encode("cp1252"))
    assert read_textgrid(path).tiers[0].intervals[1].text == "so don’t “go”"
    assert "a.TextGrid is not UTF-8 and is read as Windows-1252, as in 'don’t'" in capsys.readouterr().err
    path.write_bytes(SHORT.replace("two\nlines", "Å").encode("mac_roman"))
    with pytest.raises(InputError, match="neither UTF-8 nor Windows-1252"):
        read_textgrid(path)


@settings(max_examples=30, deadline=None)
@given(transcripts())
def test_intervals_tile_and_read_back(
    tmp_path_factory: pytest.TempPathFactory, transcript: Transcript
) -> None:
    path = tmp_path_factory.getbasetemp() / "a.TextGrid"
    path.write_bytes(file_text("TextGrid", transcript).encode())
    document = read_textgrid(path)
    assert document.end >= round(transcript.duration, 3)
    for tier in document.tiers:
        assert (tier.start, tier.end) == (document.start, document.end) == (0.0, document.end)
        assert tier.intervals[0].start == 0.0
        assert tier.intervals[-1].end == document.end
        assert all(a.end == b.start for a, b in zip(tier.intervals, tier.intervals[1:], strict=False))
        assert all(each.start < each.end for each in tier.intervals)
    expected = sorted(
        (box.start, box.end, box.text, tuple(word.text for word in box.words if word.text))
        for boxes in lay_out(transcript).values()
        for box in boxes
        if box.text
    )
    found = sorted(
        (round(1000 * each.start), round(1000 * each.end), each.text, tuple(word.text for word in each.words))
        for each in read_transcript(path).segments
    )
    assert found == expected


@settings(max_examples=15, deadline=None)
@given(transcripts())
def test_praatio_reads_the_same(tmp_path_factory: pytest.TempPathFactory, transcript: Transcript) -> None:
    path = tmp_path_factory.getbasetemp() / "b.TextGrid"
    path.write_bytes(file_text("TextGrid", transcript).encode())
    ours = read_textgrid(path)
    theirs = praatio_textgrid.openTextgrid(str(path), includeEmptyIntervals=True, reportingMode="error")
    assert [tier.name for tier in ours.tiers] == list(theirs.tierNames)
    for tier in ours.tiers:
        # praatio strips labels
        assert [(each.start, each.end, each.text.strip()) for each in tier.intervals] == [
            (each.start, each.end, each.label.strip()) for each in theirs.getTier(tier.name).entries
        ]


def test_a_textgrid_by_definition() -> None:
    text = file_text("TextGrid", plain_transcript())
    assert re.findall(r'name = "(.*)"', text) == [
        "loquela-utterance",
        "loquela-utterance-confidence",
        "loquela-word",
        "loquela-word-confidence",
    ]
    words = text[text.index('"loquela-word"') : text.index('"loquela-word-confidence"')]
    assert re.findall(r'xmin = (\S+) \n\s+xmax = (\S+) \n\s+text = "(.*)"', words) == [
        ("0", "0.500", ""),
        ("0.500", "0.900", "kunan"),
        ("0.900", "1.000", ""),
        ("1.000", "1.500", "puncha"),
        ("1.500", "2.000", ""),
        ("2.000", "2.600", "ari"),
        ("2.600", "5.000", ""),
    ]


def test_words_and_confidences_come_back(tmp_path: Path) -> None:
    back = read_transcript(write_transcript(plain_transcript(), tmp_path / "talk.textgrid"))
    assert back.segments == plain_transcript().segments
    assert back.duration == 5.0


def test_each_of_several_speakers_has_tiers(tmp_path: Path) -> None:
    said = tuple(
        TranscriptSegment(start=0.0, end=2.0, text=f"by {name}", speaker=name) for name in ("Ana", "Luz")
    )
    transcript = Transcript(recording="a", audio=Path("a"), duration=2.0, segments=said)
    path = write_transcript(transcript, tmp_path / "a.TextGrid")
    assert [tier.name for tier in read_textgrid(path).tiers][::2] == [
        "loquela-utterance@Ana",
        "loquela-word@Ana",
        "loquela-utterance@Luz",
        "loquela-word@Luz",
    ]
    assert read_transcript(path).segments == said


def test_a_lane_is_its_speakers_and_one_who_does_not_overlap_is_another(tmp_path: Path) -> None:
    said = tuple(
        TranscriptSegment(start=start, end=end, text="so", speaker=speaker)
        for start, end, speaker in (
            (0.0, 5.0, "Ana"),
            (0.5, 2.0, "Bo"),
            (1.0, 2.5, "Bo 2"),
            (3.0, 8.0, "Ana"),
            (4.0, 9.0, "Ana"),
            (7.0, 8.5, "Bo 2"),
        )
    )
    path = write_transcript(
        Transcript(recording="a", audio=Path("a"), duration=9.0, segments=said), tmp_path / "a.TextGrid"
    )
    assert "loquela-utterance@Ana 3" in [tier.name for tier in read_textgrid(path).tiers]
    assert read_transcript(path).segments == said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a TextGrid text file"),
        ("ooBinaryFile\x08TextGrid", "Save as text file"),
        (LONG.replace('"TextGrid"', '"PitchTier"'), "'PitchTier', not a TextGrid"),
        (LONG[:500], "cut off|expected"),
        (LONG.replace("size = 2\nitem", "size = 999999999\nitem"), "ends where a text is expected"),
        (LONG.replace("size = 2\nitem", "size = -1\nitem"), "where a count belongs"),
        (LONG.replace("xmax = 2.5\ntiers", "xmax = 1e999\ntiers"), "beyond all bounds"),
        (LONG.replace("IntervalTier", "Interval"), "a tier of class 'Interval'"),
        (LONG.replace('"H*"', "H*"), "ends where a text"),
    ],
)
def test_a_broken_textgrid_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.TextGrid"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_textgrid(path)


def test_a_textgrid_of_others_is_not_taken_for_a_transcript(tmp_path: Path) -> None:
    path = tmp_path / "a.TextGrid"
    path.write_text(LONG)
    with pytest.raises(InputError, match=r"no tier 'loquela-utterance'.*corpus import"):
        read_transcript(path)

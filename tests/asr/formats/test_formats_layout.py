"""What tiers hold: utterances that overlap lie in lanes of their own, and no word is squeezed."""

from __future__ import annotations

from pathlib import Path

from format_cases import file_text

from asr.formats import READERS
from asr.formats.layout import lay_out
from asr.transcript import Transcript, TranscriptSegment, Word


def said(start: float, end: float, speaker: str = "", count: int = 4) -> TranscriptSegment:
    """An utterance with words that fill it evenly."""
    length = (end - start) / count
    words = tuple(
        Word(text=f"w{place}", start=start + place * length, end=start + (place + 1) * length, confidence=1.0)
        for place in range(count)
    )
    text = " ".join(word.text for word in words)
    return TranscriptSegment(start=start, end=end, text=text, words=words, speaker=speaker)


def transcript(*segments: TranscriptSegment) -> Transcript:
    return Transcript(recording="a", audio=Path("a.wav"), duration=30.0, segments=segments)


def lanes(*segments: TranscriptSegment) -> dict[str, list[tuple[int, int]]]:
    return {
        name: [(box.start, box.end) for box in boxes]
        for name, boxes in lay_out(transcript(*segments)).items()
    }


def test_utterances_that_overlap_go_into_the_first_lane_that_is_free() -> None:
    spans = [(0.0, 20.0), (4.0, 6.0), (5.0, 8.0), (6.0, 7.0), (20.0, 21.0)]
    assert lanes(*(said(*span) for span in spans)) == {
        "": [(0, 20_000), (20_000, 21_000)],
        "2": [(4000, 6000), (6000, 7000)],
        "3": [(5000, 8000)],
    }


def test_lanes_are_a_speakers_and_take_no_other_speakers_name() -> None:
    segments = [said(0.0, 3.0, name) for name in ("Ana", "Ana", "Ana 2", "2", "", "")]
    layout = lay_out(transcript(*segments))
    assert [(name, boxes.speaker) for name, boxes in layout.items()] == [
        ("Ana", "Ana"),
        ("Ana 3", "Ana"),
        ("Ana 2", "Ana 2"),
        ("2", "2"),
        ("", ""),
        ("3", ""),
    ]


def test_an_overlap_that_comes_of_rounding_opens_no_lane() -> None:
    assert lanes(said(0.0, 2.01), said(2.0, 3.0)) == {"": [(0, 2000), (2000, 3000)]}
    assert len(lanes(said(0.0, 2.011), said(2.0, 3.0))) == 2


def test_words_of_overlapping_utterances_keep_their_times(tmp_path: Path) -> None:
    given = transcript(said(0.0, 20.0, count=40), said(4.0, 6.0), said(5.0, 7.0, "Ana"))
    expected = sorted((word.start, word.end) for segment in given.segments for word in segment.words)
    for name in ("TextGrid", "eaf"):
        path = tmp_path / f"a.{name}"
        path.write_text(file_text(name, given), encoding="utf-8")
        back = READERS[name](path).segments
        assert sorted((word.start, word.end) for segment in back for word in segment.words) == expected
        # A lane's number is no speaker's name.
        assert {segment.speaker for segment in back} == {"", "Ana"}

"""A user's own segments: every form read and written, cut on a stream, and what each mistake says."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies

from asr.arrays import FloatArray
from asr.formats import write_transcript
from asr.segment import OwnSegments, Segment
from asr.segment.files import FORMATS, read_segments, write_segments
from asr.segment.own import OwnSegment
from asr.transcript import Transcript, TranscriptSegment
from tests.asr.segment.sounds import RATE, silence

SPANS = ((0.5, 2.0), (2.0, 3.25), (4.0000625, 9.9))


def transcript(name: str = "talk.wav", spans: tuple[tuple[float, float], ...] = SPANS) -> Transcript:
    """Segments without text."""
    return Transcript(
        recording=Path(name).stem,
        audio=Path(name),
        duration=10.0,
        segments=tuple(TranscriptSegment(start=start, end=end, text="") for start, end in spans),
    )


def written(folder: Path, name: str, text: str) -> Path:
    """A file with that text."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_written_is_read_back(tmp_path: Path, form: str) -> None:
    path = write_segments(transcript(), tmp_path / f"segments.{form}")
    found = read_segments(path).of("somewhere/talk.wav")
    # ELAN and Praat keep milliseconds, the others microseconds, which name every sample.
    tolerance = 0.00051 if form in ("eaf", "TextGrid") else 0.51e-6
    assert [(each.start, each.end) for each in found] == [
        (pytest.approx(start, abs=tolerance), pytest.approx(end, abs=tolerance)) for start, end in SPANS
    ]


def test_the_yaml_is_mustcs(tmp_path: Path) -> None:
    path = write_segments(transcript("a talk: 1.wav", ((0.5, 2.0),)), tmp_path / "a.yaml")
    assert path.read_text() == (
        '- {duration: 1.500000, offset: 0.500000, speaker_id: NA, wav: "a talk: 1.wav"}\n'
    )
    assert read_segments(path).of("a talk: 1.flac") == [OwnSegment(0.5, 2.0)]
    assert write_segments(transcript(spans=()), tmp_path / "none.yaml").read_text() == "[]\n"


@given(strategies.lists(strategies.integers(0, 10 * 3600 * RATE), min_size=2, max_size=12, unique=True))
@settings(max_examples=30, deadline=None)
def test_six_decimals_name_every_sample(tmp_path_factory: pytest.TempPathFactory, places: list[int]) -> None:
    places = sorted(places)[: len(places) // 2 * 2]
    spans = tuple((a / RATE, b / RATE) for a, b in zip(places[::2], places[1::2], strict=True))
    folder = tmp_path_factory.mktemp("own")
    for form in ("yaml", "tsv", "rttm"):
        found = read_segments(write_segments(transcript(spans=spans), folder / f"a.{form}")).of("talk.wav")
        assert [(round(each.start * RATE), round(each.end * RATE)) for each in found] == [
            (round(start * RATE), round(end * RATE)) for start, end in spans
        ]


def test_forms_of_others_are_read_with_their_speakers(tmp_path: Path) -> None:
    yaml = written(
        tmp_path,
        "tst.yaml",
        "- {duration: 3.5, offset: 16.08, rW: 9, uW: 0, speaker_id: spk.1, wav: 0012.wav}\n"
        "- {duration: 1, offset: 2, speaker_id: spk.1, wav: wav/ted_2.wav}\n",
    )
    assert read_segments(yaml).of("0012.flac") == [OwnSegment(16.08, 19.58, "spk.1")]
    assert read_segments(yaml).of("ted_2.wav") == [OwnSegment(2, 3, "spk.1")]
    table = written(tmp_path, "a.tsv", "start\tend\tspeaker\n# hand-made\n0.5\t1.5\tAna Luz\n\n3 4\n")
    assert read_segments(table).of("any.wav") == [OwnSegment(0.5, 1.5, "Ana Luz"), OwnSegment(3, 4)]
    audacity = written(tmp_path, "labels.txt", "0.5\t1.5\tfirst\n")
    assert read_segments(audacity).of("any.wav") == [OwnSegment(0.5, 1.5)]
    rttm = written(
        tmp_path,
        "a.rttm",
        ";; by a diariser\nSPKR-INFO my_talk 1 <NA> <NA> <NA> unknown A <NA> <NA>\n"
        "SPEAKER my_talk 1 3.0 2.0 <NA> <NA> B <NA> <NA>\nSPEAKER my_talk 1 1.5 2.0 <NA> <NA> A <NA> <NA>\n",
    )
    assert read_segments(rttm).of("my talk.wav") == [OwnSegment(1.5, 3.5, "A"), OwnSegment(3, 5, "B")]


def test_a_recording_keeps_its_name_in_rttm_whatever_that_looks_like(tmp_path: Path) -> None:
    path = write_segments(transcript("interview.mp4.wav"), tmp_path / "a.rttm")
    assert len(read_segments(path).of("interview.mp4.wav")) == len(SPANS)
    # Others name the file; a name without an ending goes before.
    assert len(read_segments(path).of("interview.wav")) == len(SPANS)
    path.write_text(path.read_text() + "SPEAKER interview 1 1.0 1.0\n")
    assert read_segments(path).of("interview.wav") == [OwnSegment(1, 2)]


def test_two_speakers_may_have_one_span_and_nobody_is_no_speaker(tmp_path: Path) -> None:
    rows = "".join(f"SPEAKER talk 1 1.0 2.0 <NA> <NA> {name} <NA> <NA>\n" for name in ("A", "B", "A", "<NA>"))
    rttm = written(tmp_path, "a.rttm", rows + "SPEAKER talk 1 4.0 1.0\n")
    assert read_segments(rttm).of("talk.wav") == [
        *(OwnSegment(1, 3, name) for name in ("", "A", "B")),
        OwnSegment(4, 5),
    ]
    for form in ("yaml", "rttm"):
        path = write_segments(transcript(spans=((1, 2),)), tmp_path / f"unknown.{form}")
        assert read_segments(path).of("talk.wav") == [OwnSegment(1, 2)]


@pytest.mark.parametrize("form", ["eaf", "TextGrid"])
def test_a_tier_is_chosen_by_its_name_and_gives_the_speaker(tmp_path: Path, form: str) -> None:
    two = Transcript(
        recording="talk",
        audio=Path("talk.wav"),
        duration=10.0,
        segments=(
            TranscriptSegment(start=1, end=2, text="", speaker="A"),
            TranscriptSegment(start=3, end=5, text="", speaker="B"),
        ),
    )
    path = write_segments(two, tmp_path / f"talk.{form}")
    both = [OwnSegment(1, 2, "A"), OwnSegment(3, 5, "B")]
    assert read_segments(path, "loquela-utterance@B").of("talk.wav") == both[1:]
    assert read_segments(path, "loquela-utterance@*").of("talk.wav") == both
    assert read_segments(path).of("talk.wav") == both
    with pytest.raises(ValueError, match="no tier 'x'"):
        read_segments(path, "x")
    text = path.read_text().replace("loquela-utterance@", "text_").replace("PARTICIPANT", "ANNOTATOR")
    path.write_text(text.replace('ANNOTATOR="loquela" ', ""))  # as another program names them
    named = [OwnSegment(1, 2, "text_A"), OwnSegment(3, 5, "text_B")]
    assert read_segments(path, "text_?").of("talk.wav") == named
    assert read_segments(path, "text_A").of("talk.wav") == [OwnSegment(1, 2)]
    with pytest.raises(ValueError, match=r"2 tiers that may be .* --tier NAME"):
        read_segments(path)


MISTAKES = {
    "a.wav": ("", "no form of segments"),
    "a.yaml": ("offset: 1\n", "no list"),
    "b.yaml": ("- {offset: 1, wav: a.wav}\n", "entry 1: .* no offset and duration"),
    "c.yaml": ("- {offset: 1, duration: -1, wav: a.wav}\n", "entry 1: a segment from '1' to '0.0' s"),
    "d.yaml": ("- {offset: 1, duration: [\n", "is not YAML"),
    "e.yaml": (
        "- {offset: 3, duration: 2, wav: a.wav}\n- {offset: 1, duration: 1, wav: }\n",
        "entry 2: it names no recording, and others do",
    ),
    "a.tsv": ("", "holds no segment"),
    "b.tsv": ("1.0\n", "line 1: '1.0' is not `start end`"),
    "c.tsv": ("1.0\tnan\n", "line 1: a segment from '1.0' to 'nan' s"),
    "d.tsv": ("start\tend\n2.0\t2.0\n", "line 2: a segment"),
    "e.tsv": ("0.0\t1.0\n-0.5\t1.0\n", "line 2: a segment"),
    "f.tsv": ("start\tend\ttext\n0\t0\tso\n", "segment 1: a segment from"),
    "i.tsv": ("start\tend\ttext\n2\t5\thello\n6\t9\tyou\n", "longest segment lasts 3 ms.*milliseconds"),
    "g.tsv": ("0,5\t1,5\n", "line 1: a segment from '0,5' to '1,5' s"),
    "h.tsv": ("1.0\t1.00001\n", "line 1: a segment"),
    "a.rttm": ("SPEAKER a 1 3.0\n", "line 1: .*SPEAKER file channel start duration"),
    "a.eaf": ("<x/>", "<x>, not <ANNOTATION_DOCUMENT>"),
    "a.TextGrid": ("hello", "not a TextGrid"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named(tmp_path: Path, name: str) -> None:
    text, message = MISTAKES[name]
    with pytest.raises(ValueError, match=message) as stopped:
        read_segments(written(tmp_path, name, text))
    assert name in str(stopped.value)
    assert "\n" not in str(stopped.value)


def test_a_file_that_is_not_there_and_a_tier_where_there_are_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No such file"):
        read_segments(tmp_path / "a.tsv")
    with pytest.raises(ValueError, match="has no tiers"):
        read_segments(written(tmp_path, "a.tsv", "0 1\n"), "words")


def own(*spans: tuple[float, float], name: str = "") -> OwnSegments:
    """What a file of these spans says."""
    return OwnSegments(path=Path("own.tsv"), recordings={name: [Segment(*span) for span in spans]})


SOUND = np.random.default_rng(0).standard_normal(10 * RATE).astype(np.float32)


@given(
    strategies.lists(
        strategies.tuples(strategies.integers(0, 9_000), strategies.integers(1, 4_000)), max_size=6
    ),
    strategies.lists(strategies.integers(1, 70_000), max_size=8),
)
@settings(max_examples=40, deadline=None)
def test_each_segment_comes_whole_however_they_overlap(rows: list[tuple[int, int]], sizes: list[int]) -> None:
    spans = sorted((ms / 1000, min(10_000, ms + length) / 1000) for ms, length in rows)
    pieces = np.split(SOUND, [place for place in np.cumsum(sizes) if place < len(SOUND)])
    found = list(own(*spans).split(pieces, "talk.wav"))
    assert [(segment.start, segment.end) for segment, _ in found] == spans
    for segment, samples in found:
        np.testing.assert_array_equal(samples, SOUND[round(segment.start * RATE) : round(segment.end * RATE)])


@given(
    strategies.lists(
        strategies.tuples(strategies.integers(0, 9_000), strategies.integers(1, 10_000)), max_size=4
    ),
    strategies.lists(strategies.integers(1, 70_000), max_size=8),
)
@example([(437, 4665)], [])
@settings(max_examples=40, deadline=None)
def test_what_is_too_long_is_cut_and_none_of_it_lost(rows: list[tuple[int, int]], sizes: list[int]) -> None:
    spans = sorted((ms / 1000, min(10_000, ms + length) / 1000) for ms, length in rows)
    parts = np.split(SOUND, [place for place in np.cumsum(sizes) if place < len(SOUND)])
    named = [OwnSegment(*span, str(number)) for number, span in enumerate(spans)]
    file = OwnSegments(path=Path("own.tsv"), recordings={"": named})
    found = list(file.split(parts, "talk.wav", 1.5))
    assert [segment.start for segment, _ in found] == sorted(segment.start for segment, _ in found)
    for each in named:
        ours = [(segment, samples) for segment, samples in found if segment.speaker == each.speaker]  # type: ignore[attr-defined]
        assert (ours[0][0].start, ours[-1][0].end) == (each.start, each.end)
        assert all(left.end == right.start for (left, _), (right, _) in pairwise(ours))
        assert all(0 < len(samples) <= 1.5 * RATE for _, samples in ours)
        whole = SOUND[round(each.start * RATE) : round(each.end * RATE)]
        np.testing.assert_array_equal(np.concatenate([samples for _, samples in ours]), whole)


def test_it_is_cut_where_it_is_quietest() -> None:
    waveform = SOUND.copy()
    waveform[round(3.6 * RATE) : round(3.8 * RATE)] *= 0.01
    first, second, *_ = [segment for segment, _ in own((0.0, 9.0)).split([waveform], "talk.wav", 5.0)]
    assert 3.6 < first.end == second.start < 3.8


def test_a_segment_may_end_a_little_beyond_the_recording_and_no_further() -> None:
    for span in ((8, 10.4), (10.0, 10.05)):
        assert not own((1, 2), span).beyond("talk.wav", 10.0)
    for span, wholly in (((8, 10.6), False), ((10.6, 11), True)):
        told = own((1, 2), span).beyond("talk.wav", 10.0)
        assert told.startswith(
            f"own.tsv: a segment from {span[0]:.3f} to {span[1]:.3f} s, but talk.wav ends at 10."
        )
        assert own((1, 2), span).beyond("talk.wav", 10.0, wholly=True) == (told if wholly else "")
    found = list(own((1, 2), (8, 10.6), (10.2, 11)).split([SOUND], "talk.wav"))
    assert [segment for segment, _ in found] == [Segment(1, 2), Segment(8, 10)]


def test_what_waits_behind_a_turn_that_ends_beyond_keeps_its_own_end() -> None:
    found = [segment for segment, _ in own((2, 10.004), (4, 5), (6, 6.5)).split([SOUND], "talk.wav")]
    assert found == [Segment(2, 10), Segment(4, 5), Segment(6, 6.5)]


def test_segments_of_another_recording_are_refused() -> None:
    with pytest.raises(ValueError, match="no segments of other, only of 'talk'"):
        list(own((1, 2), name="talk").split([SOUND], "folder/other.wav"))


def test_a_recording_without_sound_has_no_segments() -> None:
    assert list(own((1, 2)).split([], "talk.wav")) == []


@pytest.mark.parametrize("whole", [False, True])
def test_a_long_recording_is_not_held(whole: bool) -> None:
    def peak(minutes: int) -> int:
        chunks = (silence(30) for _ in range(2 * minutes))
        end = 60 * minutes
        file = own((0, end)) if whole else own((1, 5), (end - 5, end - 1))
        tracemalloc.start()
        held: list[FloatArray] = []
        for _, samples in file.split(chunks, "a.wav"):
            held = [samples]
        assert held
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    assert peak(6) < 1.2 * peak(2)


@pytest.mark.parametrize("form", ["srt", "vtt", "json", "stm", "tsv"])
def test_the_segments_of_a_transcript_are_read(tmp_path: Path, form: str) -> None:
    """Whisper's table is in milliseconds, ours of segments in seconds."""
    made = transcript(spans=((0.5, 2.0), (2.0, 3.25)))
    texts = tuple(replace(each, text="so") for each in made.segments)
    path = write_transcript(replace(made, segments=texts), tmp_path / f"talk.{form}")
    found = read_segments(path).of("talk.wav")
    assert [(each.start, each.end) for each in found] == [(0.5, 2.0), (2.0, 3.25)]


def test_a_recording_is_the_same_whether_its_letters_are_composed_or_not(tmp_path: Path) -> None:
    path = write_segments(transcript("ca\u00f1a.wav"), tmp_path / "x.yaml")
    assert len(read_segments(path).of("can\u0303a.wav")) == 3


def test_recordings_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    row = "- {{duration: 1, offset: {}, speaker_id: {}, wav: {}/talk.wav}}\n"
    yaml = written(tmp_path, "two.yaml", row.format(1, "Ana", "day1") + row.format(3, "Bea", "day2"))
    found = read_segments(yaml)
    assert found.of(tmp_path / "day1" / "talk.wav") == [OwnSegment(1, 2, "Ana")]
    assert found.of("sub/day2/talk.flac") == [OwnSegment(3, 4, "Bea")]
    found.check(["day1/talk.wav", "day2/talk.wav", "day2/talk.mp3"])
    with pytest.raises(
        ValueError, match=r"segments of 'day1/talk' and 'day2/talk', and day3/talk.wav may be"
    ):
        found.of("day3/talk.wav")
    # Of one name there is no doubt, wherever its maker had it; of two recordings there is.
    elsewhere = read_segments(written(tmp_path, "one.yaml", row.format(1, "Ana", "/home/ana")))
    assert elsewhere.of("day1/talk.wav") == [OwnSegment(1, 2, "Ana")]
    rttm = read_segments(written(tmp_path, "a.rttm", "SPEAKER talk 1 1.0 1.0\n"))
    for segments in (elsewhere, rttm):
        segments.check(["day1/talk.wav", "day1/talk.mp3", "day2/other.wav"])
        with pytest.raises(ValueError, match=r"may be day1/talk.wav or day2/talk.wav"):
            segments.check(["day1/talk.wav", "day2/talk.wav"])

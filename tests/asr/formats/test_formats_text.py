"""txt, tsv, json, srt, vtt, ctm and stm: read back, and checked by their definitions."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from format_cases import TIMES, file_text, plain_transcript, transcripts, without_markup
from hypothesis import assume, given, settings

from asr.formats import READERS
from asr.formats.clean import one_line, span_ms
from asr.formats.cues import MAX_CUE_CHARACTERS, MAX_CUE_SECONDS, make_cues
from asr.formats.subtitles import most_lines
from asr.names import tell_once
from asr.transcript import Transcript, TranscriptSegment, Word
from lm.errors import InputError

quick = settings(max_examples=30, deadline=None)
SRT_BLOCK = re.compile(r"(\d+)\n(\d\d+):(\d\d):(\d\d),(\d{3}) --> (\d\d+):(\d\d):(\d\d),(\d{3})\n([^\n]+)\n")


@pytest.fixture(scope="module")
def round_trip(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Transcript], Transcript]:
    folder = tmp_path_factory.mktemp("formats")

    def write_and_read(name: str, transcript: Transcript) -> Transcript:
        path = folder / f"talk.{name}"
        path.write_bytes(file_text(name, transcript).encode())
        return READERS[name](path)

    return write_and_read


RoundTrip = Callable[[str, Transcript], Transcript]


@quick
@given(transcripts())
def test_json_reads_back_equal(round_trip: RoundTrip, transcript: Transcript) -> None:
    assert round_trip("json", transcript) == transcript


def test_json_says_its_form_and_version() -> None:
    members = json.loads(file_text("json", plain_transcript()))
    assert (members["format"], members["format_version"]) == ("loquela-transcript", 1)
    assert members["segments"][0]["words"][1] == {
        "text": "puncha",
        "start": 1.0,
        "end": 1.5,
        "confidence": 1.0,
    }
    assert members["gaps"] == [{"start": 0.0, "end": 0.5, "reason": "silence"}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda members: members | {"format_version": 2}, "format_version 2"),
        (lambda members: members | {"format": "x"}, '"format": "loquela-transcript"'),
        (lambda members: members | {"duration": "5"}, "'duration' is not a number"),
        (lambda members: members | {"duration": 10**400}, "'duration' is not a number"),
        (lambda members: members | {"segments": [{}]}, r"segments\[0\]: 'start' is not a number"),
        (lambda members: members | {"gaps": 1}, "'gaps' is not a list of objects"),
        (lambda members: members | {"details": {"a": 1}}, "'details' is not an object of texts"),
        (lambda members: [members], '"format"'),
    ],
)
def test_json_that_was_changed_is_refused(
    change: Callable[[dict[str, object]], object], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "talk.json"
    path.write_text(json.dumps(change(json.loads(file_text("json", plain_transcript())))))
    with pytest.raises(InputError, match=message):
        READERS["json"](path)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"duration": ' + "9" * 5000 + "}"])
def test_json_that_is_cut_or_hostile_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "talk.json"
    path.write_text(text)
    with pytest.raises(InputError, match="not JSON"):
        READERS["json"](path)


@quick
@given(transcripts())
def test_txt_has_a_line_per_segment_with_text(round_trip: RoundTrip, transcript: Transcript) -> None:
    expected = [line for line in (one_line(each.text) for each in transcript.segments) if line.strip()]
    assert file_text("txt", transcript).split("\n") == [*expected, ""]
    assert [each.text for each in round_trip("txt", transcript).segments] == expected


@quick
@given(transcripts())
def test_tsv_reads_back_in_milliseconds(round_trip: RoundTrip, transcript: Transcript) -> None:
    expected = [(*span_ms(each.start, each.end), one_line(each.text)) for each in transcript.segments]
    rows = file_text("tsv", transcript).split("\n")
    assert rows[0] == "start\tend\ttext"
    assert [(int(a), int(b), text) for a, b, text in (row.split("\t") for row in rows[1:-1])] == expected
    back = round_trip("tsv", transcript).segments
    assert [(round(each.start * 1000), round(each.end * 1000), each.text) for each in back] == expected
    assert all(start < end for start, end, _ in expected)


@quick
@given(transcripts())
def test_srt_is_numbered_blocks_and_reads_back(round_trip: RoundTrip, transcript: Transcript) -> None:
    """But for what players take for markup or times: SubRip has no way to write it."""
    assume(TIMES not in (line for cue in make_cues(transcript) for line in cue.lines))
    text = file_text("srt", transcript)
    blocks = SRT_BLOCK.findall(text)
    assert "\n".join("".join(match[0]) for match in SRT_BLOCK.finditer(text)) == text
    assert [int(block[0]) for block in blocks] == list(range(1, len(blocks) + 1))
    cues = make_cues(transcript)
    for block, cue in zip(blocks, cues, strict=True):
        start, end = (
            ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 1000 + int(ms)
            for hours, minutes, seconds, ms in (block[1:5], block[5:9])
        )
        assert (start, end) == (cue.start, cue.end)
        assert start < end
    back = round_trip("srt", transcript).segments
    assert [(round(each.start * 1000), round(each.end * 1000), each.text) for each in back] == [
        (cue.start, cue.end, without_markup(cue.text)) for cue in cues
    ]


@quick
@given(transcripts())
def test_vtt_is_escaped_ordered_and_reads_back(round_trip: RoundTrip, transcript: Transcript) -> None:
    text = file_text("vtt", transcript)
    assert text.startswith("WEBVTT\n")
    for block in text.split("\n\n")[1:]:
        timing, payload = block.removesuffix("\n").split("\n")
        assert re.fullmatch(r"\d\d+:\d\d:\d\d\.\d{3} --> \d\d+:\d\d:\d\d\.\d{3}", timing)
        assert "-->" not in payload
        assert re.fullmatch(r"(<v [^<>&]*(&(amp|lt|gt);[^<>&]*)*>)?([^<>&]|&(amp|lt|gt);)+", payload)
    cues = make_cues(transcript)
    assert [cue.start for cue in cues] == sorted(cue.start for cue in cues)
    back = round_trip("vtt", transcript).segments
    assert [(round(each.start * 1000), round(each.end * 1000), each.text) for each in back] == [
        (cue.start, cue.end, cue.text) for cue in cues
    ]
    assert [each.speaker for each in back] == [cue.speaker if cue.speaker.strip() else "" for cue in cues]


def test_times_are_rounded_once_and_never_to_a_sixtieth_second() -> None:
    segment = TranscriptSegment(start=59.9996, end=59.99961, text="a")
    transcript = Transcript(recording="a", audio=Path("a"), duration=60.0, segments=(segment,))
    assert file_text("srt", transcript) == "1\n00:01:00,000 --> 00:01:00,001\na\n"
    assert "00:01:00.000 --> 00:01:00.001" in file_text("vtt", transcript)


def test_foreign_vtt_is_read_without_its_notes_styles_and_tags(tmp_path: Path) -> None:
    path = tmp_path / "a.vtt"
    text = (
        "\ufeffWEBVTT - title\nKind: captions\n\nNOTE a\nb\n\nSTYLE\n::cue {}\n\n"
        "id 1\n00:01.000 --> 01:00:02.500 align:start\n<v.loud Ana>Yo &amp; <i>t\u00fa</i>\nsi\n"
    )
    path.write_bytes(text.replace("\n", "\r\n").encode())
    (segment,) = READERS["vtt"](path).segments
    assert (segment.start, segment.end, segment.speaker) == (1.0, 3602.5, "Ana")
    assert segment.text == "Yo & t\u00fa si"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ('{\\an8}<i>habari</i> <font color="#ff0">ya</font>', "habari ya"),
        ("<B>as</B>u<u\tx>buhi", "asubuhi"),
        ("<i\nx>habari", "habari"),
        ("<unk> a < b > c <s-> {an8} <in>", "<unk> a < b > c <s-> {an8} <in>"),
    ],
)
def test_the_markup_of_srt_is_no_text(tmp_path: Path, text: str, read: str) -> None:
    (tmp_path / "a.srt").write_text(f"1\n00:00:01,000 --> 00:00:02,000\n{text}\n")
    (segment,) = READERS["srt"](tmp_path / "a.srt").segments
    assert segment.text == read


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("srt", "1\n00:00:01,000 --> 00:00:02,000\none\n2\n00:00:03,000 --> 00:00:04,000\ntwo\nmore\n\n"
                "3\n00:00:05,000 --> 00:00:06,000\n4\n00:00:07,000 --> 00:00:08,000\n5\n"),
        ("vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\none\n00:03.000 --> 00:04.000\ntwo\n \nmore\n\n"
                "00:05.000 --> 00:06.000\n00:07.000 --> 00:08.000\n5\n"),
    ],
)  # fmt: skip
def test_a_cue_begins_at_its_times_without_a_blank_line(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / f"a.{name}"
    path.write_text(text)
    segments = READERS[name](path).segments
    assert [(each.start, each.text.split()) for each in segments] == [
        (1.0, ["one"]), (3.0, ["two", "more"]), (5.0, []), (7.0, ["5"]),
    ]  # fmt: skip
    assert most_lines(path) == 2


def test_captions_that_roll_are_read_once(tmp_path: Path) -> None:
    """As YouTube writes those it makes itself, a line of one word and a word said twice among them."""
    line = "yo<00:00:00.500><c> &amp;</c><00:00:01.000><c> t\u00fa</c>"
    cues = {
        "00:00.000 --> 00:02.000 align:start position:0%": (" ", line),
        "00:02.000 --> 00:02.010 align:start position:0%": ("yo &amp; t\u00fa", " "),
        "00:02.010 --> 00:04.000 align:start position:0%": ("yo &amp; t\u00fa", "no"),
        "00:04.000 --> 00:04.010 align:start position:0%": ("no", " "),
        "00:04.010 --> 00:05.000 align:start position:0%": ("no", "no"),
        "00:09.000 --> 00:10.000 align:start position:0%": (" ", "no"),
    }  # fmt: skip
    blocks = ["\n".join([times, *lines]) for times, lines in cues.items()]
    path = tmp_path / "a.vtt"
    path.write_text("\n\n".join(["WEBVTT\nKind: captions\nLanguage: es", *blocks]) + "\n")
    assert [(each.start, each.text) for each in READERS["vtt"](path).segments] == [
        (0.0, "yo & t\u00fa"), (2.01, "no"), (4.01, "no"), (9.0, "no"),
    ]  # fmt: skip
    assert most_lines(path) == 1


@pytest.mark.parametrize("header", ["WEBVTT\n", "WEBVTT - title\nKind: captions\n", "WEBVTT\nid 1\n"])
def test_a_cue_may_follow_the_header_of_vtt_at_once(tmp_path: Path, header: str) -> None:
    cues = "00:01.000 --> 00:02.000\none\nmore\n\n00:03.000 --> 00:04.000\ntwo\n"
    (tmp_path / "a.vtt").write_text(header + cues)
    assert [each.text for each in READERS["vtt"](tmp_path / "a.vtt").segments] == ["one more", "two"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("srt", "1\n00:00:01 --> 00:00:02\na\n", "line 1: no times"),
        ("vtt", "00:01.000 --> 00:02.000\na\n", "does not begin with WEBVTT"),
        ("vtt", "WEBVTT\n\na\n", "line 3: no times"),
        ("tsv", "1\t2\ta\n", "first line"),
        ("tsv", "start\tend\ttext\n1\t2.5\ta\n", "line 2"),
        ("ctm", "a 1 0.0 0.5\n", "line 1"),
        ("ctm", "a 1 0.0 nan b\n", "line 1"),
        ("ctm", "a 1 0 1 x\nb 1 0 1 x\n", "2 recordings"),
        ("stm", "a 1 s 0.0\n", "line 1"),
        ("stm", ";; comment\na 1 s zero 1 <o> b\n", "line 2"),
    ],
)
def test_a_malformed_file_is_refused_by_line(name: str, text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{name}"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        READERS[name](path)


def long_segment(words: list[str], seconds_each: float, pause_before: int = -1) -> Transcript:
    timed, now = [], 0.0
    for index, word in enumerate(words):
        now += 1.0 if index == pause_before else 0.0
        timed.append(Word(text=word, start=now, end=now + seconds_each, confidence=1.0))
        now += seconds_each
    segment = TranscriptSegment(start=0.0, end=now, text=", ".join(words), words=tuple(timed))
    return Transcript(recording="a", audio=Path("a"), duration=now, segments=(segment,))


@pytest.mark.parametrize(("count", "seconds_each"), [(100, 0.1), (30, 1.5), (400, 0.3), (12, 0.7)])
def test_cues_are_short_and_lose_nothing(count: int, seconds_each: float) -> None:
    words = [f"w{index}" for index in range(count)]
    cues = make_cues(long_segment(words, seconds_each))
    assert len(cues) > 1
    assert " ".join(cue.text for cue in cues) == ", ".join(words)  # the commas of the text are kept
    for cue in cues:
        assert len(cue.text) <= MAX_CUE_CHARACTERS
        assert cue.end - cue.start <= 1000 * MAX_CUE_SECONDS
    assert min(len(cue.text.split()) for cue in cues) > 1  # no word is left alone


def test_a_cue_ends_at_the_pause_near_the_middle() -> None:
    words = [f"word{index}" for index in range(10, 24)]
    cues = make_cues(long_segment(words, 0.1, pause_before=6))
    assert [cue.text.split(", ")[0] for cue in cues] == ["word10", "word16"]


def test_ctm_by_definition() -> None:
    assert file_text("ctm", plain_transcript()).split("\n") == [
        "talk 1 0.500 0.400 kunan 0.5000",
        "talk 1 1.000 0.500 puncha 1.0000",
        "talk 1 2.000 0.600 ari 0.2500",
        "",
    ]


def test_stm_by_definition() -> None:
    assert file_text("stm", plain_transcript()).split("\n") == [
        "talk 1 unknown 0.500 1.500 <NA> kunan puncha",
        "talk 1 unknown 2.000 2.600 <NA> ari",
        "",
    ]


@quick
@given(transcripts())
def test_ctm_has_six_columns_in_order_and_every_word(round_trip: RoundTrip, transcript: Transcript) -> None:
    rows = [line.split(" ") for line in file_text("ctm", transcript).split("\n")[:-1]]
    assert all(len(row) == 6 and all(row) and not row[0].startswith(";;") for row in rows)
    assert len({(row[0], row[1]) for row in rows}) <= 1
    assert [float(row[2]) for row in rows] == sorted(float(row[2]) for row in rows)
    assert all(float(row[3]) > 0 and 0 <= float(row[5]) <= 1 for row in rows)
    assert not {row[4] for row in rows} & {"@", "<ALT_BEGIN>", "<ALT>", "<ALT_END>"}
    expected = [
        token
        for segment in transcript.segments
        for text in ([word.text for word in segment.words] or [segment.text])
        for token in one_line(text).split()
    ]
    back = round_trip("ctm", transcript)
    words = [word for segment in back.segments for word in segment.words]
    assert sorted(word.text for word in words) == sorted(expected)
    assert [f"{word.start:.3f}" for word in words] == [row[2] for row in rows]


def test_a_word_with_spaces_shares_its_time_in_the_ctm() -> None:
    word = Word(text="ab c", start=1.0, end=1.3, confidence=0.5)
    segment = TranscriptSegment(start=1.0, end=1.3, text="ab c", words=(word,))
    transcript = Transcript(recording="my talk", audio=Path("a"), duration=2.0, segments=(segment,))
    assert file_text("ctm", transcript) == "my_talk 1 1.000 0.200 ab 0.5000\nmy_talk 1 1.200 0.100 c 0.5000\n"


@quick
@given(transcripts())
def test_stm_is_in_the_order_of_the_ctm_and_reads_back(round_trip: RoundTrip, transcript: Transcript) -> None:
    rows = [line.split(" ") for line in file_text("stm", transcript).split("\n")[:-1]]
    assert all(len(row) >= 6 and row[5] == "<NA>" and all(row) for row in rows)
    assert [float(row[3]) for row in rows] == sorted(float(row[3]) for row in rows)
    assert all(float(row[4]) > float(row[3]) for row in rows)
    expected = sorted(transcript.segments, key=lambda each: span_ms(each.start, each.end)[0])
    back = round_trip("stm", transcript).segments
    kept = [each for each in expected if " ".join(each.text.split()) != "IGNORE_TIME_SEGMENT_IN_SCORING"]
    assert [each.text for each in back] == [" ".join(one_line(each.text).split()) for each in kept]


def two_speakers(*names: str) -> Transcript:
    """Each says three words, the second soon after the first; then the first says one more."""
    said = [(names[0], 0.0, "a b c"), (names[1], 0.1, "x y z"), (names[0], 5.0, "d")]
    segments = [
        TranscriptSegment(
            start=start,
            end=start + 1.5,
            text=text,
            speaker=name,
            words=tuple(
                Word(text=word, start=start + 0.5 * place, end=start + 0.5 * place + 0.3, confidence=1.0)
                for place, word in enumerate(text.split())
            ),
        )
        for name, start, text in said
    ]
    return Transcript(recording="talk", audio=Path("talk"), duration=7.0, segments=tuple(segments))


@pytest.mark.parametrize("name", ["ctm", "stm"])
def test_each_channel_of_a_split_recording_is_one_of_ctm_and_stm(round_trip: RoundTrip, name: str) -> None:
    transcript = two_speakers("channel 1", "channel 2")
    text = file_text(name, transcript)
    assert [line.split()[1] for line in text.splitlines()] == list("1111222" if name == "ctm" else "112")
    back = round_trip(name, transcript)
    assert [each.text for each in back.segments] == ["a b c", "x y z", "d"]
    assert file_text(name, back) == text


def test_speakers_who_overlap_in_one_channel_are_told_of_in_the_ctm(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for names in (("channel 1", "channel 2"), ("Ana", "Ana")):
        file_text("ctm", two_speakers(*names))
    assert not capsys.readouterr().err
    tell_once.cache_clear()
    file_text("ctm", two_speakers("Ana", "Bea"))
    assert "talk: speakers overlap in one channel" in capsys.readouterr().err


def test_foreign_stm_and_ctm_are_read(tmp_path: Path) -> None:
    stm, ctm = tmp_path / "a.stm", tmp_path / "a.ctm"
    stm.write_text(
        ';; CATEGORY "0" "" ""\nf 1 inter_segment_gap 0 1 <o> \nf 1 s1 1.0 2.5 <o,f0,male> hola a\n'
        "f 1 s2 3 4 IGNORE_TIME_SEGMENT_IN_SCORING\nf A s2 4 5 no label\n"
        "f 1 excluded_region 5 6 <o,,unknown> ignore_time_segment_in_scoring\n"
    )
    assert [(each.start, each.speaker, each.text) for each in READERS["stm"](stm).segments] == [
        (1.0, "s1", "hola a"),
        (4.0, "s2", "no label"),
    ]
    ctm.write_text(";; comment\nf A 0.11 0.22 hola\nf A 0.40 0.10 a 0.5\n")
    (segment,) = READERS["ctm"](ctm).segments
    assert [(word.text, word.start, word.end, word.confidence) for word in segment.words] == [
        ("hola", 0.11, 0.33, 1.0),
        ("a", 0.4, 0.5, 0.5),
    ]


@pytest.mark.parametrize(
    ("text", "translation"),
    [
        ("กรุงเทพมหานครเป็นเมืองหลวงที่มีผู้คนมาก" * 6, ""),
        ("老师跑到房子里去了" * 20, ""),
        ("သူသည်အိမ်သို့သွားခဲ့သည်။" * 9, "他回家了。" * 9),
        ("short ones and " + "ខ្ញុំទៅផ្ទះ" * 14, ""),
    ],
)
def test_a_word_of_a_writing_without_spaces_is_cut_between_letters(text: str, translation: str) -> None:
    long = text.split()[-1]
    words = [
        Word(text=word, start=0.1 * at, end=0.1 * (at + 1), confidence=1.0)
        for at, word in enumerate(text.split())
    ]
    words[-1] = Word(text=long, start=words[-1].start, end=28.0, confidence=1.0)
    segment = TranscriptSegment(start=0.0, end=28.0, text=text, words=tuple(words), translation=translation)
    cues = make_cues(Transcript(recording="a", audio=Path("a"), duration=28.0, segments=(segment,)))
    assert "".join(cue.text for cue in cues).replace(" ", "") == text.replace(" ", "")
    assert "".join(cue.translation for cue in cues) == translation
    assert [cue.end for cue in cues[:-1]] == [cue.start for cue in cues[1:]]
    for cue in cues:
        assert len(cue.text) <= MAX_CUE_CHARACTERS
        assert cue.end - cue.start <= 1000 * MAX_CUE_SECONDS
        assert unicodedata.category(cue.text[0])[0] == "L"


def test_a_long_word_of_another_writing_is_one_cue() -> None:
    word = Word(text="a" * 90, start=0.0, end=9.0, confidence=1.0)
    segment = TranscriptSegment(start=0.0, end=9.0, text=f"{word.text} - ", words=(word,))
    assert len(make_cues(Transcript(recording="a", audio=Path("a"), duration=9.0, segments=(segment,)))) == 1


def test_a_vtt_cue_in_which_several_speak_has_no_speaker(tmp_path: Path) -> None:
    cues = ["<v Ana>Hola</v>\n<v Bea>sí</v>", "<v Ana>una</v>\n<v.loud Ana>voz</v>"]
    blocks = [f"00:0{place}.000 --> 00:0{place + 1}.000\n{cue}\n" for place, cue in enumerate(cues)]
    (tmp_path / "a.vtt").write_text("WEBVTT\n\n" + "\n".join(blocks), encoding="utf-8")
    segments = READERS["vtt"](tmp_path / "a.vtt").segments
    assert [(each.speaker, each.text) for each in segments] == [("", "Hola sí"), ("Ana", "una voz")]

"""Transcripts that carry translations: kept where a format has a place for them, shown in all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from eaf_check import check_eaf
from format_cases import (
    TIMES,
    file_text,
    plain_transcript,
    transcripts,
    translated_transcript,
    without_markup,
)
from hypothesis import assume, given, settings, strategies
from praatio import textgrid as praatio_textgrid

from asr.cli.transcribe import _print
from asr.formats import FORMAT_NAMES, READERS
from asr.formats.clean import one_line, span_ms
from asr.formats.cues import make_cues
from asr.formats.eaf import read_eaf
from asr.formats.eaf.insert import with_tiers
from asr.formats.layout import lay_out
from asr.formats.textgrid import read_textgrid
from asr.transcript import Transcript, TranscriptSegment, Word
from lm.errors import InputError

quick = settings(max_examples=30, deadline=None)


@pytest.fixture(scope="module")
def round_trip(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Transcript], Transcript]:
    folder = tmp_path_factory.mktemp("translations")

    def write_and_read(name: str, transcript: Transcript) -> Transcript:
        path = folder / f"talk.{name}"
        path.write_bytes(file_text(name, transcript).encode())
        return READERS[name](path)

    return write_and_read


RoundTrip = Callable[[str, Transcript], Transcript]
Utterance = tuple[int, int, str, str, str]


def utterances_laid_out(transcript: Transcript) -> list[Utterance]:
    """Start, end, text, translation and speaker of every utterance as tiers hold them."""
    return sorted(
        (box.start, box.end, box.text, box.translation, boxes.speaker)
        for boxes in lay_out(transcript).values()
        for box in boxes
    )


def utterances_read(transcript: Transcript) -> list[Utterance]:
    return sorted(
        (round(each.start * 1000), round(each.end * 1000), each.text, each.translation, each.speaker)
        for each in transcript.segments
    )


# --- kept ---------------------------------------------------------------------------------------


@quick
@given(transcripts(translated=True))
def test_json_reads_translations_back_equal(round_trip: RoundTrip, transcript: Transcript) -> None:
    assert round_trip("json", transcript) == transcript


def test_json_from_before_translations_is_read(tmp_path: Path) -> None:
    members = json.loads(file_text("json", plain_transcript()))
    assert members.pop("translation_language") == ""
    assert [segment.pop("translation") for segment in members["segments"]] == ["", ""]
    path = tmp_path / "talk.json"
    path.write_text(json.dumps(members))
    assert READERS["json"](path) == plain_transcript()
    path.write_text(json.dumps(members | {"translation_language": None}))
    with pytest.raises(InputError, match="'translation_language' is not a text"):
        READERS["json"](path)


@quick
@given(transcripts(translated=True))
def test_an_eaf_with_translations_is_valid_and_reads_back(
    round_trip: RoundTrip, transcript: Transcript
) -> None:
    check_eaf(file_text("eaf", transcript).encode())
    back = round_trip("eaf", transcript)
    assert utterances_read(back) == utterances_laid_out(transcript)
    assert back.translation_language == transcript.translation_language


def test_translations_are_associated_with_their_utterances_in_elan() -> None:
    root = check_eaf(file_text("eaf", translated_transcript()).encode())
    assert root.xpath("//TIER/@TIER_ID") == [
        "loquela-utterance",
        "loquela-translation",
        "loquela-utterance-confidence",
        "loquela-word",
        "loquela-word-confidence",
    ]
    (tier,) = root.xpath("//TIER[@TIER_ID='loquela-translation']")
    assert (tier.get("PARENT_REF"), tier.get("LANG_REF")) == ("loquela-utterance", "spa_Latn")
    (linguistic_type,) = root.xpath("//LINGUISTIC_TYPE[@LINGUISTIC_TYPE_ID='loquela-translation']")
    assert linguistic_type.get("CONSTRAINTS") == "Symbolic_Association"
    assert tier.xpath(".//ANNOTATION_VALUE/text()") == ["hoy d\u00eda", "s\u00ed", "hasta ma\u00f1ana"]
    assert (
        tier.xpath(".//@ANNOTATION_REF")
        == root.xpath("//TIER[@TIER_ID='loquela-utterance']//@ANNOTATION_ID")
        == ["a1", "a2", "a3"]
    )
    assert root.xpath("//LANGUAGE/@LANG_ID") == ["qu-ec", "spa_Latn"]


def test_an_utterance_without_translation_has_no_annotation_for_one() -> None:
    first, second, third = translated_transcript().segments
    some = replace(translated_transcript(), segments=(first, replace(second, translation=""), third))
    root = check_eaf(file_text("eaf", some).encode())
    assert root.xpath("//TIER[@TIER_ID='loquela-translation']//@ANNOTATION_REF") == ["a1", "a3"]


def test_one_language_is_declared_once_in_elan() -> None:
    same = replace(translated_transcript(), translation_language="qu-ec")
    root = check_eaf(file_text("eaf", same).encode())
    assert root.xpath("//LANGUAGE/@LANG_ID") == ["qu-ec"]


def test_translations_added_to_a_linguists_file_never_clash(tmp_path: Path) -> None:
    theirs = file_text("eaf", plain_transcript()).replace("loquela-word", "loquela-translation")
    once = with_tiers(theirs.encode(), translated_transcript(), Path("a.eaf"))
    twice = with_tiers(once, translated_transcript(), Path("a.eaf"))
    root = check_eaf(twice)
    names = [name for name in root.xpath("//TIER/@TIER_ID") if "translation" in name]
    assert names == [
        "loquela-translation",
        "loquela-translation-confidence",
        "loquela-translation-2",
        "loquela-translation-3",
    ]
    # their type of that name is for another kind of tier
    assert set(root.xpath("//TIER[starts-with(@TIER_ID, 'loquela-translation-')]/@LINGUISTIC_TYPE_REF")) == {
        "loquela-confidence",
        "loquela-translation-2",
    }
    path = tmp_path / "a.eaf"
    path.write_bytes(twice)
    tier = read_eaf(path).tier("loquela-translation-3")
    assert [each.value for each in tier.annotations] == ["hoy d\u00eda", "s\u00ed", "hasta ma\u00f1ana"]
    assert tier.parent == "loquela-utterance-3"


def test_a_tier_of_translations_does_not_renumber_a_transcript_that_has_none() -> None:
    theirs = with_tiers(file_text("eaf", plain_transcript()).encode(), translated_transcript(), Path("a.eaf"))
    theirs = theirs.replace(b"loquela-utterance", b"text").replace(b"loquela-word", b"word")
    after = check_eaf(with_tiers(theirs, plain_transcript(), Path("a.eaf")))
    assert "loquela-utterance" in after.xpath("//TIER/@TIER_ID")


def test_translations_added_to_a_linguists_file_read_back(tmp_path: Path) -> None:
    theirs = file_text("eaf", plain_transcript()).replace("loquela-", "their-")
    path = tmp_path / "a.eaf"
    path.write_bytes(with_tiers(theirs.encode(), translated_transcript(), path))
    assert READERS["eaf"](path).segments == translated_transcript().segments


@quick
@given(transcripts(translated=True))
def test_a_textgrid_with_translations_reads_back_and_praatio_reads_the_same(
    round_trip: RoundTrip, tmp_path_factory: pytest.TempPathFactory, transcript: Transcript
) -> None:
    expected = [each[:4] for each in utterances_laid_out(transcript) if each[2] or each[3]]
    # Whose a lane is does not always show where utterances are of no length or without text.
    assert [each[:4] for each in utterances_read(round_trip("TextGrid", transcript))] == expected
    path = tmp_path_factory.getbasetemp() / "translated.TextGrid"
    path.write_bytes(file_text("TextGrid", transcript).encode())
    theirs = praatio_textgrid.openTextgrid(str(path), includeEmptyIntervals=True, reportingMode="error")
    ours = read_textgrid(path)
    assert [tier.name for tier in ours.tiers] == list(theirs.tierNames)
    spans: dict[str, list[tuple[float, float]]] = {}
    for tier in ours.tiers:
        # praatio strips labels
        assert [(each.start, each.end, each.text.strip()) for each in tier.intervals] == [
            (each.start, each.end, each.label.strip()) for each in theirs.getTier(tier.name).entries
        ]
        spans[tier.name] = [(each.start, each.end) for each in tier.intervals]
    for name in spans:
        if name.startswith("loquela-translation"):
            assert spans[name] == spans[name.replace("translation", "utterance", 1)]


def test_a_translation_stays_with_its_utterance_when_a_boundary_was_moved(tmp_path: Path) -> None:
    text = file_text("TextGrid", translated_transcript())
    before, tier, after = text.partition("loquela-translation")
    path = tmp_path / "a.TextGrid"
    path.write_text(before.replace("0.500", "0.625") + tier + after)
    first, *_ = READERS["TextGrid"](path).segments
    assert (first.start, first.text, first.translation) == (0.625, "kunan puncha", "hoy d\u00eda")


@quick
@given(transcripts(translated=True))
def test_tsv_has_a_fourth_column_for_translations_and_reads_back(
    round_trip: RoundTrip, transcript: Transcript
) -> None:
    texts = [(one_line(each.text), one_line(each.translation)) for each in transcript.segments]
    header, *rows, end = file_text("tsv", transcript).split("\n")
    assert end == ""
    translated = any(translation for _, translation in texts)
    assert header == "start\tend\ttext" + ("\ttranslation" if translated else "")
    assert all(row.count("\t") == header.count("\t") for row in rows)
    assert [(each.text, each.translation) for each in round_trip("tsv", transcript).segments] == [
        (text or translation, translation) for text, translation in texts
    ]


@pytest.mark.parametrize("row", ["1\t2\ta", "1\t2\ta\tb\tc", "1\tx\ta\tb"])
def test_a_row_that_does_not_fit_the_header_of_a_translated_tsv_is_refused(row: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text(f"start\tend\ttext\ttranslation\n{row}\n")
    with pytest.raises(InputError, match=r"line 2.*start and end in ms and text and translation"):
        READERS["tsv"](path)


def test_tsv_keeps_a_translation_that_is_a_no_break_space(round_trip: RoundTrip) -> None:
    first, *_ = translated_transcript().segments
    transcript = replace(translated_transcript(), segments=(replace(first, translation="\u00a0"),))
    assert file_text("tsv", transcript).split("\n")[1].endswith("\t\u00a0")
    assert round_trip("tsv", transcript).segments[0].translation == "\u00a0"


@quick
@given(transcripts(translated=True))
def test_txt_has_text_tab_translation_or_translations_alone(
    round_trip: RoundTrip, transcript: Transcript
) -> None:
    pairs = [(one_line(each.text), one_line(each.translation)) for each in transcript.segments]
    pairs = [pair for pair in pairs if pair[0].strip() or pair[1].strip()]
    lines = file_text("txt", transcript).split("\n")
    assert lines.pop() == ""
    assert all(line.strip() for line in lines)
    if not all(any(part.strip() for part in column) for column in zip(*pairs, strict=True)):
        assert lines == [text if text.strip() else translation for text, translation in pairs]
        return
    assert lines == [f"{text}\t{translation}" for text, translation in pairs]
    assert [(each.text, each.translation) for each in round_trip("txt", transcript).segments] == pairs


def test_a_txt_of_others_with_several_tabs_is_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a\tb\tc\n")
    (segment,) = READERS["txt"](path).segments
    assert (segment.text, segment.translation) == ("a b c", "")


# --- shown --------------------------------------------------------------------------------------


def letters(*texts: str) -> Counter[str]:
    """What is in the texts apart from spaces."""
    return Counter("".join("".join(text.split()) for text in texts))


@quick
@given(transcripts(translated=True))
def test_cues_lose_neither_text_nor_translation_and_have_no_empty_line(transcript: Transcript) -> None:
    without = replace(
        transcript, segments=tuple(replace(each, translation="") for each in transcript.segments)
    )
    cues = make_cues(transcript)
    shown = letters(*(line for cue in cues for line in cue.lines))
    assert shown == letters(*(cue.text for cue in make_cues(without))) + letters(
        *(one_line(each.translation) for each in transcript.segments)
    )
    assert all(line.strip() and "\n" not in line for cue in cues for line in cue.lines)
    assert [cue.start for cue in cues] == sorted(cue.start for cue in cues)


@quick
@given(transcripts(translated=True))
def test_bilingual_subtitles_read_back_with_their_lines_joined(
    round_trip: RoundTrip, transcript: Transcript
) -> None:
    assume(TIMES not in (line for cue in make_cues(transcript) for line in cue.lines))
    for name, left in (("srt", without_markup), ("vtt", one_line)):
        text = file_text(name, transcript)
        assert "\n\n\n" not in text
        assert [
            (*span_ms(each.start, each.end), each.text) for each in round_trip(name, transcript).segments
        ] == [(cue.start, cue.end, left(" ".join(cue.lines))) for cue in make_cues(transcript)]


def test_bilingual_cues_by_definition() -> None:
    first, second, third = translated_transcript().segments
    marked = replace(
        translated_transcript(), segments=(replace(first, translation="a --> <b>"), second, third)
    )
    assert file_text("srt", marked).split("\n\n") == [
        "1\n00:00:00,500 --> 00:00:01,500\nkunan puncha\na --> <b>",
        "2\n00:00:02,000 --> 00:00:02,600\nari\ns\u00ed",
        "3\n00:00:03,000 --> 00:00:04,000\nhasta ma\u00f1ana\n",
    ]
    assert "\nkunan puncha\na --&gt; &lt;b&gt;\n\n" in file_text("vtt", marked)


def long_utterance(counts: list[int], translation: str) -> Transcript:
    """One segment that is cut at its pauses into cues of these numbers of words, four letters each."""
    words, now = [], 0.0
    for count in counts:
        for _ in range(count):
            words.append(Word(text="word", start=now, end=now + 0.3, confidence=1.0))
            now += 0.3
        now += 2.0
    segment = TranscriptSegment(
        start=0.0,
        end=now,
        text=" ".join(word.text for word in words),
        words=tuple(words),
        translation=translation,
    )
    return Transcript(recording="a", audio=Path("a"), duration=now, segments=(segment,))


def test_a_translation_is_divided_as_its_transcript_is() -> None:
    cues = make_cues(long_utterance([12, 8], " ".join(f"w{index:02}" for index in range(10))))
    assert [(len(cue.text.split()), cue.translation) for cue in cues] == [
        (12, "w00 w01 w02 w03 w04 w05"),
        (8, "w06 w07 w08 w09"),
    ]


@quick
@given(
    strategies.lists(strategies.integers(8, 14), min_size=1, max_size=8),
    strategies.lists(strategies.text("abcd", min_size=1, max_size=40), min_size=1, max_size=40),
)
def test_translated_words_stay_in_order_and_no_second_line_is_empty_where_words_suffice(
    counts: list[int], words: list[str]
) -> None:
    transcript = long_utterance(counts, " ".join(words))
    cues = make_cues(transcript)
    parts = [cue.translation for cue in cues if cue.translation]
    assert " ".join(parts) == " ".join(words)
    assert len(words) < len(cues) or len(parts) == len(cues)


@pytest.mark.parametrize("counts", [[8, 14], [14, 8, 11], [9, 9, 14, 10, 12, 8]])
def test_each_part_ends_at_the_word_nearest_to_its_share(counts: list[int]) -> None:
    words = ["abcdef"[: 3 + index * 7 % 4] for index in range(80)]
    cues = make_cues(long_utterance(counts, " ".join(words)))
    assert len(cues) > 1
    whole = sum(len(cue.text) for cue in cues)
    share, end = 0, -1
    for cue in cues:
        share += len(cue.text)
        end += len(cue.translation) + 1
        assert abs(end - share / whole * len(" ".join(words))) <= 3.5  # half a word with its space


def test_chinese_is_divided_without_spaces() -> None:
    cues = make_cues(
        long_utterance(
            [10, 10, 10], "\u4eca\u5929\u662f\u597d\u65e5\u5b50\u3002\u300c\u660e\u5929\u89c1\u3002\u300d"
        )
    )
    assert [cue.translation for cue in cues] == [
        "\u4eca\u5929\u662f\u597d",
        "\u65e5\u5b50\u3002\u300c\u660e",
        "\u5929\u89c1\u3002\u300d",
    ]


def test_translations_without_a_transcript_are_the_text_of_every_format() -> None:
    only = tuple(replace(each, text="", words=()) for each in translated_transcript().segments)
    transcript = replace(translated_transcript(), segments=only)
    assert file_text("txt", transcript) == "hoy d\u00eda\ns\u00ed\nhasta ma\u00f1ana\n"
    assert file_text("srt", transcript).split("\n")[2::4] == ["hoy d\u00eda", "s\u00ed", "hasta ma\u00f1ana"]
    assert "00:00:02.000 --> 00:00:02.600\ns\u00ed\n" in file_text("vtt", transcript)
    assert file_text("tsv", transcript).split("\n")[1] == "500\t1500\thoy d\u00eda\thoy d\u00eda"
    assert file_text("ctm", transcript) == ""


def test_ctm_and_stm_hold_transcripts_alone() -> None:
    plain, translated = plain_transcript(), translated_transcript()
    same = replace(translated, segments=translated.segments[:2])
    for name in ("ctm", "stm"):
        assert file_text(name, same) == file_text(name, plain)


def test_without_a_translation_nothing_is_written_of_one() -> None:
    for name in FORMAT_NAMES:
        if name != "json":
            assert "translation" not in file_text(name, plain_transcript()).lower()


def test_a_json_line_has_the_translation_after_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    _print(translated_transcript(), quiet=False)
    _print(plain_transcript(), quiet=False)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert list(rows[0]) == ["recording", "start", "end", "text", "translation", "confidence"]
    assert [row.get("translation") for row in rows] == [
        "hoy d\u00eda",
        "s\u00ed",
        "hasta ma\u00f1ana",
        None,
        None,
    ]

"""ELAN files: ours valid and read back, those of others understood, hostile ones refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from eaf_check import check_eaf
from format_cases import file_text, plain_transcript, transcripts
from hypothesis import given, settings
from lxml import etree

from asr.formats import read_transcript, write_transcript
from asr.formats.clean import one_line
from asr.formats.eaf import EafAnnotation, EafDocument, EafMedia, find_media, is_own, read_eaf
from asr.formats.layout import lay_out
from asr.transcript import Transcript, TranscriptSegment
from lm.errors import InputError


@settings(max_examples=30, deadline=None)
@given(transcripts())
def test_an_eaf_is_valid_and_reads_back(
    tmp_path_factory: pytest.TempPathFactory, transcript: Transcript
) -> None:
    path = tmp_path_factory.getbasetemp() / "a.eaf"
    path.write_bytes(file_text("eaf", transcript).encode())
    check_eaf(path.read_bytes())
    expected = sorted(
        (
            box.start,
            box.end,
            box.text,
            boxes.speaker,
            tuple((w.start, w.end, w.text) for w in box.words),
        )
        for boxes in lay_out(transcript).values()
        for box in boxes
    )
    assert is_own(read_eaf(path))
    back = read_transcript(path)
    found = [
        (
            round(each.start * 1000),
            round(each.end * 1000),
            each.text,
            each.speaker,
            tuple((round(word.start * 1000), round(word.end * 1000), word.text) for word in each.words),
        )
        for each in back.segments
    ]
    assert sorted(found) == expected
    assert back.language == one_line(transcript.language)
    assert back.recording == one_line(transcript.recording)
    assert back.details == {
        one_line(f"x{key}")[1:]: one_line(value) for key, value in transcript.details.items()
    }


def test_words_confidences_and_facts_come_back(tmp_path: Path) -> None:
    original = plain_transcript()
    back = read_transcript(write_transcript(original, tmp_path / "talk.EAF"))
    assert back.segments == original.segments
    assert (back.duration, back.details, back.language) == (5.0, original.details, "qu-ec")


def test_tiers_depend_as_elan_shows_them() -> None:
    root = check_eaf(file_text("eaf", plain_transcript()).encode())
    types = {
        each.get("LINGUISTIC_TYPE_ID"): each.get("CONSTRAINTS") for each in root.iterfind("LINGUISTIC_TYPE")
    }
    assert [
        (tier.get("TIER_ID"), tier.get("PARENT_REF"), types[tier.get("LINGUISTIC_TYPE_REF")])
        for tier in root.iterfind("TIER")
    ] == [
        ("loquela-utterance", None, None),
        ("loquela-utterance-confidence", "loquela-utterance", "Symbolic_Association"),
        ("loquela-word", "loquela-utterance", "Included_In"),
        ("loquela-word-confidence", "loquela-word", "Symbolic_Association"),
    ]
    confidences = root.xpath("//TIER[@TIER_ID='loquela-word-confidence']//ANNOTATION_VALUE/text()")
    assert confidences == ["0.500", "1.000", "0.250"]


def test_speakers_have_tiers_of_their_own_and_may_overlap() -> None:
    said = tuple(
        TranscriptSegment(start=0.0, end=2.0, text="a", speaker=speaker) for speaker in ("Ana & co", "Luz")
    )
    transcript = Transcript(recording="a", audio=Path("a.wav"), duration=2.0, segments=said)
    root = check_eaf(file_text("eaf", transcript).encode())
    assert root.xpath("//TIER/@PARTICIPANT") == ["Ana & co"] * 4 + ["Luz"] * 4
    assert "loquela-word@Ana & co" in root.xpath("//TIER/@TIER_ID")


def test_a_file_is_ours_as_long_as_it_says_what_we_wrote(tmp_path: Path) -> None:
    said = (TranscriptSegment(start=0.0, end=2.0, text="a", speaker="Ana", translation="b"),)
    text = file_text("eaf", replace(plain_transcript(), segments=said))
    path = tmp_path / "a.eaf"

    def is_ours(*changes: tuple[str, str]) -> bool:
        changed = text
        for old, new in changes:
            assert old in changed
            changed = changed.replace(old, new)
        path.write_text(changed, encoding="utf-8")
        return is_own(read_eaf(path))

    # ELAN saves without a change: another author, a property more, other numbers, indents and orders.
    saved = etree.fromstring(text.encode())
    saved.set("AUTHOR", "Luz")
    etree.SubElement(saved.find("HEADER"), "PROPERTY", NAME="URN").text = "urn:nl-mpi-tools-elan-eaf:1"
    tiers = saved.findall("TIER")
    saved.insert(saved.index(tiers[0]), tiers[-1])
    moved = etree.tostring(saved, encoding="unicode").replace('"ts', '"ts9').replace("    ", "")
    assert is_ours()
    assert is_ours((text, moved))
    # and with one.
    assert not is_ours((">a<", ">á<"))
    assert not is_ours((">b<", "><"))
    assert not is_ours(('TIME_VALUE="2000"', 'TIME_VALUE="1990"'))
    assert not is_ours(('"loquela-utterance"', '"text"'))
    assert not is_ours(('PARTICIPANT="Ana"', 'PARTICIPANT="Luz"'))
    assert not is_ours(("</TIME_ORDER>", '</TIME_ORDER><TIER LINGUISTIC_TYPE_REF="x" TIER_ID="notes"/>'))
    # Versions before this one wrote no checksum.
    assert not is_ours(("loquela:checksum", "x"))


@pytest.mark.parametrize(
    ("name", "mime"),
    [
        ("a b.wav", "audio/x-wav"),
        ("\u00f1 & '\"<x>.MP3", "audio/mpeg"),
        ("50%20.ogg", "audio/ogg"),
        ("v.mp4", "video/mp4"),
        ("x.bin", "unknown"),
    ],
)
def test_the_recording_is_linked_and_found(name: str, mime: str, tmp_path: Path) -> None:
    audio = tmp_path / "sound" / name
    audio.parent.mkdir()
    audio.write_bytes(b"")
    transcript = Transcript(recording="a", audio=audio, duration=1.0)
    path = write_transcript(transcript, tmp_path / "texts" / "a.eaf")
    document = read_eaf(path)
    (media,) = document.media
    assert media == EafMedia(url=f"file://{audio}", relative_url=f"../sound/{name}")
    assert f' MIME_TYPE="{mime}" ' in path.read_text(encoding="utf-8")
    assert find_media(document, path) == (
        None if mime == "unknown" else tmp_path / "texts" / ".." / "sound" / name
    )


def touched(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def document_naming(relative: str, url: str = "file:///Users/x/y.wav") -> EafDocument:
    return EafDocument(path=Path("a.eaf"), tiers=(), media=(EafMedia(url=url, relative_url=relative),))


def test_of_a_film_and_its_sound_the_sound_is_taken(tmp_path: Path) -> None:
    film, sound = touched(tmp_path / "talk.mp4"), touched(tmp_path / "talk.wav")
    media = tuple(EafMedia(url="", relative_url=f"./{path.name}") for path in (film, sound))
    document = EafDocument(path=tmp_path / "talk.eaf", tiers=(), media=media)
    assert find_media(document, document.path) == sound
    sound.unlink()
    assert find_media(document, document.path) == film


def test_media_is_looked_for_in_the_stated_order(tmp_path: Path) -> None:
    eaf = tmp_path / "talk.eaf"
    document = document_naming("../my%20audio/x.wav", "file:///C:/Users/Me/My%20Rec.mp4")
    assert find_media(document, eaf) is None
    by_eaf_stem = touched(tmp_path / "talk.OGG")
    touched(tmp_path / "talk.mp4")
    touched(tmp_path / "talk.txt")
    assert find_media(document, eaf) == by_eaf_stem
    by_media_stem = touched(tmp_path / "My Rec.flac")
    assert find_media(document, eaf) == by_media_stem
    by_name = touched(tmp_path / "My Rec.mp4")
    assert find_media(document, eaf) == by_name
    elsewhere = touched(tmp_path / "elsewhere" / "My Rec.mp4")
    assert find_media(document, eaf, elsewhere.parent) == elsewhere
    touched(tmp_path.parent / "my audio" / "x.wav")
    assert find_media(document, eaf) == tmp_path / "../my audio/x.wav"


def test_hostile_media_names_find_nothing(tmp_path: Path) -> None:
    for name in ("\0.wav", "x" * 5000 + ".wav", "../../../../../../../etc/passwd", "", ".", "//"):
        assert find_media(document_naming(name, name), tmp_path / "talk.eaf") is None


FOREIGN = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="me" DATE="2020-01-01T00:00:00Z" FORMAT="2.7" VERSION="2.7">
<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds"><PROPERTY NAME="URN">u</PROPERTY></HEADER>
<TIME_ORDER>
<TIME_SLOT TIME_SLOT_ID="t1" TIME_VALUE="1000"/><TIME_SLOT TIME_SLOT_ID="t2"/>
<TIME_SLOT TIME_SLOT_ID="t3"/><TIME_SLOT TIME_SLOT_ID="t4" TIME_VALUE="4000"/>
<TIME_SLOT TIME_SLOT_ID="t5" TIME_VALUE="1000"/><TIME_SLOT TIME_SLOT_ID="t6" TIME_VALUE="4000"/>
</TIME_ORDER>
<TIER TIER_ID="text" LINGUISTIC_TYPE_REF="utt" PARTICIPANT="Ana" ANNOTATOR="Luz" LANG_REF="qxq">
<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="u1" TIME_SLOT_REF1="t5" TIME_SLOT_REF2="t6">
<ANNOTATION_VALUE>a<!-- no -->b &amp; c</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
<TIER TIER_ID="time" LINGUISTIC_TYPE_REF="ts" PARENT_REF="text">
<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="s1" TIME_SLOT_REF1="t1" TIME_SLOT_REF2="t2">
<ANNOTATION_VALUE>x</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="s2" TIME_SLOT_REF1="t2" TIME_SLOT_REF2="t3">
<ANNOTATION_VALUE/></ALIGNABLE_ANNOTATION></ANNOTATION>
<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="s3" TIME_SLOT_REF1="t3" TIME_SLOT_REF2="t4">
<ANNOTATION_VALUE>z</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
<TIER TIER_ID="gloss" LINGUISTIC_TYPE_REF="assoc" PARENT_REF="words">
<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="g2" ANNOTATION_REF="w2">
<ANNOTATION_VALUE>G2</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION></TIER>
<TIER TIER_ID="words" LINGUISTIC_TYPE_REF="sub" PARENT_REF="text">
<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="w2" ANNOTATION_REF="u1" PREVIOUS_ANNOTATION="w1">
<ANNOTATION_VALUE>w2</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="w3" ANNOTATION_REF="u1" PREVIOUS_ANNOTATION="w2">
<ANNOTATION_VALUE>w3</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="w1" ANNOTATION_REF="u1">
<ANNOTATION_VALUE>w1</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION></TIER>
<TIER TIER_ID="free" LINGUISTIC_TYPE_REF="assoc" PARENT_REF="text">
<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="f1" ANNOTATION_REF="u1">
<ANNOTATION_VALUE>libre</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION></TIER>
<LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="utt" TIME_ALIGNABLE="true"/>
<LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="ts" CONSTRAINTS="Time_Subdivision" TIME_ALIGNABLE="true"/>
<LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="sub" CONSTRAINTS="Symbolic_Subdivision" TIME_ALIGNABLE="false"/>
<LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="assoc" CONSTRAINTS="Symbolic_Association" TIME_ALIGNABLE="false"/>
</ANNOTATION_DOCUMENT>
"""


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "a.eaf"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_every_kind_of_dependent_tier_gets_times(written: Callable[[str], Path]) -> None:
    document = read_eaf(written(FOREIGN))
    text = document.tier("text")
    assert (text.participant, text.annotator, text.language) == ("Ana", "Luz", "qxq")
    assert text.annotations == (EafAnnotation(id="u1", start=1.0, end=4.0, value="ab & c"),)
    found = {
        tier.id: [
            (each.id, each.start, each.end, each.parent, each.interpolated) for each in tier.annotations
        ]
        for tier in document.tiers[1:]
    }
    assert found == {
        "time": [("s1", 1.0, 2.0, "u1", True), ("s2", 2.0, 3.0, "u1", True), ("s3", 3.0, 4.0, "u1", True)],
        "gloss": [("g2", 2.0, 3.0, "w2", True)],
        "words": [("w1", 1.0, 2.0, "u1", True), ("w2", 2.0, 3.0, "u1", True), ("w3", 3.0, 4.0, "u1", True)],
        "free": [("f1", 1.0, 4.0, "u1", False)],
    }
    assert document.properties == {"URN": "u"}


def test_frames_of_video_are_a_unit_of_time(written: Callable[[str], Path]) -> None:
    document = read_eaf(written(FOREIGN.replace('"milliseconds"', '"PAL-frames"')))
    assert document.tier("text").annotations[0].start == 40.0


def test_a_tier_that_is_not_there_suggests_the_nearest(written: Callable[[str], Path]) -> None:
    with pytest.raises(InputError, match=r"no tier 'word'\. Did you mean 'words'"):
        read_eaf(written(FOREIGN)).tier("word")


def test_an_eaf_of_others_is_not_taken_for_a_transcript(written: Callable[[str], Path]) -> None:
    with pytest.raises(
        InputError, match=r"no tier 'loquela-utterance'.*text, time.*corpus import.*loquela align"
    ):
        read_transcript(written(FOREIGN))


BOMB = (
    '<!DOCTYPE x [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
    + "]>"
)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</ANNOTATION_DOCUMENT>", "", "not whole XML"),
        (FOREIGN, "", "not whole XML"),
        ("ANNOTATION_DOCUMENT", "TRANSCRIPT", "begins with <TRANSCRIPT>"),
        ("?>", '?><!DOCTYPE x SYSTEM "http://example.org/x.dtd">', "DOCTYPE"),
        ("?>", '?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>', "DOCTYPE"),
        ("?>", "?>" + BOMB, "DOCTYPE"),
        ('ANNOTATION_REF="w2"', 'ANNOTATION_REF="w9"', "'g2' refers to 'w9'"),
        ('ANNOTATION_REF="w2"', 'ANNOTATION_REF="g2"', "1 annotations refer to each other in a circle"),
        ('ANNOTATION_ID="g2"', 'ANNOTATION_ID="w1"', "'w1' occurs twice"),
        ('TIME_SLOT_REF1="t5"', 'TIME_SLOT_REF1="t9"', "'t9', which is not there"),
        ('TIME_SLOT_REF1="t5"', "", "no TIME_SLOT_REF1"),
        ('TIME_VALUE="4000"', 'TIME_VALUE="-4"', "value '-4'"),
        ('TIME_VALUE="4000"', f'TIME_VALUE="{"9" * 6000}"', "whole milliseconds"),
        ('"milliseconds"', '"fortnights"', "TIME_UNITS is 'fortnights'"),
        ('TIER_ID="free"', 'TIER_ID="text"', "two tiers are named 'text'"),
        ('PARENT_REF="words"', 'PARENT_REF="none"', "depends on 'none'"),
    ],
)
def test_a_broken_or_hostile_eaf_is_refused(
    old: str, new: str, message: str, written: Callable[[str], Path]
) -> None:
    assert old in FOREIGN
    with pytest.raises(InputError, match=message) as error:
        read_eaf(written(FOREIGN.replace(old, new)))
    assert "\n" not in str(error.value)


def test_entities_are_never_expanded(written: Callable[[str], Path]) -> None:
    inside = BOMB + FOREIGN.partition("?>")[2].replace("ab", "&j;").replace('"Ana"', '"&j;"')
    with pytest.raises(InputError):
        read_eaf(written(FOREIGN.partition("?>")[0] + "?>" + inside))


def test_a_chain_of_five_thousand_dependents_is_no_recursion(written: Callable[[str], Path]) -> None:
    count = 5_000
    chain = "".join(
        f'<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="c{n}" ANNOTATION_REF="c{n - 1}"/></ANNOTATION>'
        for n in range(1, count)
    )
    first = '<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="c0" ANNOTATION_REF="u1"/></ANNOTATION>'
    tier = f'<TIER TIER_ID="deep" LINGUISTIC_TYPE_REF="assoc" PARENT_REF="text">{first}{chain}</TIER>'
    document = read_eaf(written(FOREIGN.replace("<LINGUISTIC_TYPE ", tier + "<LINGUISTIC_TYPE ", 1)))
    assert {(each.start, each.end) for each in document.tier("deep").annotations} == {(1.0, 4.0)}

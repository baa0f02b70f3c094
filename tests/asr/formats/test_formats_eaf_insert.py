"""A transcript added to a linguist's file: all that was there is there, unchanged, and the whole is valid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from eaf_check import check_eaf
from format_cases import plain_transcript, transcripts
from hypothesis import given, settings, strategies
from lxml import etree

from asr.formats.eaf import add_tiers, read_eaf, transcript_from_eaf
from asr.formats.eaf.insert import with_tiers
from asr.transcript import Transcript, TranscriptSegment
from lm.errors import InputError

OLD = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" DATE="2024-02-07T11:05:37-05:00"
    FORMAT="3.0" VERSION="3.0">
    <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
        <MEDIA_DESCRIPTOR MEDIA_URL="file:///Users/x/a b.mp4" MIME_TYPE="video/mp4"/>
        <PROPERTY NAME="lastUsedAnnotationId"> 30 </PROPERTY>
        <PROPERTY NAME="x>y">30</PROPERTY>
    </HEADER>
    <TIME_ORDER>
        <TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="700"/>
        <TIME_SLOT TIME_SLOT_ID="ts12"/>
        <!-- kept -->
        <TIME_SLOT
            TIME_SLOT_ID="ts3" TIME_VALUE="2100"/>
    </TIME_ORDER>
    <TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="default">
        <ANNOTATION>
            <ALIGNABLE_ANNOTATION ANNOTATION_ID="a7" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts12">
                <ANNOTATION_VALUE>ma\u00f1ana &amp; &#233; <![CDATA[<x>]]></ANNOTATION_VALUE>
            </ALIGNABLE_ANNOTATION>
        </ANNOTATION>
        <ANNOTATION>
            <ALIGNABLE_ANNOTATION ANNOTATION_ID="a31" TIME_SLOT_REF1="ts12" TIME_SLOT_REF2="ts3">
                <ANNOTATION_VALUE/>
            </ALIGNABLE_ANNOTATION>
        </ANNOTATION>
    </TIER>
    <LINGUISTIC_TYPE GRAPHIC_REFERENCES="false" LINGUISTIC_TYPE_ID="default-lt"/>
    <!-- and this -->
    <LOCALE LANGUAGE_CODE="en"/>
    <CONSTRAINT DESCRIPTION="1-1" STEREOTYPE="Symbolic_Association"/>
</ANNOTATION_DOCUMENT>
"""
BARE = """<ANNOTATION_DOCUMENT AUTHOR="" DATE="2024-02-07T11:05:37Z" FORMAT="3.0" VERSION="3.0">
<HEADER/><TIME_ORDER/></ANNOTATION_DOCUMENT>"""


def added_lines(old: bytes, new: bytes) -> list[str]:
    """The lines that are in the new file only; all others must be the old file, line for line."""
    counter = re.compile(r'("lastUsedAnnotationId">\s*)\d+')
    rest = counter.sub(r"\1", old.decode()).split("\n")
    added = []
    for line in counter.sub(r"\1", new.decode()).split("\n"):
        if rest and line == rest[0]:
            rest.pop(0)
        else:
            added.append(line)
    assert not rest
    return added


def check_added(old: bytes, new: bytes) -> None:
    """Taking whole elements of ours out of the new file gives the old one again."""
    fragment = etree.fromstring("<x>" + "\n".join(added_lines(old, new)) + "</x>")
    assert {each.tag for each in fragment} <= {"TIME_SLOT", "TIER", "LINGUISTIC_TYPE", "CONSTRAINT"}
    ids = {value for each in fragment for value in each.attrib.values()}
    assert not ids & {str(value) for value in etree.fromstring(old).xpath("//@TIER_ID | //@TIME_SLOT_ID")} - {
        "loquela-utterance",  # the parent of a first run, and so the name of its linguistic type
        "loquela-word",
        "loquela-translation",
    }


def canonical(data: bytes, ids: set[str]) -> dict[str, bytes]:
    """C14N of each element that carries one of the ids, and of the header but for its counter."""
    root = etree.fromstring(data)
    for each in root.xpath("//PROPERTY[@NAME='lastUsedAnnotationId']"):
        each.text = ""
    found = {"header": etree.tostring(root.find("HEADER"), method="c14n")}
    for element in root.iter(etree.Element):
        for name in ("TIER_ID", "TIME_SLOT_ID", "LINGUISTIC_TYPE_ID", "LANGUAGE_CODE", "STEREOTYPE"):
            if element.get(name) in ids:
                element.tail = None
                found[f"{name}={element.get(name)}"] = etree.tostring(element, method="c14n")
    return found


def ids_of(data: bytes) -> set[str]:
    return {
        str(value)
        for value in etree.fromstring(data).xpath(
            "//@TIER_ID | //@TIME_SLOT_ID | //@LINGUISTIC_TYPE_ID | //@LANGUAGE_CODE | //@STEREOTYPE"
        )
    }


def test_taking_ours_out_gives_the_old_bytes_again() -> None:
    new = with_tiers(OLD.encode(), plain_transcript(), Path("a.eaf"))
    check_added(OLD.encode(), new)
    assert b"> 41 <" in new
    assert len(added_lines(OLD.encode(), new)) == 2 * 5 + (2 + 2 + 3 + 3) * 5 + 4 * 2 + 3 + 1
    check_eaf(new)


@settings(max_examples=20, deadline=None)
@given(strategies.one_of(transcripts(), transcripts(translated=True)))
def test_whatever_is_added_the_old_elements_are_canonically_the_same(transcript: Transcript) -> None:
    old = OLD.encode()
    once = with_tiers(old, transcript, Path("a.eaf"))
    twice = with_tiers(once, transcript, Path("a.eaf"))
    for before, after in ((old, once), (once, twice), (old, twice)):
        ids = ids_of(before)
        assert canonical(after, ids) == canonical(before, ids)
        check_added(before, after)
        check_eaf(after)


@pytest.mark.parametrize(
    ("change", "encoding"),
    [
        (lambda text: text, "utf-8"),
        (lambda text: text, "utf-8-sig"),
        (lambda text: text.replace("UTF-8", "UTF-16"), "utf-16"),
        (lambda text: text.replace("UTF-8", "ISO-8859-1"), "latin-1"),
        (lambda text: text.replace("UTF-8", "windows-1252"), "cp1252"),
        (lambda text: text.replace("\n", "\r\n"), "utf-8"),
        (lambda text: text.replace("\n", " "), "utf-8"),
        (lambda text: text.replace("    ", "\t"), "utf-8"),
        (lambda text: re.sub(r"    <(CONSTRAINT|LINGUISTIC_TYPE|LOCALE).*\n", "", text), "utf-8"),
        (lambda text: re.sub(r"        <PROPERTY.*\n", "", text), "utf-8"),
    ],
    ids=[
        "plain",
        "mark",
        "utf-16",
        "latin-1",
        "cp1252",
        "crlf",
        "one line",
        "tabs",
        "no types",
        "no counter",
    ],
)
def test_files_of_every_make_keep_their_elements(change: object, encoding: str) -> None:
    assert callable(change)
    old = change(OLD).encode(encoding)
    new = with_tiers(old, plain_transcript(), Path("a.eaf"))
    assert canonical(new, ids_of(old)) == canonical(old, ids_of(old))
    assert new[:4] == old[:4]
    if "default-lt" in old.decode(encoding).rpartition("</TIER>")[2]:
        check_eaf(new)
    else:  # the linguist's own tier lacks its type here; ours must not
        assert {"loquela-utterance", "loquela-word"} <= ids_of(new)
    values = [each.text for each in etree.fromstring(new).iter("ANNOTATION_VALUE")]
    assert "kunan puncha" in values
    assert "ma\u00f1ana & \u00e9 <x>" in values


def test_letters_an_old_encoding_lacks_become_references() -> None:
    transcript = plain_transcript()
    old = OLD.replace("UTF-8", "ISO-8859-1").encode("latin-1")
    other = Transcript(
        recording="a",
        audio=transcript.audio,
        duration=5.0,
        segments=(type(transcript.segments[0])(start=0.0, end=1.0, text="\u0915\u094d\u0937 \U0001f33e"),),
    )
    new = with_tiers(old, other, Path("a.eaf"))
    assert "\u0915\u094d\u0937 \U0001f33e" in [
        each.text for each in etree.fromstring(new).iter("ANNOTATION_VALUE")
    ]


def test_an_empty_document_is_filled() -> None:
    new = with_tiers(BARE.encode(), plain_transcript(), Path("a.eaf"))
    root = check_eaf(new)
    assert len(root.findall("TIER")) == 4
    assert {each.get("STEREOTYPE") for each in root.iterfind("CONSTRAINT")} == {
        "Included_In",
        "Symbolic_Association",
    }
    nothing = Transcript(recording="a", audio=Path("a.wav"), duration=1.0)
    assert b"<TIME_ORDER/>" in with_tiers(BARE.encode(), nothing, Path("a.eaf"))


def test_running_twice_makes_numbered_tiers_and_reuses_types() -> None:
    twice = with_tiers(with_tiers(OLD.encode(), plain_transcript(), Path("a")), plain_transcript(), Path("a"))
    root = check_eaf(twice)
    assert root.xpath("//TIER/@TIER_ID")[1::2] == [
        "loquela-utterance",
        "loquela-word",
        "loquela-utterance-2",
        "loquela-word-2",
    ]
    assert root.xpath("//LINGUISTIC_TYPE/@LINGUISTIC_TYPE_ID") == [
        "default-lt",
        "loquela-utterance",
        "loquela-word",
        "loquela-confidence",
    ]
    last = max(int(each[1:]) for each in root.xpath("//@ANNOTATION_ID"))
    assert root.xpath("string(//PROPERTY[@NAME='lastUsedAnnotationId'])").strip() == str(last) == "51"


def test_a_type_of_the_same_name_but_another_meaning_is_left_alone() -> None:
    theirs = '<LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="loquela-word" TIME_ALIGNABLE="true"/>'
    old = OLD.replace("    <LOCALE", f"    {theirs}\n    <LOCALE")
    root = check_eaf(with_tiers(old.encode(), plain_transcript(), Path("a")))
    assert root.xpath("//TIER[@TIER_ID='loquela-word']/@LINGUISTIC_TYPE_REF") == ["loquela-word-2"]


def test_the_counter_is_believed_when_it_is_ahead_of_the_ids() -> None:
    root = check_eaf(with_tiers(OLD.replace("> 30 <", ">9000<").encode(), plain_transcript(), Path("a")))
    assert root.xpath("//TIER[@TIER_ID='loquela-utterance']//@ANNOTATION_ID") == ["a9001", "a9002"]
    huge = OLD.replace('"a31"', '"a' + "9" * 5000 + '"')
    check_eaf(with_tiers(huge.encode(), plain_transcript(), Path("a")))


def test_the_result_is_a_file_of_its_own(tmp_path: Path) -> None:
    old, out = tmp_path / "old.eaf", tmp_path / "out" / "new.eaf"
    old.write_text(OLD, encoding="utf-8")
    assert add_tiers(old, plain_transcript(), out) == out
    assert old.read_text(encoding="utf-8") == OLD
    assert [tier.id for tier in read_eaf(out).tiers][:2] == ["default", "loquela-utterance"]
    with pytest.raises(InputError, match="exists"):
        add_tiers(old, plain_transcript(), old)
    add_tiers(old, plain_transcript(), old, overwrite=True)
    assert old.read_bytes() == out.read_bytes()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</ANNOTATION_DOCUMENT>", "", "not whole XML"),
        ("?>", '?><!DOCTYPE x [<!ENTITY e "e">]>', "DOCTYPE"),
        ('"milliseconds"', '"PAL-frames"', "PAL-frames"),
        ('TIME_SLOT_REF1="ts1"', 'TIME_SLOT_REF1="ts99"', "ts99"),
    ],
)
def test_a_broken_file_is_refused_and_nothing_written(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.eaf"
    path.write_text(OLD.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        add_tiers(path, plain_transcript(), tmp_path / "b.eaf")
    assert [each.name for each in tmp_path.iterdir()] == ["a.eaf"]


def test_tiers_are_added_at_the_times_of_the_document(tmp_path: Path) -> None:
    """Its time 0 lies 1.5 s into the recording, so what was said before has no place in it."""
    old = OLD.replace('MIME_TYPE="video/mp4"', 'MIME_TYPE="video/mp4" TIME_ORIGIN="1500"')
    (tmp_path / "old.eaf").write_text(old, encoding="utf-8")
    spans = ((0.0, 1.0), (1.0, 2.0), (2.5, 4.0))
    made = Transcript(
        recording="a b",
        audio=Path("a b.mp4"),
        duration=5.0,
        segments=tuple(TranscriptSegment(start=start, end=end, text="ma") for start, end in spans),
    )
    path = add_tiers(tmp_path / "old.eaf", made, tmp_path / "new.eaf")
    found = read_eaf(path).tier("loquela-utterance").annotations
    assert [(each.start, each.end) for each in found] == [(0.0, 0.5), (1.0, 2.5)]
    again = transcript_from_eaf(path).segments
    assert [(each.start, each.end) for each in again] == [(1.5, 2.0), (2.5, 4.0)]

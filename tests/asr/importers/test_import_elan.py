"""ELAN files: tiers chosen, dependents kept, recordings found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, strategies

from asr.formats import read_transcript
from asr.formats.annotations import read_annotations
from asr.importers import ImportConfig, import_corpus
from asr.importers.tiers import Timeline
from asr.segment.files import read_segments
from asr.segment.own import OwnSegment
from asr.transcript import Transcript, TranscriptSegment
from lm.errors import InputError

Make = Callable[..., Path]

UTTERANCES = [(500, 1500, "ñuka wasi"), (1600, 1800, " "), (2000, 3000, "sumak")]


def test_dependent_tiers_become_columns_and_one_the_translation(
    tmp_path: Path, make_audio: Make, make_eaf: Make
) -> None:
    make_audio(tmp_path / "talk.wav", 4.0)
    children = [
        ("words", "main", [(0, "ñuka"), (0, "wasi"), (2, "sumak")]),
        ("gloss", "words", [(0, "1SG"), (1, ""), (2, "good")]),
        ("Spanish", "main", [(0, "mi casa")]),
        ("text", "main", [(2, "a column of ours")]),
    ]
    make_eaf(tmp_path / "talk.eaf", [("main", "Rosa", UTTERANCES)], children)
    config = ImportConfig(translation_tiers=("Span*",))
    first, second = import_corpus(tmp_path / "talk.eaf", config=config).utterances
    assert (first.id, first.offset_s, first.duration_s) == ("talk_0000000500-0000001500", 0.5, 1.0)
    assert (first.text, first.translation, first.speaker) == ("ñuka wasi", "mi casa", "Rosa")
    assert first.extra == {
        "words": "ñuka wasi", "gloss": "1SG _", "tier_text": "", "recording": "talk", "tier": "main",
    }  # fmt: skip
    assert (second.text, second.translation, second.extra["gloss"]) == ("sumak", "", "good")
    assert second.extra["tier_text"] == "a column of ours"


def test_several_candidate_tiers_are_listed_with_their_counts(
    tmp_path: Path, make_audio: Make, make_eaf: Make
) -> None:
    make_audio(tmp_path / "talk.wav", 4.0)
    tiers = [("A_text", "Ana", UTTERANCES), ("B_text", "Bo", [(100, 900, "hola")]), ("empty", "", [])]
    make_eaf(tmp_path / "talk.eaf", tiers)
    with pytest.raises(InputError, match=r"--tier.*'A_text' \(2\), 'B_text' \(1\), 'empty' \(0\)"):
        import_corpus(tmp_path)
    both = import_corpus(tmp_path, config=ImportConfig(tiers=("*_text",))).utterances
    assert [(each.speaker, each.text) for each in both] == [
        ("Bo", "hola"),
        ("Ana", "ñuka wasi"),
        ("Ana", "sumak"),
    ]
    assert len({each.id for each in both}) == 3
    with pytest.raises(InputError, match="no tier 'C_text'"):
        import_corpus(tmp_path, config=ImportConfig(tiers=("C_text",)))


def test_a_translation_in_a_tier_of_its_own_is_matched_by_time(
    tmp_path: Path, make_audio: Make, make_eaf: Make
) -> None:
    make_audio(tmp_path / "talk.wav", 4.0)
    make_eaf(
        tmp_path / "talk.eaf",
        [("main", "", UTTERANCES), ("es", "", [(480, 1510, "mi casa"), (3200, 3900, "nada")])],
    )
    utterances = import_corpus(tmp_path, config=ImportConfig(translation_tiers=("es",))).utterances
    assert [each.translation for each in utterances] == ["mi casa", ""]


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("rooted", [True, False])
def test_a_translation_is_never_another_speakers(
    tmp_path: Path, make_audio: Make, make_eaf: Make, named: bool, rooted: bool
) -> None:
    """Beside the transcript below one tier, as in most templates, or in tiers that depend on none."""
    make_audio(tmp_path / "talk.wav", 10.0)
    said = {
        "A": [(2000, 9000, "largo relato", "long story")],
        "B": [(4000, 4600, "aja", ""), (6000, 7000, "que paso", "what happened")],
    }
    tiers: list[tuple[str, str, list[tuple[int, int, str]]]] = []
    children: list[tuple[str, str, list[tuple[int, str]]]] = []
    for name, rows in said.items():
        columns = {
            "ref": [(start, end, f"{name}.{start}") for start, end, _, _ in rows],
            "tx": [(start, end, text) for start, end, text, _ in rows],
            "ft": [(start, end, text) for start, end, _, text in rows if text],
        }
        starts = [start for start, _, _ in columns["ref"]]
        for kind, column in columns.items():
            if rooted and kind != "ref":
                below = [(starts.index(start), text) for start, _, text in column]
                children.append((f"{kind}@{name}", f"ref@{name}", below))
            else:
                tiers.append((f"{kind}@{name}", name if named else "", column))
    eaf = make_eaf(tmp_path / "talk.eaf", tiers, children)
    config = ImportConfig(tiers=("tx@*",), translation_tiers=("ft@*",))
    assert [(each.text, each.translation) for each in import_corpus(eaf, config=config).utterances] == [
        ("largo relato", "long story"), ("aja", ""), ("que paso", "what happened"),
    ]  # fmt: skip


def test_of_several_translations_one_is_taken_and_the_others_are_columns(
    tmp_path: Path, make_audio: Make, make_eaf: Make
) -> None:
    make_audio(tmp_path / "talk.wav", 4.0)
    children = [("ft-es", "main", [(0, "hola")]), ("ft-en", "main", [(0, "hi"), (2, "bye")])]
    eaf = make_eaf(tmp_path / "talk.eaf", [("main", "", UTTERANCES)], children)
    imported = import_corpus(eaf, config=ImportConfig(tiers=("main",), translation_tiers=("ft-*",)))
    rows = imported.utterances
    assert [row.translation for row in rows[:2]] == ["hola", "bye"]
    assert [row.extra.get("ft_en", row.extra.get("ft-en", "")) for row in rows[:2]] == ["hi", ""]
    assert "of the translation tiers 'ft-es' and 'ft-en' below one tier" in imported.notes[0]
    config = ImportConfig(tiers=("main",), translation_tiers=("ft-es",))
    assert import_corpus(eaf, config=config).notes == []


def test_parts_of_a_translation_that_are_empty_are_left_out(
    tmp_path: Path, make_audio: Make, make_eaf: Make
) -> None:
    make_audio(tmp_path / "talk.wav", 4.0)
    children = [("ft", "main", [(0, ""), (0, "hola"), (2, "a"), (2, ""), (2, "b")])]
    eaf = make_eaf(tmp_path / "talk.eaf", [("main", "", UTTERANCES)], children)
    rows = import_corpus(eaf, config=ImportConfig(tiers=("main",), translation_tiers=("ft",))).utterances
    assert [row.translation for row in rows[:2]] == ["hola", "a b"]


def test_a_tier_that_numbers_others_is_no_transcript(
    tmp_path: Path, make_audio: Make, make_eaf: Make
) -> None:
    make_audio(tmp_path / "talk.wav", 4.0)
    numbers = [(500, 1500, "A.001"), (1600, 1800, "A.002")]
    children = [("tx@A", "ref@A", [(0, "hola"), (1, "adios")])]
    eaf = make_eaf(tmp_path / "talk.eaf", [("ref@A", "", numbers)], children)
    told = r"numbers, as 'A.001', in 'ref@A'.*Choose with --tier.*'ref@A' \(2\), 'tx@A' \(2\)"
    for read in (import_corpus, read_annotations):
        with pytest.raises(InputError, match=told):
            read(eaf)
    assert [each.start for each in read_annotations(eaf, times_alone=True)["ref@A"]] == [0.5, 1.6]
    assert [each.text for each in read_annotations(eaf, ["tx@A"])["tx@A"]] == ["hola", "adios"]
    alone = make_eaf(tmp_path / "talk.eaf", [("ref@A", "", numbers)])
    assert [each.text for each in import_corpus(alone).utterances] == ["A.001", "A.002"]


def test_other_tiers_with_text_are_told_where_none_was_chosen(
    tmp_path: Path, make_audio: Make, make_eaf: Make
) -> None:
    make_audio(tmp_path / "talk.wav", 4.0)
    children = [
        ("tx", "main", [(0, "hola")]), ("ft", "main", [(0, "hi")]), ("loquela-word", "main", [(0, "hola")]),
    ]  # fmt: skip
    eaf = make_eaf(tmp_path / "talk.eaf", [("main", "", UTTERANCES)], children)
    (note,) = import_corpus(eaf, config=ImportConfig(translation_tiers=("ft",))).notes
    assert note == f"{eaf}: took the tier 'main'; others hold text: 'tx' (1). Choose with --tier."
    assert import_corpus(eaf, config=ImportConfig(tiers=("main",))).notes == []


def shared_s(span: OwnSegment, other: OwnSegment | None) -> float:
    """Seconds that two have in common; none where that is less than half of the shorter."""
    shared = min(span.end, other.end) - max(span.start, other.start) if other else 0.0
    return shared if other and 2 * shared >= min(span.end - span.start, other.end - other.start) else 0.0


spans = strategies.builds(
    lambda start, length: OwnSegment(start, start + length),
    strategies.integers(0, 20),
    strategies.integers(0, 9),
)


@given(spans, strategies.lists(spans, max_size=8))
def test_the_one_that_shares_most_time_is_found(span: OwnSegment, others: list[OwnSegment]) -> None:
    found = Timeline(others).best_overlap(span)
    by_definition = max((shared_s(span, other) for other in others), default=0.0)
    assert shared_s(span, found) == max(0.0, by_definition)
    assert (found is None) == (by_definition <= 0)


def test_of_two_that_share_equally_the_shorter_is_found() -> None:
    span, other, longer = OwnSegment(4, 5), OwnSegment(4, 5.5), OwnSegment(2, 9)
    assert Timeline([longer, other]).best_overlap(span) == other
    assert Timeline([longer]).best_overlap(span) == longer
    assert Timeline([longer], several=True).best_overlap(span) is None
    assert Timeline([longer, other], several=True).best_overlap(span) == other


def test_recordings_are_found_in_the_same_sub_folder(
    tmp_path: Path, make_audio: Make, make_eaf: Make
) -> None:
    for day, seconds in (("day1", 4.0), ("day2", 5.0)):
        make_audio(tmp_path / "sound" / day / "talk.wav", seconds)
        (tmp_path / "eaf" / day).mkdir(parents=True)
        make_eaf(tmp_path / "eaf" / day / "talk.eaf", [("main", "", UTTERANCES)])
    imported = import_corpus(tmp_path / "eaf", config=ImportConfig(audio=tmp_path / "sound"))
    assert {each.audio.parent.name for each in imported.utterances} == {"day1", "day2"}


def test_recordings_are_found_elsewhere_or_reported(tmp_path: Path, make_audio: Make, make_eaf: Make) -> None:
    make_audio(tmp_path / "sound" / "one.ogg", 4.0)
    for name in ("one", "two"):
        make_eaf(tmp_path / f"{name}.eaf", [("main", "", UTTERANCES)], media=f"{name}.mp4")
    (tmp_path / "three.eaf").write_text("not xml")
    imported = import_corpus(tmp_path, config=ImportConfig(audio=tmp_path / "sound"))
    assert {each.audio.name for each in imported.utterances} == {"one.ogg"}
    assert sorted("two.eaf" in problem for problem in imported.problems) == [False, True]
    by_file = import_corpus(tmp_path / "two.eaf", config=ImportConfig(audio=tmp_path / "sound" / "one.ogg"))
    assert len(by_file.utterances) == 2


def test_an_annotation_past_the_end_is_cut_or_left_out(
    tmp_path: Path, make_audio: Make, make_eaf: Make
) -> None:
    make_audio(tmp_path / "talk.wav", 2.0)
    make_eaf(tmp_path / "talk.eaf", [("main", "", [(1000, 2300, "cut"), (2600, 3000, "gone")])])
    imported = import_corpus(tmp_path)
    assert [(each.text, each.duration_s) for each in imported.utterances] == [("cut", 1.0)]
    assert "ends at 3.000 s but the audio at 2.000 s" in imported.problems[0]


def test_an_offset_of_the_media_moves_the_times(tmp_path: Path, make_audio: Make, make_eaf: Make) -> None:
    make_audio(tmp_path / "talk.wav", 6.0)
    eaf = make_eaf(
        tmp_path / "talk.eaf", [("main", "", [(500, 1500, "uno")])], media="talk.wav", origin_ms=2000
    )
    (only,) = import_corpus(eaf).utterances
    assert (only.id, only.offset_s, only.duration_s) == ("talk_0000002500-0000003500", 2.5, 1.0)
    ((annotation,),) = read_annotations(eaf).values()
    assert (annotation.start, annotation.end) == (2.5, 3.5)
    assert read_segments(eaf).of("talk.wav") == [OwnSegment(2.5, 3.5)]
    eaf.write_text(eaf.read_text().replace('TIME_ORIGIN="2000"', 'TIME_ORIGIN="2 s"'))
    with pytest.raises(InputError, match="TIME_ORIGIN is '2 s'"):
        import_corpus(eaf)


def test_of_several_media_the_offset_is_that_of_the_recording(
    tmp_path: Path, make_audio: Make, make_eaf: Make
) -> None:
    make_audio(tmp_path / "b.wav", 6.0)
    eaf = make_eaf(tmp_path / "talk.eaf", [("main", "", [(500, 1500, "uno")])], media="a.mp4", origin_ms=9000)
    other = (
        '<MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/b.wav" MIME_TYPE="audio/x-wav" TIME_ORIGIN="1000"/></HEADER>'
    )
    eaf.write_text(eaf.read_text().replace("</HEADER>", other))
    (only,) = import_corpus(eaf).utterances
    assert (only.audio.name, only.offset_s) == ("b.wav", 1.5)


def test_files_without_the_tier_are_told_and_those_without_a_translation_stay(
    tmp_path: Path, make_audio: Make, make_eaf: Make
) -> None:
    for name, tiers in {"a": ("text", "es"), "b": ("transcription", "es"), "c": ("text",)}.items():
        make_audio(tmp_path / f"{name}.wav", 4.0)
        make_eaf(tmp_path / f"{name}.eaf", [(tier, "", UTTERANCES) for tier in tiers])
    config = ImportConfig(tiers=("text",), translation_tiers=("es",))
    imported = import_corpus(tmp_path, config=config)
    assert {each.audio.name for each in imported.utterances} == {"a.wav", "c.wav"}
    (problem,) = imported.problems
    assert "b.eaf has no tier 'text' (it has 'transcription', 'es')" in problem
    (note,) = imported.notes
    assert "c.eaf has no tier 'es' (it has 'text')" in note


def test_a_recording_is_found_whether_its_letters_are_composed_or_not(
    tmp_path: Path, make_audio: Make, make_eaf: Make
) -> None:
    composed, apart = "ca\u00f1a", "can\u0303a"
    make_audio(tmp_path / f"{apart}.wav", 4.0)
    eaf = make_eaf(tmp_path / "x.eaf", [("main", "", UTTERANCES)], media=f"{composed}.wav")
    assert len(import_corpus(eaf).utterances) == 2
    eaf = make_eaf(tmp_path / f"{composed}.eaf", [("main", "", UTTERANCES)], media="gone.mp4")
    assert len(import_corpus(eaf).utterances) == 2


def test_our_own_file_is_read_without_options(tmp_path: Path, make_audio: Make) -> None:
    audio = make_audio(tmp_path / "talk.wav", 4.0)
    said = (("Ana", 0.0, "hola", "hello"), ("Bo", 0.0, "si", "yes"), ("Ana", 2.0, "no", ""))
    segments = tuple(
        TranscriptSegment(start=start, end=start + 1, text=text, translation=other, speaker=speaker)
        for speaker, start, text, other in said
    )
    talk = Transcript(
        recording="talk",
        audio=audio,
        duration=4.0,
        segments=segments,
        language="es",
        translation_language="en",
    )
    path = talk.save(tmp_path / "talk.eaf")
    for tiers in ((), ("loquela-utterance*",)):
        found = import_corpus(path, config=ImportConfig(tiers=tiers)).utterances
        assert [(each.speaker, each.offset_s, each.text, each.translation) for each in found] == list(said)
        assert [each.translation_language for each in found] == ["en", "en", ""]
        assert not any("confidence" in name for each in found for name in each.extra)
    named = ImportConfig(tiers=("loquela-utterance-confidence@Ana",))
    assert {each.text for each in import_corpus(path, config=named).utterances} == {"1.000"}


def test_a_lane_of_an_unnamed_speaker_is_no_speaker(tmp_path: Path, make_audio: Make) -> None:
    audio = make_audio(tmp_path / "talk.wav", 4.0)
    segments = tuple(TranscriptSegment(start=start, end=start + 2, text="si") for start in (0.0, 1.0))
    talk = Transcript(recording="talk", audio=audio, duration=4.0, segments=segments)
    path = talk.save(tmp_path / "talk.eaf")
    assert 'TIER_ID="loquela-utterance@2"' in path.read_text()
    assert [each.speaker for each in import_corpus(path).utterances] == ["", ""]
    assert [each.speaker for each in read_transcript(path).segments] == ["", ""]
    assert [each.speaker for tier in read_annotations(path).values() for each in tier] == ["", ""]


def test_of_tiers_without_participants_the_names_are_the_speakers(
    tmp_path: Path, make_audio: Make, make_eaf: Make
) -> None:
    make_audio(tmp_path / "talk.wav", 4.0)
    tiers = [("tx@Ana", "", [(0, 500, "hola")]), ("tx@Bo", "", [(600, 900, "si")])]
    config = ImportConfig(tiers=("tx@*",))
    found = import_corpus(make_eaf(tmp_path / "talk.eaf", tiers), config=config).utterances
    assert [each.speaker for each in found] == ["tx@Ana", "tx@Bo"]
    tiers[0] = ("tx@Ana", "Ana", [(0, 500, "hola")])
    found = import_corpus(make_eaf(tmp_path / "talk.eaf", tiers), config=config).utterances
    assert [each.speaker for each in found] == ["Ana", ""]


def test_files_of_one_recording_are_one_recording_that_no_split_cuts(
    tmp_path: Path, make_audio: Make, make_eaf: Make
) -> None:
    for name in ("talk", "other"):
        make_audio(tmp_path / f"{name}.wav", 4.0)
    for name, start in (("talk", 0), ("talk_Bo", 1000), ("other", 0)):
        media = f"{name.removesuffix('_Bo')}.wav"
        make_eaf(tmp_path / f"{name}.eaf", [("tx", "", [(start, start + 900, name)])], media=media)
    imported = import_corpus(tmp_path)
    assert {each.text: each.extra["recording"] for each in imported.utterances} == {
        "talk": "talk", "talk_Bo": "talk", "other": "other",
    }  # fmt: skip
    (note,) = imported.notes
    assert "1 recording(s) have several annotation files" in note
    assert "talk.wav: talk, talk_Bo" in note


def test_what_has_no_time_is_left_out_and_what_shares_its_parents_is_told(
    tmp_path: Path, make_audio: Make, make_eaf: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    make_audio(tmp_path / "talk.wav", 9.0)
    rows = [(1000, 2000, "uno"), (3000, 4000, "dos"), (5000, 8000, "tres palabras mas")]
    words = [(0, "uno"), (1, "dos"), (2, "tres"), (2, "palabras")]
    eaf = make_eaf(tmp_path / "talk.eaf", [("tx", "", rows)], [("word", "tx", words)])
    text = eaf.read_text()
    eaf.write_text(text.replace(' TIME_VALUE="3000"', "").replace(' TIME_VALUE="4000"', ""))
    imported = import_corpus(eaf, config=ImportConfig(tiers=("tx",)))
    assert [each.text for each in imported.utterances] == ["uno", "tres palabras mas"]
    assert "1 annotation(s), as 'dos', have no start or no end" in imported.problems[0]
    assert imported.notes == []
    imported = import_corpus(eaf, config=ImportConfig(tiers=("word",)))
    assert [each.text for each in imported.utterances] == ["uno", "tres", "palabras"]
    assert "1 annotation(s), as 'dos'" in imported.problems[0]
    assert "2 utterances have no times of their own" in imported.notes[0]
    assert [each.start for each in read_segments(eaf, "word").of("talk.wav")] == [1.0, 5.0, 6.5]
    told = capsys.readouterr().err
    assert "1 annotation(s) have no start or no end" in told
    assert "2 annotation(s) of 'word' have no times of their own" in told
    assert len(read_annotations(eaf, ["word"])["word"]) == 4  # where times are looked for, all lines count

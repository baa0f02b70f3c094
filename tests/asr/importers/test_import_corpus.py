"""What all importers have in common: forms found out, ids, durations, splits."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from asr.formats.choose import matches
from asr.importers import IMPORTERS, ImportConfig, assign_splits, detect_form, import_corpus
from asr.importers.base import find_files, safe_id, span_name, unique_name
from asr.manifest import Utterance, read_manifest, write_manifest
from lm.errors import InputError

Make = Callable[..., Path]


def _utterances(sizes: dict[str, float], *, per_speaker: int = 1) -> list[Utterance]:
    return [
        Utterance(id=name, audio=Path(f"{name}.wav"), duration_s=seconds, speaker=f"s{number // per_speaker}")
        for number, (name, seconds) in enumerate(sizes.items())
    ]


def test_every_form_of_the_design_is_there() -> None:
    assert set(IMPORTERS) == {
        "manifest", "kaldi", "fairseq", "mustc", "covost", "commonvoice", "elan", "textgrid", "table", "folder",
        "transcript",
    }  # fmt: skip


def test_a_source_of_two_forms_or_none_asks_for_the_form(
    tmp_path: Path, make_audio: Make, make_eaf: Make
) -> None:
    with pytest.raises(InputError, match="no form"):
        detect_form(tmp_path)
    make_audio(tmp_path / "a.wav")
    make_eaf(tmp_path / "a.eaf", [("main", "", [(0, 900, "hola")])])
    assert detect_form(tmp_path) == "elan"
    (tmp_path / "a.txt").write_text("hola")
    with pytest.raises(InputError, match=r"elan and folder.*--form"):
        detect_form(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        detect_form(tmp_path / "gone")


def test_a_manifest_is_copied_with_measured_durations_and_its_spans(tmp_path: Path, make_audio: Make) -> None:
    whole = make_audio(tmp_path / "a.wav", 1.25)
    parts = make_audio(tmp_path / "b.wav", 3.0)
    rows = [
        Utterance(id="whole", audio=whole, duration_s=9.0, text="uno", extra={"notes": "kept"}),
        Utterance(id="first", audio=parts, duration_s=1.0, text="dos"),
        Utterance(id="second", audio=parts, offset_s=1.0, duration_s=1.5, text="tres"),
    ]
    write_manifest(rows, tmp_path / "manifest.tsv")
    utterances = import_corpus(tmp_path).utterances
    assert [each.duration_s for each in utterances] == [1.25, 1.0, 1.5]
    write_manifest(utterances, tmp_path / "copy" / "manifest.tsv")
    copied = read_manifest(tmp_path / "copy" / "manifest.tsv")
    assert [each.id for each in copied] == ["whole", "first", "second"]
    assert copied[0].extra == {"notes": "kept"}
    assert all(each.audio.resolve().is_file() for each in copied)


def test_a_trusted_header_is_not_decoded(tmp_path: Path, make_audio: Make) -> None:
    data = make_audio(tmp_path / "a.flac", 2.0).read_bytes()
    (tmp_path / "a.flac").write_bytes(data[: len(data) // 2])
    (tmp_path / "a.txt").write_text("hola")
    assert import_corpus(tmp_path).utterances == []
    (trusted,) = import_corpus(tmp_path, config=ImportConfig(trust_header=True)).utterances
    assert trusted.duration_s == pytest.approx(2.0)


def test_equal_names_get_different_ids(tmp_path: Path, make_audio: Make) -> None:
    for number, name in enumerate(("x?", "x!", "X_")):
        make_audio(tmp_path / f"{name}.wav", seed=number)
        (tmp_path / f"{name}.txt").write_text("hola")
    ids = [each.id for each in import_corpus(tmp_path).utterances]
    assert len({each.casefold() for each in ids}) == 3
    assert ids == [each.id for each in import_corpus(tmp_path).utterances]


LONG = "บทสัมภาษณ์ผู้เฒ่าเรื่องประเพณีงานศพและการทำนาในหมู่บ้านห้วยน้ำใส_ตอนที่_"


def test_a_long_name_keeps_its_times_whatever_else_there_is() -> None:
    first, second, third = (safe_id(span_name(f"{LONG}๑", start, start + 3)) for start in (0, 3, 90))
    assert [each[-21:] for each in (first, second)] == ["0000000000-0000003000", "0000003000-0000006000"]
    assert first < second < third
    assert first[:-21] == second[:-21]
    assert first[-21:] == safe_id(span_name(f"{LONG}๒", 0, 3))[-21:]
    assert len({first, safe_id(span_name(f"{LONG}๒", 0, 3)), safe_id(span_name(f"ก{LONG}๑", 0, 3))}) == 3


def test_a_long_name_is_cut_between_letters() -> None:
    for name in ("กี่" * 50, "ก" + "กี่" * 50, "a" + "กี่" * 50, "ab" + "กี่" * 50, "e\u0331\u0330" * 80):
        head, digest, tail = safe_id(name).split("_")
        assert len(digest) == 8
        for part in (head, tail):
            assert not unicodedata.combining(part[0])
            assert part[-2:] == name[-2:]  # no mark was lost at the cut


@pytest.mark.parametrize("name", ["a" * 200, "ก" * 66, "x" + "é" * 99])
def test_a_name_that_is_short_enough_is_not_cut(name: str) -> None:
    assert safe_id(name) == name


def test_names_are_numbered_as_they_come() -> None:
    taken: dict[str, int] = {}
    names = ["a", "A", "a-2", "a-4", "a", "a", "a-2"]
    assert [unique_name(name, taken) for name in names] == ["a", "A-2", "a-2-2", "a-4", "a-3", "a-5", "a-2-3"]


def test_names_are_compared_by_letter() -> None:
    for form, other in (("NFC", "NFD"), ("NFD", "NFC")):
        name, asked = unicodedata.normalize(form, "Tiếng Việt"), unicodedata.normalize(other, "Tiếng Việt")
        assert matches(name, [asked])
        assert matches(f"{name}-2", [f"{asked}-?"])


@settings(deadline=None)  # a busy machine is no failure
@given(some.text() | some.text(min_size=150))
def test_ids_are_safe_as_file_names_whatever_the_name(name: str) -> None:
    made = safe_id(name)
    assert made
    assert not set(made) & set('/\\ \t\n\0:*?"<>|')
    assert not made.startswith((".", "-"))
    assert len(made.encode("utf-8", "surrogatepass")) <= 200
    assert safe_id(made) == made


def test_splits_come_near_their_shares_and_share_no_group() -> None:
    utterances = _utterances({f"u{i:03}": 1 + i % 7 for i in range(400)}, per_speaker=4)
    for by in ("speaker", "recording", "utterance"):
        dealt = assign_splits(utterances, {"train": 80, "dev": 10, "test": 10}, by=by, seed=1)
        total = sum(each.duration_s for each in dealt)
        for split, share in (("train", 0.8), ("dev", 0.1), ("test", 0.1)):
            seconds = sum(each.duration_s for each in dealt if each.split == split)
            assert seconds / total == pytest.approx(share, abs=0.03)
        if by == "speaker":
            assert all(
                len({each.split for each in dealt if each.speaker == f"s{i}"}) == 1 for i in range(100)
            )
        assert dealt == assign_splits(utterances, {"train": 80, "dev": 10, "test": 10}, by=by, seed=1)
    first, second = (assign_splits(utterances, {"a": 1, "b": 1}, seed=seed) for seed in (0, 1))
    assert first != second


def test_parts_of_a_recording_in_files_of_their_own_stay_in_one_split() -> None:
    parts = [
        Utterance(
            id=f"u{i}",
            audio=Path(f"{i}.wav"),
            duration_s=1,
            extra={"recording": f"ch{i % 4}@{i}.100-{i}.900"},
        )
        for i in range(40)
    ]
    dealt = assign_splits(parts, {"train": 2, "test": 1})
    assert len({(each.split, each.extra["recording"].split("@")[0]) for each in dealt}) == 4


@settings(deadline=None)  # a busy machine is no failure
@given(some.lists(some.floats(0.1, 1e4), min_size=3, max_size=20), some.integers(0, 9))
def test_no_split_stays_empty(seconds: list[float], seed: int) -> None:
    utterances = _utterances({f"u{i}": value for i, value in enumerate(seconds)})
    dealt = assign_splits(utterances, {"train": 0.8, "dev": 0.1, "test": 0.1}, seed=seed)
    assert {each.split for each in dealt} == {"train", "dev", "test"}


def test_too_few_groups_or_no_speakers_are_told() -> None:
    two = _utterances({"a": 1.0, "b": 1.0}, per_speaker=2)
    with pytest.raises(InputError, match=r"1 speaker\(s\) cannot"):
        assign_splits(two, {"train": 1, "test": 1}, by="speaker")
    nobody = [Utterance(id="a", audio=Path("a"), duration_s=1)]
    with pytest.raises(InputError, match="no speaker"):
        assign_splits(nobody, {"train": 1}, by="speaker")


def test_a_row_shorter_than_its_file_is_not_stretched(tmp_path: Path, make_audio: Make) -> None:
    rows = [
        Utterance(id=name, audio=make_audio(tmp_path / f"{name}.wav", 3.0), duration_s=seconds)
        for name, seconds in (("part", 1.3), ("whole", 2.95))
    ]
    write_manifest(rows, tmp_path / "manifest.tsv")
    assert [each.duration_s for each in import_corpus(tmp_path).utterances] == [1.3, 3.0]


def test_the_manifest_that_an_import_wrote_is_not_its_source(
    tmp_path: Path, make_audio: Make, make_eaf: Make
) -> None:
    make_audio(tmp_path / "a.wav", 2.0)
    make_eaf(tmp_path / "a.eaf", [("one", "", [(0, 900, "uno")]), ("two", "", [(0, 900, "dos")])])
    out = tmp_path / "manifest.tsv"
    write_manifest(import_corpus(tmp_path, config=ImportConfig(tiers=("one",))).utterances, out)
    assert detect_form(tmp_path) == "manifest"
    assert detect_form(tmp_path, ImportConfig(out=out)) == "elan"
    assert detect_form(tmp_path, ImportConfig(tiers=("two",))) == "elan"
    (again,) = import_corpus(tmp_path, config=ImportConfig(tiers=("two",), out=out)).utterances
    assert again.text == "dos"
    for source in (tmp_path, out):
        with pytest.raises(InputError, match="is what is to be imported"):
            import_corpus(source, "manifest", ImportConfig(out=out))


def test_a_table_is_found_beside_the_manifest_that_was_made_of_it(tmp_path: Path, make_audio: Make) -> None:
    make_audio(tmp_path / "a.wav")
    (tmp_path / "table.csv").write_text("audio,text\na.wav,hola\n")
    out = tmp_path / "manifest.tsv"
    write_manifest(import_corpus(tmp_path).utterances, out)
    assert detect_form(tmp_path, ImportConfig(out=out)) == "table"
    assert [each.text for each in import_corpus(tmp_path, config=ImportConfig(out=out)).utterances] == [
        "hola"
    ]


def test_what_a_form_does_not_read_is_refused(tmp_path: Path, make_audio: Make) -> None:
    make_audio(tmp_path / "a.wav")
    (tmp_path / "a.txt").write_text("hola")
    with pytest.raises(InputError, match=r"no form we know .*that reads --tier"):
        import_corpus(tmp_path, config=ImportConfig(tiers=("x",)))
    with pytest.raises(InputError, match=r"--columns has no use for the form folder; it is for mustc, table"):
        import_corpus(tmp_path, "folder", ImportConfig(columns={"text": "x"}))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep such names out")
def test_a_name_that_a_manifest_cannot_hold_is_left_out_alone(tmp_path: Path, make_audio: Make) -> None:
    names = ("good", "tab\there", "line\nbreak", os.fsdecode(b"ni\xf1o"))
    for name in names:
        make_audio(tmp_path / "sound.wav").rename(tmp_path / f"{name}.wav")
        (tmp_path / f"{name}.txt").write_text("hola")
    imported = import_corpus(tmp_path)
    assert [each.id for each in imported.utterances] == ["good"]
    assert len(imported.problems) == 3
    assert all("Rename it." in problem for problem in imported.problems)
    write_manifest(imported.utterances, tmp_path / "manifest.tsv")
    bad = Utterance(id="a", audio=tmp_path / f"{names[-1]}.wav", duration_s=1)
    with pytest.raises(InputError, match="is no UTF-8"):
        write_manifest([bad], tmp_path / "manifest.tsv")
    assert len(read_manifest(tmp_path / "manifest.tsv")) == 1


def test_links_to_folders_are_followed_and_each_real_folder_once(tmp_path: Path) -> None:
    folder, disk = tmp_path / "raw", tmp_path / "disk"
    thrown_away = folder / ".Trash-1000" / "files" / "one.wav"
    for path in (folder / "b" / "one.wav", disk / "deep" / "two.wav", disk / "notes.txt", thrown_away):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (folder / "linked").symlink_to(disk)
    (folder / "linked again").symlink_to(disk / "deep")
    (folder / "a").symlink_to(folder / "b")  # its own name, not the link's
    (folder / "b" / "round").symlink_to(folder)
    (disk / "back").symlink_to(tmp_path)
    (folder / "dead").symlink_to(tmp_path / "nowhere")
    (folder / "self").symlink_to(folder / "self")
    found = [path.relative_to(folder).as_posix() for path in find_files(folder, ".wav")]
    assert found == ["b/one.wav", "linked/deep/two.wav"]
    (folder / "absent.wav").symlink_to(tmp_path / "nowhere.wav")  # as git-annex has what was not fetched
    assert find_files(folder, ".wav")[0] == folder / "absent.wav"
    assert find_files(thrown_away.parents[1], ".wav") == [thrown_away]  # asked for by name
    assert find_files(folder / "linked", ".txt") == [folder / "linked" / "notes.txt"]

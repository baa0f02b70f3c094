"""MuST-C's layout, and what mTEDx and IWSLT's low-resource sets do differently."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.cli import main
from asr.importers import ImportConfig, detect_form, import_corpus
from asr.manifest import read_manifest
from lm.errors import InputError

Segment = tuple[str, float, float, str]


def _tone(path: Path, seconds: float, *, seed: int = 0, rate: int = 8_000) -> Path:
    """A tone whose pitch comes from the seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hertz = np.random.default_rng(seed).uniform(200, 400)
    soundfile.write(path, 0.1 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate), rate)
    return path


def _split(folder: Path, segments: Sequence[Segment], texts: dict[str, Sequence[str]]) -> Path:
    """Write ``txt/`` of the split that the folder is named after; segments are wav, offset, duration, speaker."""
    text_folder = folder / "txt"
    text_folder.mkdir(parents=True)
    (text_folder / f"{folder.name}.yaml").write_text(
        "".join(
            f"- {{duration: {duration}, offset: {offset}, rW: 3, uW: 0, speaker_id: {speaker}, wav: {wav}}}\n"
            for wav, offset, duration, speaker in segments
        ),
        encoding="utf-8",
    )
    for ending, lines in texts.items():
        content = "".join(f"{line}\n" for line in lines)
        (text_folder / f"{folder.name}.{ending}").write_text(content, encoding="utf-8")
    return folder


def _one(folder: Path, texts: dict[str, Sequence[str]], *, wav: str = "a.wav") -> Path:
    """A split of one segment and its recording."""
    _tone(folder / "wav" / "a.wav", 1.0)
    return _split(folder, [(wav, 0.0, 1.0, "spk.1")], texts)


def test_lines_follow_the_file_and_not_offsets_sorted_as_strings(tmp_path: Path) -> None:
    split = tmp_path / "en-de" / "data" / "tst-COMMON"
    _tone(split / "wav" / "ted_1.wav", 102.0)
    # as strings "100.0" < "20.0" < "3.5": sorting either way moves a text to another segment
    segments = [("ted_1.wav", offset, 1.5, "spk.1") for offset in (20.0, 100.0, 3.5)]
    _split(split, segments, {"en": ["twenty", "hundred", "three"], "de": ["zwanzig", "hundert", "drei"]})
    imported = import_corpus(tmp_path / "en-de")
    assert imported.problems == []
    assert [(each.offset_s, each.duration_s, each.text, each.translation) for each in imported.utterances] == [
        (20.0, 1.5, "twenty", "zwanzig"), (100.0, 1.5, "hundred", "hundert"), (3.5, 1.5, "three", "drei"),
    ]  # fmt: skip
    first = imported.utterances[0]
    assert (first.language, first.translation_language) == ("en", "de")
    assert (first.speaker, first.split, first.extra) == ("spk.1", "tst-COMMON", {"rW": "3", "uW": "0"})
    assert first.id == "ted_1_0000020000-0000021500"
    assert {each.audio for each in imported.utterances} == {split / "wav" / "ted_1.wav"}


def test_the_pairs_folder_its_data_and_one_split_are_found_out_and_read(tmp_path: Path) -> None:
    pair = tmp_path / "en-de"
    for name in ("train", "dev"):
        _one(pair / "data" / name, {"en": [f"a {name}"], "de": [f"ein {name}"]})
    for source in (pair, pair / "data"):
        assert detect_form(source) == "mustc"
        assert [each.split for each in import_corpus(source).utterances] == ["dev", "train"]
    for source in (pair / "data" / "dev", pair / "data" / "dev" / "txt" / "dev.yaml"):
        assert detect_form(source) == "mustc"
        (utterance,) = import_corpus(source).utterances
        assert (utterance.text, utterance.translation) == ("a dev", "ein dev")
        assert (utterance.language, utterance.translation_language) == ("en", "de")


def test_mtedx_has_flac_where_the_yaml_says_wav_and_transcripts_alone_in_es_es(tmp_path: Path) -> None:
    split = tmp_path / "es-es" / "data" / "valid"
    _tone(split / "wav" / "talk.1.flac", 2.0)
    _split(split, [("talk.1.wav", 0.5, 1.0, "0012")], {"es": ["hola"]})
    (utterance,) = import_corpus(tmp_path / "es-es").utterances
    assert utterance.audio.name == "talk.1.flac"
    assert (utterance.text, utterance.translation, utterance.translation_language) == ("hola", "", "")
    assert (utterance.language, utterance.split) == ("es", "valid")
    assert utterance.speaker == "0012"  # YAML 1.1 reads an octal number


def test_iwslt_sets_have_no_source_text_no_data_folder_and_no_endings(tmp_path: Path) -> None:
    split = tmp_path / "taq_fra_clean" / "train"
    _one(split, {"fra": ["bonjour"], "fra.tc": ["Bonjour"]}, wav="a")
    (utterance,) = import_corpus(tmp_path / "taq_fra_clean").utterances
    assert (utterance.text, utterance.translation) == ("", "bonjour")
    assert (utterance.language, utterance.translation_language) == ("taq", "fra")
    truecased = ImportConfig(columns={"translation": "fra.tc"})
    (utterance,) = import_corpus(split, config=truecased).utterances
    assert (utterance.text, utterance.translation) == ("", "Bonjour")
    assert (utterance.language, utterance.translation_language) == ("taq", "fra")


def test_recordings_may_lie_inside_the_text_folder_or_elsewhere(tmp_path: Path) -> None:
    inside = tmp_path / "que-spa" / "train"
    _split(inside, [("a.wav", 0.0, 1.0, "INES")], {"que": ["wasi"], "spa": ["casa"]})
    _tone(inside / "txt" / "wav" / "a.wav", 1.0)
    assert import_corpus(inside).utterances[0].audio.parent == inside / "txt" / "wav"
    elsewhere = _tone(tmp_path / "audio" / "train" / "wav" / "a.wav", 1.0)
    for folder in (tmp_path / "audio", elsewhere.parent):
        assert import_corpus(inside, config=ImportConfig(audio=folder)).utterances[0].audio == elsewhere


def test_languages_are_chosen_where_several_texts_are_there(tmp_path: Path) -> None:
    split = _one(tmp_path / "corpus" / "train", {"en": ["one"], "de": ["eins"], "fr": ["un"]})
    with pytest.raises(InputError, match=r"de, en, fr.*--columns"):
        import_corpus(split)
    configs = (
        ImportConfig(columns={"text": "en", "translation": "fr"}, language="eng_Latn"),
        ImportConfig(language="en", translation_language="fr"),
    )
    for config in configs:
        (utterance,) = import_corpus(split, config=config).utterances
        assert (utterance.text, utterance.translation, utterance.translation_language) == ("one", "un", "fr")
        assert utterance.language == config.language
    missing = import_corpus(split, config=ImportConfig(columns={"translation": "es"}))
    assert missing.utterances == []
    assert "train.es" in missing.problems[0]
    with pytest.raises(InputError, match="audio"):
        import_corpus(split, config=ImportConfig(columns={"audio": "wav"}))
    named = _one(tmp_path / "en-de" / "train", {"en": ["one"], "de": ["eins"], "fr": ["un"]})
    assert import_corpus(named).utterances[0].translation == "eins"
    other = import_corpus(named, config=ImportConfig(translation_language="fr")).utterances[0]
    assert (other.text, other.translation, other.translation_language) == ("one", "un", "fr")


def test_a_text_is_not_taken_for_another_language_than_its_folder_says(tmp_path: Path) -> None:
    split = _one(tmp_path / "en-de" / "train", {"de": ["eins"], "fr": ["un"]})
    with pytest.raises(InputError, match="not clear"):
        import_corpus(split)


def test_texts_of_another_length_are_refused_with_both_numbers(tmp_path: Path) -> None:
    split = _one(tmp_path / "en-de" / "dev", {"en": ["one"], "de": ["eins", "zwei"]})
    with pytest.raises(InputError, match=r"dev\.de has 2 lines but dev\.yaml has 1 entries"):
        import_corpus(split)


def test_only_line_feeds_end_a_line_and_an_empty_line_keeps_its_place(tmp_path: Path) -> None:
    split = tmp_path / "en-de" / "dev"
    _tone(split / "wav" / "a.wav", 3.0)
    segments = [("a.wav", float(start), 1.0, "s") for start in range(3)]
    _split(split, segments, {"en": ["one\u2028more", "", "three\r"], "de": ["eins", "zwei", ""]})
    utterances = import_corpus(split).utterances
    assert [each.text for each in utterances] == ["one more", "", "three"]
    assert [each.translation for each in utterances] == ["eins", "zwei", ""]


def test_bad_segments_are_reported_and_the_rest_goes_on(tmp_path: Path) -> None:
    split = tmp_path / "en-de" / "train"
    _tone(split / "wav" / "a.wav", 2.0)
    segments = [
        ("a.wav", 0.0, 1.0, "s"),
        ("a.wav", 1.0, 9.0, "s"),  # beyond its recording
        ("gone.wav", 0.0, 1.0, "s"),
        ("a.wav", 1.0, -0.5, "s"),
        ("gone.wav", 1.0, 1.0, "s"),
        ("a.wav", float("nan"), 1.0, "s"),
        ("a.wav", 1.0, 1.0, "s"),
    ]
    numbers = [str(number) for number in range(len(segments))]
    _split(split, segments, {"en": numbers, "de": numbers})
    imported = import_corpus(split)
    assert [(each.text, each.translation) for each in imported.utterances] == [("0", "0"), ("6", "6")]
    told = "\n".join(imported.problems)
    assert len(imported.problems) == 4
    assert "entry 4: offset 1, duration -0.5" in told
    assert "entry 6: offset nan" in told
    assert "no recording 'gone.wav'" in told
    assert "2 segment(s) from entry 3 on" in told
    assert "ends at 10.000 s but the audio at 2.000 s" in told


def test_a_broken_yaml_or_entry_is_told(tmp_path: Path) -> None:
    split = _one(tmp_path / "en-de" / "train", {"en": ["one"], "de": ["eins"]})
    table = split / "txt" / "train.yaml"
    table.write_text("- {duration: 1.0, offset: , wav: a.wav}\n")
    assert "entry 1" in import_corpus(split, "mustc").problems[0]
    table.write_text("- {duration: 1.0, offset: 0.0\n- wav: a.wav}\n")
    with pytest.raises(InputError, match="not YAML"):
        import_corpus(split, "mustc")
    table.write_text("duration: 1.0\n")
    with pytest.raises(InputError, match="no list"):
        import_corpus(split, "mustc")
    with pytest.raises(InputError, match=r"no \.yaml of segments"):
        import_corpus(tmp_path, "mustc")


def test_a_split_without_texts_is_reported(tmp_path: Path) -> None:
    _one(tmp_path / "en-de" / "train", {"en": ["one"], "de": ["eins"]})
    _one(tmp_path / "en-de" / "blind", {})
    imported = import_corpus(tmp_path / "en-de")
    assert [each.split for each in imported.utterances] == ["train"]
    assert "blind.LANGUAGE" in imported.problems[0]


def test_the_command_writes_a_manifest_with_offsets(tmp_path: Path) -> None:
    split = tmp_path / "en-de" / "data" / "dev"
    _tone(split / "wav" / "a.wav", 3.0)
    _split(split, [("a.wav", 1.25, 1.5, "spk.7")], {"en": ["one"], "de": ["eins"]})
    out = tmp_path / "manifest.tsv"
    assert main(["corpus", "import", str(tmp_path / "en-de"), "--form", "mustc", "--out", str(out)]) == 0
    (row,) = read_manifest(out)
    assert (row.offset_s, row.duration_s, row.text, row.translation) == (1.25, 1.5, "one", "eins")
    assert (row.language, row.translation_language, row.speaker, row.split) == ("en", "de", "spk.7", "dev")


def _stamped(folder: Path, entries: str, text: str, lines: Sequence[str]) -> Path:
    """A split as IWSLT's Irish set has it: entries of the recording a.wav of two seconds, and one text."""
    _tone(folder / "wav" / "a.wav", 2.0)
    (folder / "stamped.tsv").write_text(entries, encoding="utf-8")
    (folder / text).parent.mkdir(exist_ok=True)
    (folder / text).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder


@pytest.mark.parametrize("pair", ["ga-eng", "iwslt2023_ga-eng", "ga-eng-iwslt2023"])
def test_entries_may_be_a_table_of_stamps_without_a_header(tmp_path: Path, pair: str) -> None:
    data = tmp_path / pair / "data"
    _stamped(data / "train", "wav/a.wav\t0\t1.25\na.wav\t01\t00.5\n", "txt/train.eng", ["one", "two"])
    _stamped(data / "test-2023", "wav/a.wav\t0\t2", "txt/test.eng", ["three"])  # no line feed at the end
    _stamped(data / "test-2024", "wav/a.wav\t0\t2\r\n", "test.eng", ["four"])  # Marathi's text lies so
    for source in (tmp_path / pair, data):
        assert detect_form(source) == "mustc"
        imported = import_corpus(source)
        assert imported.problems == []
        assert [
            (each.split, each.offset_s, each.duration_s, each.translation) for each in imported.utterances
        ] == [
            ("test-2023", 0.0, 2.0, "three"), ("test-2024", 0.0, 2.0, "four"),
            ("train", 0.0, 1.25, "one"), ("train", 1.0, 0.5, "two"),
        ]  # fmt: skip
    first = imported.utterances[0]
    assert (first.text, first.language, first.translation_language) == ("", "ga", "eng")
    assert first.audio == data / "test-2023" / "wav" / "a.wav"
    for source in (data / "test-2023", data / "test-2023" / "stamped.tsv"):
        assert detect_form(source) == "mustc"
        assert [each.translation for each in import_corpus(source).utterances] == ["three"]


def test_a_text_named_as_its_folder_is_taken_before_a_shorter_one(tmp_path: Path) -> None:
    split = _stamped(tmp_path / "ga-eng" / "test-2023", "wav/a.wav\t0\t2\n", "txt/test.eng", ["other"])
    (split / "txt" / "test-2023.eng").write_text("own\n")
    assert [each.translation for each in import_corpus(split).utterances] == ["own"]


def test_bad_stamps_and_a_split_without_text_are_reported(tmp_path: Path) -> None:
    pair = tmp_path / "mr-hi"
    entries = "wav/a.wav\t0\t1\nwav/a.wav\t1\nwav/gone.wav\t0\t1\n"
    _stamped(pair / "dev", entries, "txt/dev.hi", ["one", "two", "three"])
    _stamped(pair / "test", "wav/a.wav\t0\t1\n", "txt/notes.txt", [])
    imported = import_corpus(pair)
    assert [each.translation for each in imported.utterances] == ["one"]
    told = "\n".join(imported.problems)
    assert len(imported.problems) == 3
    assert "entry 2" in told
    assert "no recording 'wav/gone.wav'" in told
    assert "no text test.LANGUAGE" in told
    _stamped(pair / "dev", entries, "txt/dev.hi", ["one"])
    with pytest.raises(InputError, match=r"dev\.hi has 1 lines but stamped\.tsv has 3 entries"):
        import_corpus(pair)


def test_another_stamped_tsv_is_not_taken_for_one(tmp_path: Path) -> None:
    (tmp_path / "stamped.tsv").write_text("audio\ttext\na.wav\tone\n")
    assert detect_form(tmp_path) == "table"


def test_na_is_no_speaker(tmp_path: Path) -> None:
    _tone(tmp_path / "en-de" / "tst" / "wav" / "a.wav", 2.0)
    segments = [("a.wav", 0.0, 1.0, "NA"), ("a.wav", 1.0, 1.0, "spk.NA")]
    _split(tmp_path / "en-de" / "tst", segments, {"en": ["one", "two"]})
    assert [each.speaker for each in import_corpus(tmp_path / "en-de").utterances] == ["", "spk.NA"]

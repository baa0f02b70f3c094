"""``loquela corpus`` from the command line."""

from __future__ import annotations

import json
import re
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr import curate, importers
from asr.cli import main
from asr.cli.corpus import FORMS
from asr.importers import IMPORTERS
from asr.manifest import read_manifest
from asr.text import TextPolicy
from tests.conftest import handed_on


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six recordings of two speakers with their texts."""
    folder = tmp_path / "corpus"
    for number in range(6):
        path = folder / f"speaker{number % 2}" / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.random.default_rng(number).normal(0, 0.1, 16_000), 16_000)
        path.with_suffix(".txt").write_text(f"sumak wasi {'bcdefg'[number]}", encoding="utf-8")
    return folder


def test_the_help_of_import_says_what_each_form_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["corpus", "import", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for form, summary in FORMS.items():
        assert f"{form} {summary}" in shown


def test_the_forms_offered_are_the_importers() -> None:
    assert set(FORMS) == {"auto", *IMPORTERS}


def test_the_help_of_corpus_names_every_action(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["corpus", "--help"])
    description, _, actions = capsys.readouterr().out.partition("positional arguments:")
    named = re.findall(r"^    (\w+)  ", actions, flags=re.MULTILINE)
    assert len(named) == 8
    for action in named:
        assert re.search(rf"\b{action.replace('stats', 'count')}\b", description), action


@pytest.mark.parametrize(
    ("words", "where", "value"),
    [
        ("--form elan", "form", "elan"),
        ("--audio sounds", "config.audio", Path("sounds")),
        ("--columns audio=file,text=said", "config.columns", {"audio": "file", "text": "said"}),
        ("--tier a --tier b", "config.tiers", ("a", "b")),
        ("--translation-tier c --translation-tier d", "config.translation_tiers", ("c", "d")),
        ("--language quz", "config.language", "quz"),
        ("--translation-language es", "config.translation_language", "es"),
        ("--speaker ana", "config.speaker", "ana"),
        ("--speaker-pattern (x)", "config.speaker_pattern", "(x)"),
        ("--trust-header", "config.trust_header", True),
        ("--jobs 3", "config.jobs", 3),
    ],
)
def test_what_an_option_says_reaches_the_import(
    tmp_path: Path, words: str, where: str, value: object
) -> None:
    command = ["corpus", "import", "source", "--out", str(tmp_path / "manifest.tsv"), *words.split()]
    assert attrgetter(where)(handed_on(importers, "import_corpus", lambda: main(command))) == value


@pytest.mark.parametrize(
    ("words", "where", "value"),
    [
        ("--language quz", "config.language", "quz"),
        ("--min-snr 5", "config.min_snr_db", 5),
        ("--max-segment 9", "config.vad.max_segment_s", 9),
        ("--keep-music", "config.min_low_energy", 0),
        ("--dev-share 0.2", "config.dev_share", 0.2),
        ("--jobs 3", "jobs", 3),
    ],
)
def test_what_an_option_says_reaches_the_curation(
    tmp_path: Path, words: str, where: str, value: object
) -> None:
    command = ["corpus", "curate", "source", "--out", str(tmp_path / "out"), *words.split()]
    assert attrgetter(where)(handed_on(curate, "curate", lambda: main(command))) == value


def test_a_folder_is_imported_split_by_speaker_checked_and_counted(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "data" / "manifest.tsv"
    options = [
        "--language",
        "qu",
        "--speaker-pattern",
        "(speaker.)",
        "--split",
        "train=0.5,test=0.5",
        "--split-by",
        "speaker",
    ]
    assert main(["corpus", "import", str(folder), "--out", str(manifest), *options]) == 0
    assert "6 utterances, 0.00 hours" in capsys.readouterr().out
    utterances = read_manifest(manifest)
    assert {each.language for each in utterances} == {"qu"}
    assert len({(each.speaker, each.split) for each in utterances}) == 2
    assert main(["corpus", "check", str(manifest)]) == 0
    shown = capsys.readouterr().out
    assert "unseen-character: 3 utterance(s)" in shown
    assert "-> " in shown
    assert main(["corpus", "stats", str(manifest), "--json"]) == 0
    stats = json.loads(capsys.readouterr().out)
    assert stats["splits"]["all"]["utterances"] == 6
    assert stats["splits"]["test"]["oov_rate"] == pytest.approx(1 / 3)
    assert main(["corpus", "stats", str(manifest)]) == 0
    assert "words unseen in training" in capsys.readouterr().out


def test_what_is_left_out_is_told_on_stderr_with_status_1(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "speaker0" / "0.wav").write_bytes(b"text, not sound")
    (folder / "speaker0" / "2.txt").unlink()
    manifest = tmp_path / "manifest.tsv"
    assert main(["corpus", "import", str(folder), "--out", str(manifest)]) == 1
    out, err = capsys.readouterr()
    told = [line for line in err.split("\n") if line.startswith("left out: ")]
    assert len(told) == 2
    assert "0.wav" in err
    assert "2.txt" in err
    assert "4 utterances" in out
    assert len(read_manifest(manifest)) == 4


def test_check_fails_on_errors_and_prints_json_lines(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "manifest.tsv"
    assert main(["corpus", "import", str(folder), "--out", str(manifest), "--split", "train"]) == 0
    soundfile.write(folder / "speaker1" / "1.wav", np.zeros(16_000), 16_000)
    capsys.readouterr()
    assert main(["corpus", "check", str(manifest), "--json"]) == 1
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["kind"], each["utterance_ids"]) for each in found if each["severity"] == "error"] == [
        ("silence", ["speaker1_1"])
    ]
    assert main(["corpus", "check", str(manifest), "--no-audio"]) == 0
    assert main(["corpus", "check", str(manifest), "--no-audio", "--frames-per-second", "5"]) == 1
    shown = capsys.readouterr().out
    assert "text-too-long-for-ctc: 6 utterance(s)" in shown
    assert "and 3 more (--all shows them)" in shown


def test_texts_are_checked_and_counted_as_a_policy_has_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, policy = tmp_path / "manifest.tsv", tmp_path / "policy.json"
    rows = [f"u{number}\tu{number}.wav\t2\tni=ki wa\u2019si [risa larga] wa'si\n" for number in range(2)]
    manifest.write_text("id\taudio\tduration_s\ttext\n" + "".join(rows), encoding="utf-8")
    policy.write_text(json.dumps({"replace": {"[risa larga]": "", "=": "", "\u2019": "'"}}))
    command = ["corpus", "check", str(manifest), "--no-audio", "--json"]
    assert main(command) == 0
    kinds = {json.loads(line)["kind"] for line in capsys.readouterr().out.splitlines()}
    assert kinds == {"apostrophe-variants", "markup", "split-words"}
    assert main([*command, "--policy", str(policy)]) == 0
    assert capsys.readouterr().out == ""
    assert main(["corpus", "stats", str(manifest), "--json", "--policy", str(policy)]) == 0
    stats = json.loads(capsys.readouterr().out)
    assert (stats["splits"]["all"]["words"], stats["policy"]) == (6, TextPolicy.read(policy).describe())


def test_export_writes_a_kaldi_directory_per_split(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "manifest.tsv"
    assert main(["corpus", "import", str(folder), "--out", str(manifest), "--split", "train=2,dev=1"]) == 0
    capsys.readouterr()
    assert main(["corpus", "export", str(manifest), "--form", "kaldi", "--out", str(tmp_path / "kaldi")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert (tmp_path / "kaldi" / "train" / "wav.scp").is_file()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["import", "GONE", "--out", "m.tsv"], "does not exist"),
        (["import", "EMPTY", "--out", "m.tsv"], "no form"),
        (["import", "FOLDER", "--out", "m.tsv", "--split", "train=x"], "--split"),
        (["import", "FOLDER", "--out", "m.tsv", "--split", "train=1,dev=-1"], "positive"),
        (["import", "FOLDER", "--out", "m.tsv", "--split", "train,dev"], "write shares"),
        (["import", "FOLDER", "--out", "m.tsv", "--form", "folder", "--tier", "x"], "--tier has no use"),
        (["import", "FOLDER", "--out", "m.tsv", "--audio", "GONE"], "--audio"),
        (["import", "FOLDER", "--out", "m.tsv", "--speaker-pattern", "("], "--speaker-pattern"),
        (["check", "GONE"], "manifest"),
    ],
)
def test_mistakes_are_one_line_that_names_them(
    arguments: list[str], told: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    places = {
        "GONE": tmp_path / "gone",
        "EMPTY": tmp_path / "empty",
        "FOLDER": folder,
        "m.tsv": tmp_path / "m.tsv",
    }
    assert main(["corpus", *(str(places.get(each, each)) for each in arguments)]) == 1
    err = capsys.readouterr().err
    assert told in err
    assert len(err.strip().split("\n")) == 1
    assert not (tmp_path / "m.tsv").exists()


def test_wrong_usage_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["corpus"],
        ["corpus", "import", "x"],
        ["corpus", "import", "x", "--out", "y", "--columns", "audio"],
    ):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2
    capsys.readouterr()


def test_manifests_to_join_have_names_of_their_own(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, joined = folder / "manifest.tsv", tmp_path / "joined.tsv"
    assert main(["corpus", "import", str(folder), "--out", str(manifest)]) == 0
    assert main(["corpus", "join", f"a={manifest}", f"a={manifest}", "--out", str(joined)]) == 1
    assert "the name 'a' is given to two manifests" in capsys.readouterr().err
    assert not joined.exists()


def test_recordings_of_one_name_in_two_corpora_stay_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for day in ("day1", "day2"):
        (tmp_path / day).mkdir()
        names = ("talk", f"of_{day}")
        for name in names:
            soundfile.write(tmp_path / day / f"{name}.wav", np.zeros(16_000), 16_000)
        rows = [f"{name}.wav\t{name}@1.5-2\tari\n" for name in names]
        (tmp_path / f"{day}.tsv").write_text("audio\trecording\ttext\n" + "".join(rows))
        source = ["corpus", "import", str(tmp_path / f"{day}.tsv"), "--audio", str(tmp_path / day)]
        assert main([*source, "--out", str(tmp_path / f"{day}_m.tsv")]) == 0
    joined = tmp_path / "joined.tsv"
    parts = [f"a={tmp_path / 'day1_m.tsv'}", f"b={tmp_path / 'day2_m.tsv'}", f"c={tmp_path / 'day1_m.tsv'}"]
    assert main(["corpus", "join", *parts, "--out", str(joined)]) == 0
    names = [each.extra["recording"].removesuffix("@1.5-2") for each in read_manifest(joined)]
    # What lies in one folder is one recording, in whichever corpus.
    assert names == ["a/talk", "of_day1", "b/talk", "of_day2", "a/talk", "of_day1"]
    assert "1 name(s) of recordings are in several corpora" in capsys.readouterr().err


def test_a_manifest_is_replaced_only_when_it_may_be(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, joined = folder / "manifest.tsv", tmp_path / "joined.tsv"
    import_it = ["corpus", "import", str(folder), "--out"]
    join = ["corpus", "join", f"a={manifest}", "--out"]
    for command, out in ((import_it, manifest), (join, joined)):
        assert main([*command, str(out)]) == 0
        assert main([*command, str(out)]) == 1
        assert "exists and is kept" in capsys.readouterr().err
        assert main([*command, str(out), "--overwrite"]) == 0  # the recordings, not the manifest beside them
    notes = tmp_path / "notes.tsv"
    notes.write_text("field notes\n")
    for command in (import_it, join):
        assert main([*command, str(notes), "--overwrite"]) == 1
        assert "of another kind" in capsys.readouterr().err
    assert notes.read_text() == "field notes\n"
    assert main([*join, str(manifest), "--overwrite"]) == 1
    assert main(["corpus", "import", str(manifest), "--out", str(manifest), "--overwrite"]) == 1
    assert capsys.readouterr().err.count("one of the inputs") == 2
    out = ["--form", "fairseq", "--out", str(folder), "--overwrite", "--split", "manifest"]
    assert (
        main(["corpus", "import", str(folder), "--out", str(manifest), "--overwrite", "--split", "manifest"])
        == 0
    )
    assert main(["corpus", "export", str(manifest), *out]) == 1
    assert "one of the inputs" in capsys.readouterr().err
    assert len(read_manifest(manifest)) == 6


def test_where_nothing_can_be_written_nothing_is_measured(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("asr.importers.import_corpus", lambda *_, **__: pytest.fail("it was begun"))
    assert main(["corpus", "import", str(folder), "--out", str(tmp_path / "file" / "m.tsv")]) == 1
    assert "that can be written" in capsys.readouterr().err


def test_after_control_c_nothing_is_said_to_stay_where_nothing_does(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("asr.importers.import_corpus", stop)
    monkeypatch.setattr("asr.curate.curate", stop)
    assert main(["corpus", "import", str(folder), "--out", str(tmp_path / "m.tsv")]) == 130
    assert capsys.readouterr().err == "loquela: stopped\n"
    assert main(["corpus", "curate", str(folder), "--out", str(tmp_path / "o")]) == 130
    assert capsys.readouterr().err == "loquela: stopped; what is done stays\n"

"""Curation: speech kept, noise and music told apart, a killed run goes on, every second accounted for."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from asr.cli import main
from asr.curate import CurateConfig, curate
from asr.curate.curate import dev_ids
from asr.curate.music import low_energy_share
from asr.curate.snr import LOWEST_DB, TABLE, wada_snr
from asr.manifest import Utterance, read_manifest
from asr.segment import VadConfig
from lm.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


def gamma_speech(count: int, seed: int) -> NDArray[np.float64]:
    """Samples whose amplitude is Gamma(0.4), with mean square 1."""
    generator = np.random.default_rng(seed)
    return generator.gamma(0.4, size=count) * generator.choice([-1, 1], count) / np.sqrt(0.4 * 1.4)


@pytest.fixture(scope="module")
def talk() -> NDArray[np.float32]:
    """Twelve seconds of the synthetic talk that ships, which webrtcvad takes for speech."""
    waveform, rate = soundfile.read(ROOT / "egs/mini/demo/talk.ogg", frames=12 * 16_000)
    assert rate == 16_000
    return waveform.astype(np.float32)


@pytest.mark.parametrize("decibels", [0, 10, 20, 40])
def test_the_table_is_its_definition(decibels: int) -> None:
    """Drawn anew: two million samples of Gamma(0.4) speech and Gaussian noise at a known ratio."""
    noise = np.random.default_rng(9).standard_normal(2_000_000)
    mixed = gamma_speech(2_000_000, 1) * 10 ** (decibels / 20) + noise
    amplitude = np.abs(mixed)
    statistic = np.log(amplitude.mean()) - np.log(amplitude).mean()
    assert statistic == pytest.approx(TABLE[decibels - LOWEST_DB], abs=3e-3)
    assert wada_snr(mixed.astype(np.float32)) == pytest.approx(decibels, abs=0.5)


@pytest.mark.parametrize("sound", [np.zeros(1000), np.full(1000, 0.02), np.zeros(3)])
def test_snr_of_silence_is_no_number(sound: NDArray[np.float64]) -> None:
    assert np.isnan(wada_snr(sound.astype(np.float32)))


@pytest.mark.parametrize("offset", [0.0, 0.01, -0.03])
def test_the_offset_of_a_recorder_is_not_heard(offset: float) -> None:
    """As 16-bit samples, with pauses that an editor muted: it writes 0 there, whatever the offset."""
    noise = np.random.default_rng(9).standard_normal(160_000)
    mixed = 0.01 * (gamma_speech(160_000, 1) * 10 ** (15 / 20) + noise)
    samples = ((mixed + offset) * 32_768).round() / 32_768
    samples.reshape(-1, 16_000)[:, :3_200] = 0
    assert wada_snr(samples.astype(np.float32)) == pytest.approx(15, abs=0.5)


def test_muted_pauses_of_a_lossy_file_are_not_heard() -> None:
    """A decoder gives about -100 dB where a recorder muted the pauses."""
    generator = np.random.default_rng(3)
    noisy = 0.05 * (gamma_speech(160_000, 1) * 10 ** (5 / 20) + generator.standard_normal(160_000))
    muted = noisy.copy()
    muted.reshape(-1, 16_000)[:, :3_200] = 1e-5 * generator.standard_normal(3_200)
    assert wada_snr(muted) == pytest.approx(wada_snr(noisy), abs=0.5)


def test_music_is_told_from_speech(talk: NDArray[np.float32]) -> None:
    clock = np.arange(8 * 16_000) / 16_000
    chords = sum(np.sin(2 * np.pi * pitch * clock) for pitch in (220, 277, 330)).astype(np.float32)
    assert low_energy_share(talk) > 0.2
    assert low_energy_share(chords) < 0.01
    assert np.isnan(low_energy_share(talk[:8000]))


@pytest.fixture
def recordings(tmp_path: Path, talk: NDArray[np.float32]) -> Path:
    """Two languages: clean, copied, noisy, musical, silent, and one that is no audio."""
    folder = tmp_path / "raw"
    noise = np.random.default_rng(1).standard_normal(len(talk)).astype(np.float32)
    clock = np.arange(len(talk)) / 16_000
    hum = 0.2 * np.sin(2 * np.pi * 200 * clock) * (1 + 0.2 * np.sin(2 * np.pi * 3 * clock))
    sounds = {
        "kichwa/clean one.wav": talk,
        "kichwa/again.wav": talk,
        "kichwa/silent.wav": np.zeros(16_000 * 3, np.float32),
        "mboshi/noisy.wav": talk + 0.7 * float(talk.std()) * noise,
        "mboshi/hum.wav": hum.astype(np.float32),
    }
    for name, sound in sounds.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, sound, 16_000)
    (folder / "mboshi/broken.wav").write_text("no audio")
    return folder


def test_what_is_kept_and_what_is_not(recordings: Path, tmp_path: Path) -> None:
    utterances, problems = curate(recordings, tmp_path / "out", CurateConfig(min_snr_db=10))
    assert {each.language for each in utterances} == {"kichwa"}
    assert len({each.extra["recording"] for each in utterances}) == 1
    assert sum(each.duration_s for each in utterances) > 5
    assert sorted(problem.split(" is ")[0].rpartition("/")[2] for problem in problems)[1:] == [
        "clean one.wav"
    ]
    assert "broken.wav" in problems[-1]
    table = [line.split("\t") for line in (tmp_path / "out" / "report.tsv").read_text().splitlines()]
    for row in table[1:]:
        assert float(row[1]) == pytest.approx(sum(map(float, row[2:])), abs=4e-4)  # every second once
    by_language = {row[0]: dict(zip(table[0][1:], map(float, row[1:]), strict=True)) for row in table[1:]}
    assert by_language["kichwa"]["duplicate"] == pytest.approx(12 / 3600, abs=1e-3)
    assert by_language["mboshi"]["noisy"] > 0
    rows = read_manifest(tmp_path / "out" / "manifest.tsv")
    assert [row.id for row in rows] == [each.id for each in utterances]
    assert all(row.audio.resolve().is_file() for row in rows)


def test_a_second_run_hears_only_what_is_new(
    recordings: Path, tmp_path: Path, talk: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["asr.curate.curate"]
    heard: list[str] = []
    original = module.sift
    monkeypatch.setattr(module, "sift", lambda path, *rest: heard.append(path.name) or original(path, *rest))
    first, _ = curate(recordings, tmp_path / "out", CurateConfig())
    assert len(heard) == 6
    # As a crash leaves it: the last line cut short.
    journal = tmp_path / "out" / "journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole[: len(whole) - 20])
    last = json.loads(whole.splitlines()[-1])["file"]
    soundfile.write(recordings / "kichwa" / "new.wav", talk[::-1], 16_000)
    heard.clear()
    second, _ = curate(recordings, tmp_path / "out", CurateConfig())
    assert sorted(heard) == sorted([Path(last).name, "broken.wav", "new.wav"])
    assert {each.id for each in first} <= {each.id for each in second}
    heard.clear()
    curate(recordings, tmp_path / "out", CurateConfig())
    assert heard == ["broken.wav"]
    with pytest.raises(InputError, match="curated with other settings"):
        curate(recordings, tmp_path / "out", CurateConfig(min_snr_db=3))


def test_a_file_that_could_not_be_read_is_tried_again(
    tmp_path: Path, talk: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    for name, sound in {"one.wav": talk, "two.wav": talk[16_000:]}.items():
        soundfile.write(folder / name, sound, 16_000)
    module = sys.modules["asr.curate.curate"]
    original = module.sift

    def unlucky(path: Path, *rest: Any) -> dict[str, Any]:
        if path.name == "two.wav":
            raise InputError(f"{path}: Input/output error.")
        found: dict[str, Any] = original(path, *rest)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(module, "sift", unlucky)
        first, problems = curate(folder, tmp_path / "out", CurateConfig())
    assert len(problems) == 1
    second, problems = curate(folder, tmp_path / "out", CurateConfig())
    assert not problems
    assert {row.audio.name for row in first} == {"one.wav"}
    assert {row.audio.name for row in second} == {"one.wav", "two.wav"}


def test_an_original_and_its_copy_are_told_apart_and_a_small_collection_has_a_dev(
    tmp_path: Path, talk: NDArray[np.float32]
) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    for name, sound in {"a b.wav": talk, "a_b.flac": talk[:-16_000], "c.wav": talk[8_000:]}.items():
        soundfile.write(folder / name, sound, 16_000)
    curate(folder, tmp_path / "out", CurateConfig())
    rows = read_manifest(tmp_path / "out" / "manifest.tsv")  # refuses two of one id
    recordings = {row.audio.name: row.extra["recording"] for row in rows}
    assert recordings["c.wav"] == "c"
    assert len(set(recordings.values())) == 3
    assert len({row.audio for row in rows if row.split == "dev"}) == 1
    assert all(row.split == "train" for row in curate(folder, tmp_path / "out", CurateConfig(dev_share=0))[0])
    # Of a single file the last stretches.
    config = CurateConfig(min_s=0.1, vad=VadConfig(max_segment_s=4))
    splits = [row.split for row in curate(folder / "c.wav", tmp_path / "one", config)[0]]
    assert splits == ["train"] * (len(splits) - 1) + ["dev"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep such names out")
def test_a_file_whose_name_is_not_utf_8_is_reported(tmp_path: Path, talk: NDArray[np.float32]) -> None:
    folder = tmp_path / "raw"
    folder.mkdir()
    soundfile.write(folder / "good.wav", talk, 16_000)
    shutil.copy(folder / "good.wav", os.fsdecode(bytes(folder) + b"/ni\xf1o.wav"))
    utterances, problems = curate(folder, tmp_path / "out", CurateConfig())
    assert utterances
    assert len(problems) == 1
    assert "ni\\xf1o.wav': its name is not UTF-8. Rename it." in problems[0]


def test_a_link_to_nowhere_is_named_and_the_others_go_on(tmp_path: Path, talk: NDArray[np.float32]) -> None:
    (tmp_path / "raw").mkdir()
    soundfile.write(tmp_path / "raw" / "talk.wav", talk, 16_000)
    (tmp_path / "raw" / "absent.wav").symlink_to(tmp_path / "nowhere.wav")
    kept, problems = curate(tmp_path / "raw", tmp_path / "out", CurateConfig())
    assert {each.audio.name for each in kept} == {"talk.wav"}
    assert ["absent.wav: a link to a file" in each for each in problems] == [True]


def test_the_command(recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["corpus", "curate", str(recordings), "--out", str(tmp_path / "o"), "--language", "qu"])
    assert status == 1
    captured = capsys.readouterr()
    assert "left out: " in captured.err
    assert "broken.wav" in captured.err
    assert captured.out.startswith("language\thours\tkept")
    assert main(["corpus", "curate", str(tmp_path / "nowhere"), "--out", str(tmp_path / "o2")]) == 1
    assert "no audio in it" in capsys.readouterr().err


def test_manifests_are_joined(tmp_path: Path, tone_corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "joined.tsv"
    assert main(["corpus", "join", f"one={tone_corpus}", f"two={tone_corpus}", "--out", str(out)]) == 0
    rows = read_manifest(out)
    assert len(rows) == 112
    assert {row.extra["corpus"] for row in rows} == {"one", "two"}
    assert rows[0].id.startswith("one_")
    assert rows[0].audio.exists()
    assert main(["corpus", "join", str(tone_corpus), "--out", str(out)]) == 1
    assert "write NAME=MANIFEST" in capsys.readouterr().err


def test_dev_is_a_share_of_the_seconds_not_of_the_files() -> None:
    """A language with one long and three short recordings, and one with two long ones."""

    def rows(language: str, lengths: list[int]) -> list[Utterance]:
        return [
            Utterance(
                id=f"{language}{file}-{number}", audio=Path(f"/raw/{language}/{file}.wav"),
                offset_s=10.0 * number, duration_s=10.0, language=language,
            )
            for file, length in enumerate(lengths) for number in range(length)
        ]  # fmt: skip

    for long in range(4):  # wherever its name puts it
        utterances = rows("a", [100 if file == long else 3 for file in range(4)]) + rows("b", [50, 50])
        dev = dev_ids(utterances, Path("/raw"), 0.03)
        seconds = {name: sum(10 for each in dev if each[0] == name) for name in "ab"}
        assert seconds == {"a": 30, "b": 30}
        assert f"a{long}-0" not in dev


@pytest.fixture
def two_languages(tmp_path: Path, talk: NDArray[np.float32]) -> Path:
    folder = tmp_path / "raw"
    for number, language in enumerate(("quy", "mdw")):
        (folder / language).mkdir(parents=True)
        soundfile.write(folder / language / "001.wav", talk[16_000 * number :][: 11 * 16_000], 16_000)
    return folder


def test_the_rows_of_another_folder_are_kept(two_languages: Path, tmp_path: Path) -> None:
    raw, out = two_languages, tmp_path / "out"
    rows, _ = curate(raw / "quy", out, CurateConfig())
    before = (out / "manifest.tsv").read_bytes()
    # Of the same name and size, and another recording.
    for other in (raw / "mdw", raw / "mdw" / "001.wav"):
        with pytest.raises(
            InputError,
            match=rf"holds {len(rows)} rows, and {len(rows)} of them would go.*as .*quy/001.wav.*another --out",
        ):
            curate(other, out, CurateConfig())
    assert (out / "manifest.tsv").read_bytes() == before
    both, _ = curate(raw, out, CurateConfig())  # the remedy
    assert {row.audio for row in both} == {raw / "quy" / "001.wav", raw / "mdw" / "001.wav"}
    with pytest.raises(InputError, match=rf"holds {len(both)} rows"):
        curate(raw / "mdw", out, CurateConfig())


def test_a_folder_may_move_be_copied_and_lose_files(two_languages: Path, tmp_path: Path) -> None:
    raw, out = two_languages, tmp_path / "out"
    first, _ = curate(raw, out, CurateConfig())
    copied = shutil.copytree(raw, tmp_path / "copied")
    again, _ = curate(copied, out, CurateConfig())
    assert {row.id for row in again} == {row.id for row in first}
    moved = copied.rename(tmp_path / "moved")
    (moved / "mdw" / "001.wav").unlink()
    rows, _ = curate(moved, out, CurateConfig())
    assert {row.audio for row in rows} == {moved / "quy" / "001.wav"}
    (moved / "quy" / "001.wav").rename(moved / "quy" / "002.wav")
    assert {row.audio.name for row in curate(moved, out, CurateConfig())[0]} == {"002.wav"}


def test_ctrl_c_waits_for_no_file_and_keeps_what_was_heard(
    two_languages: Path, tmp_path: Path, talk: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["asr.curate.curate"]
    original = module.stream

    def endless(path: Path, chunk_s: float) -> Iterator[NDArray[np.float32]]:
        for _ in range(2_000 if "mdw" in path.parts else 0):
            time.sleep(0.01)
            yield talk
        yield from original(path, chunk_s=chunk_s)

    def interrupt(done: int, of: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "stream", endless)
    with pytest.raises(KeyboardInterrupt):
        curate(two_languages, tmp_path / "out", CurateConfig(), jobs=2, progress=interrupt)
    lines = (tmp_path / "out" / "journal.jsonl").read_text().splitlines()
    assert [json.loads(line)["file"] for line in lines[1:]] == ["quy/001.wav"]


@pytest.mark.parametrize("name", ["min_s", "min_snr_db", "min_low_energy"])
def test_a_limit_that_is_no_number_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} is nan. Give a finite number"):
        CurateConfig(**{name: float("nan")})

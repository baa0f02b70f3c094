"""``loquela transcribe`` as a person uses it: what works, and what each mistake says."""

from __future__ import annotations

import errno
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from itertools import pairwise
from operator import attrgetter
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from asr.cli import guarded, main
from asr.cli.jobs import Job, find_jobs, found_jobs
from asr.encoder.conformer import ConformerConfig, ConformerEncoder
from asr.formats import FORMAT_NAMES, read_transcript
from asr.formats.eaf import read_eaf
from asr.model import CTCModel, pack_model, save_model
from asr.opened import device_named
from asr.segment import VadConfig
from asr.text import TextPolicy
from asr.tokenizer import character_tokenizer, piece_tokenizer
from asr.transcribe import TranscribeConfig, Transcriber, account
from asr.transcript import Gap, TranscriptSegment
from lm.build import build_language_model
from lm.errors import InputError
from lm.folder import set_decoding
from recipes import pack
from tests.conftest import handed_on

SPEECH_S = 3.0


def babble(seconds: float = SPEECH_S, rate: int = 16_000) -> NDArray[np.float32]:
    """Pulses through a resonance, with a syllable's rhythm: enough like speech for the detector."""
    clock = np.arange(int(seconds * rate)) / rate
    pulses = np.sign(np.sin(2 * np.pi * 120 * clock)) * np.sin(2 * np.pi * 700 * clock)
    return (0.3 * pulses * (0.55 + 0.45 * np.sin(2 * np.pi * 4 * clock))).astype(np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model; it writes nonsense, but it writes."""
    torch.manual_seed(1)
    encoder = ConformerEncoder(ConformerConfig(width=32, num_layers=1, num_heads=2, stem_channels=8))
    untrained = CTCModel(encoder, character_tokenizer(["ab c"], TextPolicy()))
    with torch.no_grad():
        untrained.head.bias[0] -= 3  # fewer blanks, so that there is text
    folder = tmp_path_factory.mktemp("model") / "model"
    save_model(untrained, folder)
    return folder


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """A good recording: speech between silences."""
    path = tmp_path / "talk.wav"
    silence = np.zeros(16_000, np.float32)
    soundfile.write(path, np.concatenate([silence, babble(), silence]), 16_000)
    return path


def transcribe(model: Path, *words: object) -> int:
    """Run the command in this process; returns the exit status."""
    return main(["transcribe", "--model", str(model), *map(str, words)])


def one_line(captured: str) -> str:
    """The single line that a mistake gives."""
    lines = [line for line in captured.splitlines() if line.startswith("loquela: ")]
    assert len(lines) == 1, captured
    assert "Traceback" not in captured
    return lines[0]


@pytest.mark.parametrize(
    ("words", "where", "value"),
    [
        ("--language quz", "language", "quz"),
        ("--device cpu", "device", "cpu"),
        ("--lm none", "lm", "none"),
        ("--channel 2", "config.channel", "2"),
        ("--segmenter dac", "config.segmenter", "dac"),
        ("--segmenter pdac --segmenter-model c", "config.classifier", "c"),
        ("--max-segment 9", "config.segments.max_segment_s", 9),
        ("--segmenter hybrid --min-segment 0.7", "config.segments.min_segment_s", 0.7),
        ("--vad-mode 3", "config.segments.mode", 3),
        ("--segmenter-option keep_s=0.21", "config.segments.keep_s", 0.21),
        ("--overlap 2.5", "config.overlap_s", 2.5),
        ("--nbest 3", "config.num_hypotheses", 3),
        ("--lm-weight 0.1", "decoding", {"lm_weight": 0.1}),
        ("--char-weight 0.2", "decoding", {"char_weight": 0.2}),
        ("--piece-weight 0.3", "decoding", {"piece_weight": 0.3}),
        ("--word-bonus 0.4", "decoding", {"word_bonus": 0.4}),
        ("--beam 7", "decoding", {"beam_width": 7}),
        ("--closed-vocabulary", "decoding", {"open_vocabulary": False}),
    ],
)
def test_what_an_option_says_reaches_the_transcriber(
    talk: Path, words: str, where: str, value: object
) -> None:
    given = handed_on(Transcriber, "load", lambda: transcribe(Path("m"), talk, *words.split()))
    assert attrgetter(where)(given) == value


# --- what works ---------------------------------------------------------------------------------


def test_every_format_is_written_and_read_back(model: Path, talk: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert transcribe(model, talk, "--format", ",".join(FORMAT_NAMES), "--out", out) == 0
    whole = read_transcript(out / "talk.json")
    assert whole.segments
    assert whole.duration == pytest.approx(5.0)
    for name in FORMAT_NAMES:
        words = " ".join(segment.text for segment in read_transcript(out / f"talk.{name}").segments).split()
        assert words == " ".join(segment.text for segment in whole.segments).split()


def test_a_tilde_that_the_shell_leaves_is_the_home_folder(
    model: Path, talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    shutil.copytree(model, tmp_path / "home" / "model")
    assert transcribe(Path("~/model"), talk, "--format", "json", "--out=~/tr") == 0
    assert (tmp_path / "home" / "tr" / "talk.json").is_file()
    assert not Path("~").exists()


def test_json_lines_are_utf_8_in_any_locale(tmp_path: Path) -> None:
    code = "import sys, asr.cli; asr.cli.guarded(lambda: print('m\\xe3e', sys.argv[1]) or 0)"
    done = subprocess.run(
        [sys.executable, "-c", code, "fé"],
        capture_output=True,
        check=True,
        cwd=Path(__file__).parents[3],
        env=os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    )
    assert done.stdout.decode() == "mãe fé\n"


def test_the_remedy_of_a_full_disk_is_room(capsys: pytest.CaptureFixture[str]) -> None:
    def full() -> int:
        raise OSError(errno.ENOSPC, "No space left on device", "card.json")

    assert guarded(full) == 1
    told = capsys.readouterr().err
    assert (
        told == "loquela: card.json: No space left on device. Make room on the disk, or write to another.\n"
    )


def test_segments_go_to_stdout_as_json_lines(
    model: Path, talk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert transcribe(model, talk, "--nbest", "2") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows
    assert {"recording", "start", "end", "text", "confidence", "alternatives"} <= rows[0].keys()


def test_every_second_is_in_a_segment_or_a_gap(model: Path, talk: Path) -> None:
    transcript = Transcriber.load(model).transcribe(talk)
    spans = sorted((each.start, each.end) for each in (*transcript.segments, *transcript.gaps))
    assert spans[0][0] == 0
    assert spans[-1][1] == transcript.duration
    assert all(first[1] == pytest.approx(second[0]) for first, second in pairwise(spans))
    for segment in transcript.segments:
        assert all(segment.start <= word.start < word.end <= segment.end for word in segment.words)
        assert " ".join(word.text for word in segment.words) == segment.text


def test_gaps_of_channels_that_overlap_are_counted_once() -> None:
    segments = [TranscriptSegment(start=1, end=3, text="a"), TranscriptSegment(start=2, end=4, text="b")]
    gaps = [Gap(start=2.5, end=5, reason="no words recognised")]
    assert account(segments, gaps, 6) == [
        Gap(start=0, end=1, reason="silence"),
        Gap(start=4, end=5, reason="no words recognised"),
        Gap(start=5, end=6, reason="silence"),
    ]


def test_batches_do_not_change_the_transcript(model: Path, tmp_path: Path) -> None:
    pause = np.zeros(20_000, np.float32)
    parts = [part for seconds in (1.0, 2.5, 0.8, 1.7) for part in (babble(seconds), pause)]
    soundfile.write(tmp_path / "long.wav", np.concatenate(parts), 16_000)
    texts = {
        batch_s: Transcriber.load(model, config=TranscribeConfig(batch_s=batch_s))
        .transcribe(tmp_path / "long.wav")
        .text
        for batch_s in (0.0, 6.0, 100.0)
    }
    assert len(set(texts.values())) == 1
    assert texts[0.0]


def test_a_folder_keeps_its_shape_and_twins_keep_their_endings(
    model: Path, talk: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "day"
    (folder / "morning").mkdir(parents=True)
    soundfile.write(folder / "morning" / "a.wav", babble(), 16_000)
    soundfile.write(folder / "a.wav", babble(), 16_000)
    soundfile.write(folder / "a.flac", babble(), 16_000)
    assert transcribe(model, folder, "--format", "srt", "--out", tmp_path / "out") == 0
    written = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.srt"))
    assert written == ["a.flac.srt", "a.wav.srt", "morning/a.srt"]


def test_an_elan_file_gains_tiers_and_loses_nothing(model: Path, talk: Path, tmp_path: Path) -> None:
    assert transcribe(model, talk, "--format", "eaf") == 0
    first = talk.with_suffix(".eaf")
    assert transcribe(model, talk, first, "--format", "eaf", "--out", tmp_path / "out") == 0
    old, new = read_eaf(first), read_eaf(tmp_path / "out" / "talk.eaf")
    assert [tier.id for tier in new.tiers][: len(old.tiers)] == [tier.id for tier in old.tiers]
    assert len(new.tiers) == 2 * len(old.tiers)


def test_a_linguists_file_that_was_not_named_is_added_to_not_replaced(model: Path, talk: Path) -> None:
    assert transcribe(model, talk, "--format", "eaf") == 0
    eaf = talk.with_suffix(".eaf")
    eaf.write_text(eaf.read_text().replace("loquela-word", "hand-made"))
    old = [tier.id for tier in read_eaf(eaf).tiers]
    assert transcribe(model, talk, "--format", "eaf", "--overwrite") == 0
    assert [tier.id for tier in read_eaf(eaf).tiers][: len(old)] == old


def test_a_linguists_corrections_to_our_own_file_survive(model: Path, talk: Path) -> None:
    assert transcribe(model, talk.parent, "--format", "eaf") == 0
    eaf = talk.with_suffix(".eaf")
    text = read_eaf(eaf).tier("loquela-utterance").annotations[0].value
    eaf.write_text(eaf.read_text().replace(f">{text}<", ">corrected<"))
    for inputs in ([talk.parent], [talk]):
        assert transcribe(model, *inputs, "--format", "eaf", "--overwrite") == 0
        assert read_eaf(eaf).tier("loquela-utterance").annotations[0].value == "corrected"
    assert read_eaf(eaf).tier("loquela-utterance-2").annotations[0].value == text


def test_a_linguists_corrections_to_our_copy_of_their_file_survive(
    model: Path, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    eaf, out = talk.with_suffix(".eaf"), tmp_path / "out"
    eaf.write_text(EMPTY_EAF.replace("9000", "0"))
    run = partial(transcribe, model, talk, eaf, "--format", "eaf", "--out", out, "--overwrite")
    assert run() == 0
    copy = out / "talk.eaf"
    text = read_eaf(copy).tier("loquela-utterance").annotations[0].value
    copy.write_text(copy.read_text().replace(f">{text}<", ">corrected<"))
    assert "added to as it is" not in capsys.readouterr().err
    assert run() == 0
    assert read_eaf(copy).tier("loquela-utterance").annotations[0].value == "corrected"
    assert read_eaf(copy).tier("loquela-utterance-2").annotations[0].value == text
    assert "out/talk.eaf holds what a linguist may have corrected" in capsys.readouterr().err
    assert eaf.read_text() == EMPTY_EAF.replace("9000", "0")


def test_an_elan_file_of_ours_that_is_named_is_a_job_however_it_is_spelled(
    model: Path, talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "day"
    folder.mkdir()
    talk.rename(folder / "talk.wav")
    assert transcribe(model, folder, "--format", "eaf") == 0
    monkeypatch.chdir(folder)
    for number, inputs in enumerate((["./talk.eaf"], ["talk.eaf"], [".", folder / "talk.eaf"])):
        assert transcribe(model, *inputs, "--format", "eaf", "--out", tmp_path / str(number)) == 0
        assert len(read_eaf(tmp_path / str(number) / "talk.eaf").tiers) == 8


def test_the_recording_of_an_elan_file_is_the_one_that_it_links_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "talk.eaf").write_text(
        EMPTY_EAF.replace("MEDIA_URL", 'RELATIVE_MEDIA_URL="../wav/session.wav" MEDIA_URL')
    )
    assert found_jobs([str(folder)]) == ([], True)
    assert "talk.eaf: its recording was not found" in one_line(capsys.readouterr().err)
    (tmp_path / "wav").mkdir()
    linked = folder / ".." / "wav" / "session.wav"
    linked.touch()
    assert found_jobs([str(folder)]) == ([Job(linked, folder / "talk.eaf")], False)
    (folder / "talk.wav").touch()
    assert found_jobs([str(folder)]) == ([Job(folder / "talk.wav"), Job(linked, folder / "talk.eaf")], False)
    assert not capsys.readouterr().err
    meant = [str(folder / "talk.wav"), str(folder / "talk.eaf")]
    assert found_jobs(meant) == ([Job(folder / "talk.wav", folder / "talk.eaf")], False)
    linked.unlink()
    assert found_jobs([str(folder)]) == ([Job(folder / "talk.wav", folder / "talk.eaf")], False)
    (folder / "talk.wav").rename(folder / "talk.raw")
    named = [str(folder / "talk.raw"), str(folder / "talk.eaf")]
    assert found_jobs(named) == ([Job(folder / "talk.raw", folder / "talk.eaf")], False)


def test_of_several_recordings_that_an_elan_file_links_to_the_one_that_was_named_is_meant(
    tmp_path: Path,
) -> None:
    film, microphone, eaf = (tmp_path / name for name in ("sess.mp4", "sess_ca\u00f1a.wav", "sess.eaf"))
    link = '<MEDIA_DESCRIPTOR MEDIA_URL="{}" MIME_TYPE="unknown"/>'
    links = link.format("sess.mp4") + link.format("sess_can\u0303a.wav")
    eaf.write_text(EMPTY_EAF.replace("<MEDIA_DESCRIPTOR", f"{links}<MEDIA_DESCRIPTOR"), encoding="utf-8")
    film.touch()
    microphone.touch()
    assert found_jobs([str(microphone), str(eaf)]) == ([Job(microphone, eaf)], False)
    assert found_jobs([str(film), str(eaf)]) == ([Job(film, eaf)], False)
    assert found_jobs([str(eaf)]) == ([Job(microphone, eaf)], False)


def test_many_recordings_with_elan_files_are_found_in_time_linear_in_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = []
    for number in range(100):
        (tmp_path / f"{number}.wav").touch()
        (tmp_path / f"{number}.eaf").write_text(EMPTY_EAF.replace("talk.wav", f"{number}.wav"))
        inputs += [str(tmp_path / f"{number}.wav"), str(tmp_path / f"{number}.eaf")]
    resolved = []
    resolve = Path.resolve
    monkeypatch.setattr(Path, "resolve", lambda path: resolved.append(path) or resolve(path))
    for given in (inputs, [str(tmp_path)]):
        resolved.clear()
        assert all(isinstance(job, Job) and job.eaf is not None for job in find_jobs(given))
        assert 0 < len(resolved) <= 10 * len(inputs)


def test_nothing_to_do_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert found_jobs([]) == ([], True)
    assert "no recording among" in one_line(capsys.readouterr().err)


def test_a_folder_run_again_does_not_pile_up_tiers(model: Path, talk: Path) -> None:
    for _ in range(3):
        assert transcribe(model, talk.parent, "--format", "eaf", "--overwrite") == 0
    assert len(read_eaf(talk.with_suffix(".eaf")).tiers) == 4


def test_a_language_model_that_lies_with_the_model_is_used(model: Path, talk: Path, tmp_path: Path) -> None:
    build_language_model(["abc cab", "ab c"], tmp_path / "lm", policy=TextPolicy().to_dict())
    transcript = Transcriber.load(model, lm=tmp_path / "lm").transcribe(talk)
    assert transcript.details["language_model"] == str(tmp_path / "lm")


def test_a_packed_model_holds_its_language_model_and_misses_it_when_it_is_lost(
    model: Path, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build_language_model(["abc cab", "ab c"], tmp_path / "lm", policy=TextPolicy().to_dict())
    (tmp_path / "lm" / "notes.txt").write_text("mine")
    pack_model(model, tmp_path / "packed", lm=tmp_path / "lm")
    assert not (tmp_path / "packed" / "lm" / "notes.txt").exists()
    assert transcribe(tmp_path / "packed", talk) == 0
    shutil.rmtree(tmp_path / "packed" / "lm")
    capsys.readouterr()
    assert transcribe(tmp_path / "packed", talk) == 1
    assert "packed/lm does not exist" in one_line(capsys.readouterr().err)
    assert transcribe(tmp_path / "packed", talk, "--lm", "none") == 0


def test_fixed_windows_leave_no_second_out(
    model: Path, talk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = TranscribeConfig(segmenter="fixed", segments=VadConfig(max_segment_s=2))
    transcript = Transcriber.load(model, config=config).transcribe(talk)
    spans = sorted((each.start, each.end) for each in (*transcript.segments, *transcript.gaps))
    assert max(segment.end - segment.start for segment in transcript.segments) <= 2
    assert all(first[1] == second[0] for first, second in pairwise(spans))
    assert transcribe(model, talk, "--segmenter", "fixed", "--max-segment", "2") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["start"] for row in rows] == [segment.start for segment in transcript.segments]


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_other_rates_and_channels(model: Path, tmp_path: Path, rate: int) -> None:
    stereo = np.stack([babble(rate=rate), np.zeros(int(SPEECH_S * rate), np.float32)], axis=1)
    soundfile.write(tmp_path / "talk.wav", stereo, rate)
    transcript = Transcriber.load(model).transcribe(tmp_path / "talk.wav")
    assert transcript.duration == pytest.approx(SPEECH_S, abs=1e-3)
    assert transcript.details.get("telephone") == ("true" if rate == 8_000 else None)
    assert transcribe(model, tmp_path / "talk.wav", "--channel", "split", "--format", "json") == 0
    split = read_transcript(tmp_path / "talk.json")
    assert {segment.speaker for segment in split.segments} == {"channel 1"}


def test_names_with_spaces_newlines_and_other_letters(model: Path, tmp_path: Path) -> None:
    names = ["a b.wav", "línea\nnueva.wav", "ñandú-ωε-हिन्दी.wav", "-dash.wav", "100%.wav"]
    for name in names:
        soundfile.write(str(tmp_path / name), babble(), 16_000)
    assert transcribe(model, tmp_path, "--format", "srt,eaf", "--out", tmp_path / "out") == 0
    assert {path.stem + ".wav" for path in (tmp_path / "out").glob("*.srt")} == set(names)


# --- mistakes: one line, the rest is done -------------------------------------------------------


def truncated_flac(path: Path) -> None:
    soundfile.write(path, babble(20), 16_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def truncated_wav(path: Path) -> None:
    soundfile.write(path, babble(20), 16_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def truncated_ogg(path: Path) -> None:
    soundfile.write(path, babble(20), 16_000, format="OGG", subtype="VORBIS")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def truncated_mp4(path: Path) -> None:
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(babble(20)[None], format="fltp", layout="mono")
        frame.rate, frame.pts, frame.time_base = 16_000, 0, Fraction(1, 16_000)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def not_numbers(path: Path) -> None:
    waveform = babble()
    waveform[20_000] = np.nan
    soundfile.write(path, waveform, 16_000, subtype="FLOAT")


BAD = {
    "folder.wav": (lambda path: path.mkdir(), "no recording in this folder"),
    "empty.wav": (lambda path: path.touch(), "is empty"),
    "text.wav": (lambda path: path.write_text("these are words\n" * 99), "text.wav"),
}
BROKEN = {
    "cut.flac": (truncated_flac, "cut short or damaged", 20.0),
    "cut.wav": (truncated_wav, "cut.wav ends after 10.0 s of 20.0 s", 20.0),
    "cut.mp4": (truncated_mp4, "cut short or damaged", 20.0),
    "nan.wav": (not_numbers, "NaN or infinite sample at 1.250 s", SPEECH_S),
}
"""What makes it, what is said of it, and how long its header says that it is."""


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named_and_the_others_are_done(
    model: Path, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    make, message = BAD[name]
    make(tmp_path / name)
    assert transcribe(model, tmp_path / name, talk, "--format", "srt", "--out", tmp_path / "out") == 1
    line = one_line(capsys.readouterr().err)
    assert name in line
    assert message in line
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["talk.srt"]


@pytest.mark.parametrize("name", BROKEN)
def test_of_a_recording_that_breaks_off_what_can_be_read_is_written(
    model: Path, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    make, message, whole_s = BROKEN[name]
    make(tmp_path / name)
    assert transcribe(model, tmp_path / name, talk, "--format", "json", "--out", tmp_path / "out") == 1
    line = one_line(capsys.readouterr().err)
    assert name in line
    assert message in line
    assert read_transcript(tmp_path / "out" / "talk.json").segments
    found = read_transcript((tmp_path / "out" / name).with_suffix(".json"))
    assert found.segments
    assert message in found.details["failed"]
    rest = found.gaps[-1]
    assert message in rest.reason
    assert 0.9 <= rest.start == found.duration < whole_s
    assert rest.end == pytest.approx(whole_s, abs=0.1)
    spans = sorted((each.start, each.end) for each in (*found.segments, *found.gaps))
    assert spans[0][0] == 0
    assert all(first[1] == pytest.approx(second[0]) for first, second in pairwise(spans))


def test_of_an_ogg_that_breaks_off_nobody_knows_the_length(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truncated_ogg(tmp_path / "cut.ogg")
    assert transcribe(model, tmp_path / "cut.ogg", "--format", "json") == 1
    assert "stops in the middle of an Ogg page" in one_line(capsys.readouterr().err)
    found = read_transcript(tmp_path / "cut.json")
    assert found.segments
    assert 5 < found.duration < 15
    assert "stops in the middle of an Ogg page" in found.details["failed"]


def test_ones_own_segments_of_a_recording_that_breaks_off(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truncated_flac(tmp_path / "cut.flac")
    (tmp_path / "own.tsv").write_text("0.5\t3.0\n4.0\t18.0\n18.5\t19.5\n")
    own = ("--segments", tmp_path / "own.tsv", "--format", "json")
    assert transcribe(model, tmp_path / "cut.flac", *own) == 1
    assert "cut short or damaged" in one_line(capsys.readouterr().err)
    found = read_transcript(tmp_path / "cut.json")
    assert "cut short" in found.details["failed"]
    assert 4 < found.duration < 18
    assert [(each.start, each.end) for each in found.segments] == [(0.5, 3.0), (4.0, found.duration)]
    assert [(gap.start, gap.end, gap.reason.partition(":")[0]) for gap in found.gaps] == [
        (0.0, 0.5, "not in the given segments"),
        (3.0, 4.0, "not in the given segments"),
        (found.duration, 20.0, "failed"),
    ]


def lack_on_a_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 4.9 GiB.")


@pytest.mark.parametrize(
    "allocate",
    [lambda: torch.empty(2**45), lambda: np.empty(2**45), lack_on_a_gpu],
    ids=["torch", "numpy", "gpu"],
)
def test_a_recording_that_is_too_much_for_the_memory_is_named_and_the_others_are_done(
    model: Path,
    talk: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    allocate: Callable[[], object],
) -> None:
    soundfile.write(tmp_path / "long.wav", babble(6), 16_000)
    emissions = CTCModel.emissions

    def narrow(self: CTCModel, waveforms: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        if max(map(len, waveforms)) > 5 * 16_000:
            allocate()
        return emissions(self, waveforms)

    monkeypatch.setattr(CTCModel, "emissions", narrow)
    assert transcribe(model, tmp_path / "long.wav", talk, "--format", "txt", "--out", tmp_path / "out") == 1
    line = one_line(capsys.readouterr().err)
    assert re.search(r"long\.wav, \d\.\d to \d\.\d s: there is not enough memory for its \d\.\d s", line)
    assert "--max-segment" in line
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["talk.txt"]


def test_segments_that_are_too_much_together_are_encoded_one_by_one(
    model: Path, talk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on a GPU, whose groups hold 120 s however short the segments."""
    monkeypatch.setattr(CTCModel, "on_cpu", False)
    emissions = CTCModel.emissions
    groups: list[int] = []

    def narrow(self: CTCModel, waveforms: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        groups.append(len(waveforms))
        if len(waveforms) > 1:
            lack_on_a_gpu()
        return emissions(self, waveforms)

    monkeypatch.setattr(CTCModel, "emissions", narrow)
    assert transcribe(model, talk, "--segmenter", "fixed", "--max-segment", "2") == 0
    assert groups[0] > 1
    assert groups[1:] == [1] * groups[0]
    assert capsys.readouterr().out


def test_another_failure_of_torch_is_no_lack_of_memory(
    model: Path, talk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(CTCModel, "emissions", broken)
    with pytest.raises(RuntimeError, match="multiplied"):
        transcribe(model, talk)


def test_two_recordings_of_one_name_do_not_share_a_file(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "a.wav", babble(), 16_000)
    inputs = (tmp_path / "one", tmp_path / "two", tmp_path / "one" / "a.wav")
    assert transcribe(model, *inputs, "--format", "txt", "--out", tmp_path / "out", "--overwrite") == 1
    assert "another recording writes" in one_line(capsys.readouterr().err)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.wav.txt"]


def test_one_output_that_fails_leaves_the_others(
    model: Path, talk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    talk.with_suffix(".srt").mkdir()
    assert transcribe(model, talk, "--format", "srt,json,json", "--overwrite") == 1
    one_line(capsys.readouterr().err)
    assert talk.with_suffix(".json").is_file()


def test_a_damaged_or_a_second_elan_file_is_named_at_once(
    model: Path, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "talk.eaf").write_text("<ANNOTATION_DOCUMENT>")
    assert transcribe(model, talk, tmp_path / "talk.eaf", "--format", "txt") == 1
    assert "talk.eaf" in one_line(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("options", "message"), [(("--max-segment", "0.5"), "longest segment"), (("--device", "cuda"), "no GPU")]
)
def test_impossible_options_are_one_line(
    model: Path, talk: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, str], message: str
) -> None:
    if options == ("--device", "cuda") and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert transcribe(model, talk, *options) == 1
    assert message in one_line(capsys.readouterr().err)


def test_a_device_that_there_is_none_of_is_refused() -> None:
    for wrong in ("gpu", "cuda:x", ""):
        with pytest.raises(InputError, match=f"device '{wrong}' is none .* cpu, cuda or auto"):
            device_named(wrong)
    assert device_named("cpu") == "cpu"
    for name in ("cuda:99", "meta", "mps"):
        with pytest.raises(InputError, match=r"no GPU that torch|torch can use"):
            device_named(name)


@pytest.mark.parametrize("wrong", [{"num_hypotheses": 0}, {"batch_s": -1.0}, {"batch_s": float("nan")}])
def test_settings_that_mean_nothing_are_refused_at_once(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=rf"{next(iter(wrong))} is .*\. Give"):
        TranscribeConfig(**wrong)  # type: ignore[arg-type]


def test_a_copy_for_another_process_and_a_channel_that_is_a_number(model: Path, talk: Path) -> None:
    config = TranscribeConfig(channel=1)  # type: ignore[arg-type]
    transcriber = Transcriber.load(model, config=config, decoding={"beam_width": 4})
    transcript = transcriber.transcribe(talk)
    assert pickle.loads(pickle.dumps(transcriber)).transcribe(talk) == transcript


def test_a_missing_file(model: Path, talk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert transcribe(model, talk.with_name("none.wav"), talk) == 1
    captured = capsys.readouterr()
    assert "none.wav: no such file" in one_line(captured.err)
    assert captured.out


@pytest.mark.parametrize("seconds", [0.01, 0.1])
def test_a_hundredth_of_a_second_is_silence(model: Path, tmp_path: Path, seconds: float) -> None:
    soundfile.write(tmp_path / "click.wav", babble(seconds), 16_000)
    transcript = Transcriber.load(model).transcribe(tmp_path / "click.wav")
    assert not transcript.segments
    assert sum(gap.end - gap.start for gap in transcript.gaps) == pytest.approx(seconds)


def test_an_hour_of_silence_is_one_gap(model: Path, tmp_path: Path) -> None:
    with soundfile.SoundFile(tmp_path / "hour.flac", "w", 8_000, 1) as stream:
        for _ in range(60):
            stream.write(np.zeros(60 * 8_000, np.float32))
    transcript = Transcriber.load(model).transcribe(tmp_path / "hour.flac")
    assert not transcript.segments
    assert transcript.gaps == (Gap(start=0, end=3600, reason="silence"),)


def test_an_output_that_exists_is_kept(model: Path, talk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = talk.with_suffix(".srt")
    target.write_text("mine")
    assert transcribe(model, talk, "--format", "srt") == 1
    assert "exists and is kept. Give --overwrite" in one_line(capsys.readouterr().err)
    assert target.read_text() == "mine"
    assert transcribe(model, talk, "--format", "srt", "--overwrite") == 0
    assert target.read_text() != "mine"


def test_a_folder_that_cannot_be_written(
    model: Path, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert transcribe(model, talk, "--format", "srt", "--out", tmp_path / "file" / "out") == 1
    assert "Give --out a folder that can be written" in one_line(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--format", "srtt", "Did you mean 'srt'"),
        ("--channel", "left", "'left' is no channel"),
        ("--nonsense", "1", "--nonsense"),
    ],
)
def test_wrong_usage_ends_with_2(
    model: Path, talk: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, message: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        transcribe(model, talk, option, value)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_a_channel_that_is_not_there(model: Path, talk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert transcribe(model, talk, "--channel", "3") == 1
    assert "has no channel 3" in one_line(capsys.readouterr().err)


def test_a_model_that_is_not_there_or_not_one(
    talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert transcribe(tmp_path / "empty", talk) == 1
    assert "loquela.json" in one_line(capsys.readouterr().err)


def test_a_language_model_of_another_alphabet(
    model: Path, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build_language_model(["привет мир", "добрый день"], tmp_path / "lm", policy=TextPolicy().to_dict())
    assert transcribe(model, talk, "--lm", tmp_path / "lm") == 1
    assert "U+0434" in one_line(capsys.readouterr().err)


def test_pieces_of_another_tokenizer_can_be_left_out(
    model: Path,
    talk: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    texts = ["abc cab", "ab c", "c ab abc"] * 4
    splitter = piece_tokenizer(texts, TextPolicy(), num_pieces=6).splitter()
    policy = TextPolicy().to_dict()
    build_language_model(
        texts, tmp_path / "lm", character_order=0, piece_order=2, splitter=splitter, policy=policy
    )
    packing = ["pack", str(model), "--lm", str(tmp_path / "lm"), "--out", str(tmp_path / "packed")]
    monkeypatch.setattr("sys.argv", packing)
    assert transcribe(model, talk, "--lm", tmp_path / "lm") == 1
    told = one_line(capsys.readouterr().err)
    assert "or use its words alone, with --piece-weight 0" in told
    with pytest.raises(InputError) as refused:
        pack.main()
    assert str(refused.value) in told
    assert not (tmp_path / "packed").exists()
    assert transcribe(model, talk, "--lm", tmp_path / "lm", "--piece-weight", 0) == 0

    set_decoding(tmp_path / "lm", {"units": "word"})
    assert pack.main() == 0
    assert transcribe(tmp_path / "packed", talk) == 0


def test_control_c_leaves_whole_files(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(200):
        soundfile.write(folder / f"{number:03d}.wav", babble(6), 16_000)
    process = subprocess.Popen(
        [sys.executable, "-m", "st", "transcribe", str(folder), "--model", str(model),
         "--format", "json", "--out", str(tmp_path / "out")],
        cwd=Path(__file__).parents[3],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        # Tests that run in the background of a script have Ctrl-C ignored, and pass that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "out").glob("*.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    stderr = process.communicate()[1]
    assert process.returncode == 130
    assert "stopped; what is done stays" in stderr
    assert "Traceback" not in stderr
    done = sorted((tmp_path / "out").iterdir())
    assert 2 <= len(done) < 200
    assert all(path.suffix == ".json" and read_transcript(path).duration == pytest.approx(6) for path in done)


def test_help_is_quick_and_imports_no_torch() -> None:
    code = "import sys, asr.cli; asr.cli.main(['--version']); print('torch' in sys.modules or 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "False"
    spent = []
    for _ in range(3):
        before = os.times()
        subprocess.run(
            [sys.executable, "-m", "st", "--help"],
            capture_output=True,
            check=True,
            cwd=Path(__file__).parents[3],
        )
        after = os.times()
        spent.append(sum(after[2:4]) - sum(before[2:4]))  # of processor time, whatever else runs
    assert min(spent) < 0.7


# --- names ----------------------------------------------------------------------------------------


EMPTY_EAF = """<ANNOTATION_DOCUMENT AUTHOR="" DATE="2024-02-07T11:05:37Z" FORMAT="3.0" VERSION="3.0">
<HEADER TIME_UNITS="milliseconds"><MEDIA_DESCRIPTOR MEDIA_URL="talk.wav" MIME_TYPE="audio/x-wav" TIME_ORIGIN="9000"/>
</HEADER><TIME_ORDER/></ANNOTATION_DOCUMENT>"""


def test_what_an_elan_file_has_no_place_for_is_told(
    model: Path, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    eaf = tmp_path / "talk.eaf"
    eaf.write_text(EMPTY_EAF)
    assert transcribe(model, eaf, "--format", "eaf", "--out", tmp_path / "out") == 0
    assert "begins 9 s into" in capsys.readouterr().err
    assert read_eaf(tmp_path / "out" / "talk.eaf").tier("loquela-utterance").annotations == ()


def test_a_name_too_long_for_an_output_fails_alone(
    model: Path, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a", "x" * 251):
        shutil.copy(talk, folder / f"{name}.wav")
    assert transcribe(model, folder, "--format", "TextGrid", "--out", tmp_path / "out") == 1
    assert "a shorter one" in one_line(capsys.readouterr().err)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.TextGrid"]
    assert transcribe(model, talk, "y" * 300 + ".wav") == 1
    assert "no such file" in one_line(capsys.readouterr().err)


def test_in_a_folder_hidden_files_are_passed_over_and_unknown_endings_told(
    model: Path, talk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (talk.parent / "._talk.wav").write_bytes(b"what macOS leaves")
    (talk.parent / "film.flv").touch()
    (talk.parent / "notes.pdf").touch()
    assert transcribe(model, talk.parent) == 0
    captured = capsys.readouterr()
    assert "film.flv is left out" in captured.err
    assert "notes.pdf" not in captured.err
    assert captured.out


def test_a_link_to_a_recording_that_is_not_there_is_told_and_the_others_go_on(
    model: Path, talk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (talk.parent / "absent.wav").symlink_to(talk.parent / "nowhere.wav")
    assert transcribe(model, talk.parent) == 1
    captured = capsys.readouterr()
    assert "absent.wav: No such file" in one_line(captured.err)
    assert captured.out


def test_an_elan_file_and_its_recording_may_write_letters_otherwise(
    model: Path, talk: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(talk, folder / "can\u0303a.wav")
    (folder / "ca\u00f1a.eaf").write_text(EMPTY_EAF, encoding="utf-8")
    (job,) = find_jobs([str(folder)])
    assert isinstance(job, Job)
    assert job.eaf is not None
    (named,) = find_jobs([str(folder / "ca\u00f1a.wav")])
    assert isinstance(named, Job)
    assert named.recording.name == "can\u0303a.wav"


def test_what_a_language_model_or_channels_have_no_use_for_is_refused(
    model: Path, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert transcribe(model, talk, "--lm", "none", "--lm-weight", "3") == 1
    assert "--lm-weight has no use beside --lm none" in one_line(capsys.readouterr().err)
    (tmp_path / "own.tsv").write_text("0.5\t2.0\n")
    assert transcribe(model, talk, "--segments", tmp_path / "own.tsv", "--channel", "split") == 1
    assert "--channel split has no use beside --segments" in one_line(capsys.readouterr().err)

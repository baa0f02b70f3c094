"""``loquela segment``, and `loquela transcribe` with segments of one's own, as a person uses them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from asr.audio import probe
from asr.cli import main
from asr.encoder.conformer import ConformerConfig, ConformerEncoder
from asr.formats import read_transcript
from asr.formats.eaf import read_eaf
from asr.formats.textgrid import read_textgrid
from asr.model import CTCModel, save_model
from asr.segment import RECOGNISED, SEGMENTERS, VadConfig, build_segmenter
from asr.segment.files import FORMATS, read_segments
from asr.segment.recording import segment_recording
from asr.text import TextPolicy
from asr.tokenizer import character_tokenizer
from tests.asr.segment.sounds import RATE, lay, silence, speech


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """Speech at 1-3 and 6-8 s."""
    path = tmp_path / "talk.wav"
    soundfile.write(path, lay(silence(1), speech(2), silence(3), speech(2, 1), silence(1)), RATE)
    return path


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


def segment(*words: object) -> int:
    """Run the command in this process; returns the exit status."""
    return main(["segment", *map(str, words)])


def one_line(captured: str) -> str:
    """The single line that a mistake gives."""
    lines = [line for line in captured.splitlines() if line.startswith("loquela: ")]
    assert len(lines) == 1, captured
    assert "Traceback" not in captured
    return lines[0]


def test_segments_go_to_stdout_as_json_lines(talk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert segment(talk) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["recording"] for row in rows] == ["talk", "talk"]
    assert 0.5 < rows[0]["start"] <= 1 < 3 <= rows[0]["end"] < 4


def test_every_form_says_the_same(talk: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert segment(talk, "--format", ",".join(FORMATS), "--out", out) == 0
    spans = {
        form: [
            (round(each.start, 3), round(each.end, 3))
            for each in read_segments(out / f"talk.{form}").of(talk)
        ]
        for form in FORMATS
    }
    assert len(spans["yaml"]) == 2
    assert all(each == spans["yaml"] for each in spans.values())
    (utterances,) = (tier for tier in read_eaf(out / "talk.eaf").tiers if not tier.parent)
    assert [each.value for each in utterances.annotations] == ["", ""]
    assert [each.text for each in read_textgrid(out / "talk.TextGrid").tiers[0].intervals if each.text] == [
        "1",
        "2",
    ]


@pytest.mark.parametrize("name", SEGMENTERS)
def test_every_segmenter_can_be_named(
    talk: Path, model: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--segmenter-model", model) if name in RECOGNISED else ()
    assert segment(talk, "--segmenter", name, "--max-segment", "4", *given) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows
    assert all(row["end"] - row["start"] <= 4.001 for row in rows)


@pytest.mark.parametrize("command", ["segment", "transcribe"])
def test_any_setting_of_a_segmenter_can_be_given(
    command: str, talk: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def starts(*options: str) -> list[float]:
        given = ("--model", str(model)) if command == "transcribe" else ()
        assert main([command, str(talk), *given, "--segmenter", "energy", *options]) == 0
        return [json.loads(line)["start"] for line in capsys.readouterr().out.splitlines()]

    kept, bare = starts(), starts("--segmenter-option", "keep_s=0", "--segmenter-option", "frame_ms=20")
    assert len(kept) == len(bare) == 2
    assert all(0.2 < second - first < 0.4 for first, second in zip(kept, bare, strict=True))


def test_channels_are_speakers(tmp_path: Path) -> None:
    left, right = lay(speech(2), silence(3)), lay(silence(3), speech(2, 1))
    soundfile.write(tmp_path / "call.wav", np.stack([left, right], axis=1), RATE)
    assert segment(tmp_path / "call.wav", "--channel", "split", "--format", "rttm") == 0
    rows = [line.split() for line in (tmp_path / "call.rttm").read_text().splitlines()]
    assert [(row[0], row[1], row[7]) for row in rows] == [
        ("SPEAKER", "call", "channel_1"),
        ("SPEAKER", "call", "channel_2"),
    ]


def test_a_bad_file_is_named_and_the_others_are_done(
    talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.wav").touch()
    assert segment(tmp_path, "--format", "yaml", "--out", tmp_path / "out") == 1
    assert "empty.wav is empty" in one_line(capsys.readouterr().err)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["talk.yaml"]


def test_of_a_recording_that_breaks_off_what_can_be_read_is_cut(
    talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "whole.wav").write_bytes(talk.read_bytes())
    talk.write_bytes(talk.read_bytes()[: 44 + 2 * RATE * 5])  # its header goes on promising 9 s
    assert segment(tmp_path, "--format", ",".join(FORMATS), "--out", tmp_path / "out") == 1
    assert "talk.wav ends after 5.0 s of 9.0 s" in one_line(capsys.readouterr().err)
    for form in FORMATS:
        found, whole = (
            read_segments(tmp_path / "out" / f"{name}.{form}").of(talk.with_stem(name))
            for name in ("talk", "whole")
        )
        assert len(whole) == 2
        assert [(each.start, each.end) for each in found] == [(whole[0].start, whole[0].end)]
    made = segment_recording(talk, build_segmenter(VadConfig()))
    (lost,) = made.gaps
    assert (lost.start, lost.end, lost.reason) == (5.0, 9.0, f"failed: {made.details['failed']}")


def test_silence_gives_empty_files(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "quiet.wav", np.zeros(5 * RATE), RATE)
    assert segment(tmp_path / "quiet.wav", "--format", ",".join(FORMATS)) == 0
    assert (tmp_path / "quiet.yaml").read_text() == "[]\n"
    assert (tmp_path / "quiet.tsv").read_text() == "start\tend\n"
    assert (tmp_path / "quiet.rttm").read_text() == ""


@pytest.mark.parametrize(
    ("gain", "told"),
    [
        (1.0, ""),
        (10**-2.6, "s; its loudest sample is at -59 dBFS. Try --segmenter fixed, or turn the recording up."),
        (0.0, "speech in 0.0 of 12.0 s; all its samples are zero."),
    ],
)
def test_a_recording_too_quiet_for_the_detector_is_told_once(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], gain: float, told: str
) -> None:
    path = tmp_path / "talk.wav"
    waveform = lay(silence(2), speech(4), silence(2), speech(3, 1), silence(1))
    soundfile.write(path, waveform * gain / np.abs(waveform).max() * 0.45, RATE, subtype="FLOAT")
    own = tmp_path / "own.tsv"
    own.write_text("3\t3.1\n")
    transcribe = ("transcribe", path, "--model", model)
    for command in (("segment", path), transcribe):
        assert main([*map(str, command)]) == 0
        lines = [line for line in capsys.readouterr().err.splitlines() if "talk.wav: speech in" in line]
        assert [told in line for line in lines] == [True] * bool(told)
        assert main([*map(str, command), "--segmenter", "fixed"]) == 0
        assert "speech in" not in capsys.readouterr().err
    assert main([*map(str, transcribe), "--segments", str(own)]) == 0
    assert "speech in" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("level", "seconds", "told"),
    [
        (0.0, 9.0, "speech in 0.0 of 9.0 s; all its samples are zero."),
        (0.001, 1.0, "speech in 0.0 of 1.0 s; its loudest sample is at -60 dBFS."),
        (0.0, 0.9, ""),  # may hold nothing
        (0.01, 9.0, ""),  # a breath, at a level at which speech is found
    ],
)
def test_a_short_recording_in_which_nothing_can_be_heard_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], level: float, seconds: float, told: str
) -> None:
    waveform = np.zeros(round(seconds * RATE))
    waveform[RATE // 2] = level
    soundfile.write(tmp_path / "clip.wav", waveform, RATE, subtype="FLOAT")
    assert segment(tmp_path / "clip.wav") == 0
    said = capsys.readouterr().err
    assert told in said
    assert ("speech in" in said) == bool(told)


def test_a_job_that_was_stopped_is_finished_and_what_it_wrote_is_kept(
    talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "talk.tsv").write_text("mine")
    again = (talk, "--format", "tsv,eaf,rttm", "--out", out)
    assert segment(*again) == 1
    told = one_line(capsys.readouterr().err)
    assert "talk.tsv exists and is kept. Give --overwrite" in told
    assert sorted(path.name for path in out.iterdir()) == ["talk.eaf", "talk.rttm", "talk.tsv"]
    assert (out / "talk.tsv").read_text() == "mine"
    assert segment(*again) == 1
    told = one_line(capsys.readouterr().err)
    assert "talk.tsv, " in told
    assert "talk.rttm exist and are kept. Give --overwrite" in told
    assert segment(*again, "--overwrite") == 0
    assert (out / "talk.tsv").read_text() != "mine"


def test_files_that_exist_are_kept_and_a_linguists_is_never_replaced(
    talk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert segment(talk, "--format", "eaf") == 0
    eaf = talk.with_suffix(".eaf")
    eaf.write_text(eaf.read_text().replace("loquela-word", "hand-made"))
    old = [tier.id for tier in read_eaf(eaf).tiers]
    assert segment(talk, "--format", "eaf") == 1
    assert "exists and is kept" in one_line(capsys.readouterr().err)
    assert segment(talk, "--format", "eaf", "--overwrite") == 0
    assert [tier.id for tier in read_eaf(eaf).tiers][: len(old)] == old


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--out", "x"), "without --format"),
        (("--segmenter", "hybird"), "Did you mean 'hybrid'"),
        (("--max-segment", "0.1"), "longest segment"),
        (("--min-segment", "2"), "no setting 'min_segment_s'"),
        (
            ("--segmenter", "dac", "--segmenter-option", "kept=0.2"),
            "segmenter dac has no setting 'kept', only mode, frame_ms, max_segment_s, keep_s, min_pause_s.",
        ),
        (("--segmenter-option", "frame_ms=20.5"), "`frame_ms` must be a whole number; got 20.5."),
        (("--segmenter-option", "keep_s=-1"), "`keep_s`"),
        (("--vad-mode", "1", "--segmenter-option", "mode=2"), "setting mode is given twice, as 1 and 2."),
        (("--segmenter", "ctc-dac"), "Give its folder as --segmenter-model"),
        (("--segmenter", "ctc-hybrid", "--segmenter-model", "nowhere"), "nowhere"),
        (
            ("--segmenter", "pdac", "--max-segment", "200"),
            "at most a quarter of `horizon_s` (150 s); got 200",
        ),
    ],
)
def test_mistakes_are_one_line(
    talk: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], message: str
) -> None:
    assert segment(talk, *options) == 1
    assert message in one_line(capsys.readouterr().err)


@pytest.mark.parametrize("word", ["keep_s", "=1", "keep_s=", "keep_s=much", "keep_s=nan", "keep_s=inf"])
def test_a_setting_without_a_number_is_wrong_usage(
    talk: Path, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    with pytest.raises(SystemExit):
        segment(talk, "--segmenter-option", word)
    assert f"{word!r} is no NAME=VALUE with a number" in capsys.readouterr().err


def test_a_form_that_is_none_is_wrong_usage(talk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        segment(talk, "--format", "srt")
    assert "no form of segments 'srt'" in capsys.readouterr().err


# --- transcribe with segments of one's own ------------------------------------------------------------------


def test_ones_own_segments_are_transcribed_where_they_lie(
    model: Path, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.tsv").write_text("0.25\t2.5\n2.0\t4.0\n6.0\t8.0\n")  # the first two overlap
    command = ["transcribe", str(talk), "--model", str(model), "--segments", str(tmp_path / "own.tsv")]
    assert main(command) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["start"], row["end"]) for row in rows] == [(0.25, 2.5), (2.0, 4.0), (6.0, 8.0)]
    assert main([*command, "--format", "json"]) == 0
    gaps = read_transcript(talk.with_suffix(".json")).gaps
    assert [(gap.start, gap.end) for gap in gaps] == [(0, 0.25), (4, 6), (8, 9)]
    assert {gap.reason for gap in gaps} == {"not in the given segments"}


def test_ones_own_segments_that_the_model_cannot_hear_are_told(
    model: Path, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.tsv").write_text("0.25\t2.5\n3.001\t3.004\n")
    command = ["transcribe", str(talk), "--model", str(model), "--segments", str(tmp_path / "own.tsv")]
    assert main(command) == 0
    found = capsys.readouterr()
    assert len(found.out.splitlines()) == 1
    assert "talk.wav: 1 of the given segments are too short for the model" in found.err


def test_speakers_of_ones_own_segments_have_tiers_of_their_own(
    model: Path, talk: Path, tmp_path: Path
) -> None:
    rttm = tmp_path / "own.rttm"
    rttm.write_text(
        "SPEAKER talk 1 0.0 8.0 <NA> <NA> Ana <NA> <NA>\nSPEAKER talk 1 2.0 2.0 <NA> <NA> Ben <NA> <NA>\n"
    )
    command = ["transcribe", str(talk), "--model", str(model), "--segments", str(rttm)]
    assert main([*command, "--format", "json,eaf,TextGrid"]) == 0
    whole = read_transcript(talk.with_suffix(".json"))
    assert {segment.speaker for segment in whole.segments} == {"Ana", "Ben"}
    for name in ("eaf", "TextGrid"):
        back = read_transcript(talk.with_suffix(f".{name}")).segments
        for ours, theirs in zip(whole.segments, back, strict=True):
            assert ours.speaker == theirs.speaker
            assert [word.start for word in theirs.words] == [
                pytest.approx(word.start, abs=0.001) for word in ours.words
            ]


def test_segments_of_ones_own_that_nobody_is_named_for_overlap_in_lanes(
    model: Path, talk: Path, tmp_path: Path
) -> None:
    (tmp_path / "own.tsv").write_text("0\t8\n2\t4\n")
    command = ["transcribe", str(talk), "--model", str(model), "--segments", str(tmp_path / "own.tsv")]
    assert main([*command, "--format", "json,TextGrid"]) == 0
    words, lanes = (
        [word.start for segment in read_transcript(talk.with_suffix(end)).segments for word in segment.words]
        for end in (".json", ".TextGrid")
    )
    assert words == [pytest.approx(start, abs=0.001) for start in lanes]
    tiers = [tier.name for tier in read_textgrid(talk.with_suffix(".TextGrid")).tiers]
    assert [name for name in tiers if "confidence" not in name] == [
        "loquela-utterance", "loquela-word", "loquela-utterance@2", "loquela-word@2",
    ]  # fmt: skip


def test_ones_own_segments_are_cut_where_they_are_too_long(
    model: Path, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.tsv").write_text("0\t9\n")
    command = ["transcribe", str(talk), "--model", str(model), "--segments", str(tmp_path / "own.tsv")]
    assert main([*command, "--max-segment", "5"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(rows[0]["start"], rows[-1]["end"]) for _ in rows] == [(0, 9), (0, 9)]
    assert 3 < rows[0]["end"] <= 5  # in the pause


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--segments", "own.tsv", "--segmenter", "dac"), "--segmenter has no use beside --segments"),
        (("--segments", "own.tsv", "--vad-mode", "0"), "--vad-mode has no use beside --segments"),
        (("--segments", "own.tsv", "--min-segment", "1"), "--min-segment has no use beside --segments"),
        (
            ("--segments", "own.tsv", "--segmenter-option", "keep_s=0"),
            "--segmenter-option has no use beside --segments",
        ),
        (("--tier", "text"), "--tier 'text' is given without --segments"),
    ],
)
def test_what_has_no_use_beside_ones_own_segments_is_refused(
    model: Path, talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], options: tuple[str, ...], message: str,
) -> None:  # fmt: skip
    (tmp_path / "own.tsv").write_text("0\t9\n")
    monkeypatch.chdir(tmp_path)
    assert main(["transcribe", str(talk), "--model", str(model), *options]) == 1
    captured = capsys.readouterr()
    assert message in one_line(captured.err)
    assert not captured.out


def test_what_segment_writes_transcribe_reads(
    model: Path, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert segment(talk, "--format", "yaml,eaf,TextGrid", "--out", tmp_path / "out") == 0
    spans = []
    for form in ("yaml", "eaf", "TextGrid"):
        own = str(tmp_path / "out" / f"talk.{form}")
        assert main(["transcribe", str(talk), "--model", str(model), "--segments", own]) == 0
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        spans.append([(row["start"], row["end"]) for row in rows])
    assert spans[0]
    assert spans[0] == spans[1] == spans[2]


def test_own_segments_are_kept_even_with_overwrite(
    model: Path, talk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, grid = talk.with_suffix(".srt"), talk.with_suffix(".TextGrid")
    own.write_text("1\n00:00:01,000 --> 00:00:03,000\nmine\n")
    command = ["transcribe", str(talk), "--model", str(model), "--segments", str(own), "--overwrite"]
    assert main([*command, "--format", "srt"]) == 1
    assert "talk.srt is one of the inputs" in one_line(capsys.readouterr().err)
    assert "mine" in own.read_text()
    assert segment(talk, "--format", "TextGrid") == 0
    before = grid.read_bytes()
    assert segment(talk, "--compare", grid, "--format", "TextGrid", "--overwrite", "--max-segment", "1") == 1
    assert "talk.TextGrid is one of the inputs" in one_line(capsys.readouterr().err)
    assert grid.read_bytes() == before


def test_own_segments_that_end_beyond_the_recording_cost_no_transcript(
    model: Path,
    talk: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = tmp_path / "own.tsv"
    command = ["transcribe", str(talk), "--model", str(model), "--segments", str(own), "--format", "json"]
    command.append("--overwrite")

    def spans() -> list[tuple[float, float]]:
        found = read_transcript(talk.with_suffix(".json"))
        return sorted((each.start, each.end) for each in (*found.segments, *found.gaps))

    own.write_text("0\t2\n7\t9.4\n")
    assert main(command) == 0
    assert spans() == [(0, 2), (2, 7), (7, 9)]
    own.write_text("0\t2\n7\t9.7\n")
    assert main(command) == 1
    told = one_line(capsys.readouterr().err)
    assert "own.tsv: a segment from 7.000 to 9.700 s, but " in told
    assert spans() == [(0, 2), (2, 7), (7, 9)]
    assert read_transcript(talk.with_suffix(".json")).details["failed"] in told

    with monkeypatch.context() as patched:  # of a recording whose header tells no length
        patched.setattr(
            "asr.transcribe.probe",
            lambda *given, **named: replace(probe(*given, **named), header_duration_s=None),
        )
        own.write_text("0\t2\n9.6\t12\n")
        assert main(command) == 1
        assert "9.600 to 12.000 s" in one_line(capsys.readouterr().err)
        assert spans() == [(0, 2), (2, 9)]
        own.write_text("9.6\t12\n")
        talk.with_suffix(".json").unlink()
        assert main(command) == 1
        assert "9.600 to 12.000 s" in one_line(capsys.readouterr().err)
        assert not talk.with_suffix(".json").exists()

    def never(*_: object) -> None:
        raise AssertionError("encoded")

    monkeypatch.setattr(CTCModel, "emissions", never)
    own.write_text("0\t2\n9.6\t12\n")
    assert main(command) == 1
    assert "talk.wav ends at 9.000 s" in one_line(capsys.readouterr().err)


def test_own_segments_that_do_not_fit_are_one_line_and_other_files_go_on(
    model: Path, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = tmp_path / "second.wav"
    soundfile.write(second, speech(2), RATE)
    rttm = tmp_path / "all.rttm"
    rttm.write_text(
        "SPEAKER talk 1 1.0 2.0 <NA> <NA> A <NA> <NA>\nSPEAKER second 1 8.0 9.0 <NA> <NA> A <NA> <NA>\n"
    )
    command = ["transcribe", str(second), str(talk), "--model", str(model), "--segments", str(rttm)]
    assert main(command) == 1
    captured = capsys.readouterr()
    assert "second.wav ends at 2.000 s" in one_line(captured.err)
    assert [json.loads(line)["recording"] for line in captured.out.splitlines()] == ["talk"]
    table = tmp_path / "own.tsv"
    table.write_text("0.5 1.0\n")
    assert main([*command[:-1], str(table)]) == 1
    assert "names no recording, and there are 2" in one_line(capsys.readouterr().err)


@pytest.mark.parametrize("name", ["energy", "dac", "hybrid", *RECOGNISED])
def test_transcribe_takes_the_other_segmenters(
    model: Path, talk: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main(["transcribe", str(talk), "--model", str(model), "--segmenter", name]) == 0
    assert capsys.readouterr().out


def test_segments_are_compared_with_those_made_by_hand(
    talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hand.tsv").write_text("0.7\t3.4\n5.7\t8.5\n")
    (tmp_path / "words.ctm").write_text("talk 1 1.10 0.50 a\ntalk 1 6.50 0.50 b\ntalk 1 4.20 0.30 c\n")
    compare = ("--compare", tmp_path / "hand.tsv", "--words", tmp_path / "words.ctm")
    assert segment(talk, "--segmenter", "energy", *compare) == 0
    (row,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (row["recording"], row["segments"], row["reference_segments"]) == ("talk", 2, 2)
    assert row["f1_0.5s"] == 1
    assert row["time_lost"] == pytest.approx(0, abs=0.02)
    assert (row["words"], row["words_cut"], row["words_lost"]) == (3, 0, 1)
    assert segment(talk, "--segmenter", "fixed", "--max-segment", "1.35", *compare) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["words_cut"] == 2  # at 1.35 and 6.75 s


def test_a_recording_that_has_nothing_to_compare_with_is_named_and_the_others_are_compared(
    talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("first.wav", "last.wav"):
        (tmp_path / name).write_bytes(talk.read_bytes())
    rttm = tmp_path / "hand.rttm"
    rttm.write_text("".join(f"SPEAKER {name} 1 1.0 2.0\n" for name in ("first", "last")))
    assert segment(tmp_path / "first.wav", talk, tmp_path / "last.wav", "--compare", rttm) == 1
    captured = capsys.readouterr()
    assert "hand.rttm has no segments of talk, only of 'first', 'last'" in one_line(captured.err)
    assert [json.loads(line)["recording"] for line in captured.out.splitlines()] == ["first", "last"]


def test_a_comparison_that_cannot_be_is_named(
    talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hand.tsv").write_text("1.0\t3.0\n")
    (tmp_path / "words.txt").write_text("no times\n")
    assert segment(talk, "--words", tmp_path / "hand.tsv") == 1
    assert "go with --compare" in one_line(capsys.readouterr().err)
    assert segment(talk, "--compare", tmp_path / "none.tsv") == 1
    assert "none.tsv" in one_line(capsys.readouterr().err)
    other = tmp_path / "other.wav"
    other.write_bytes(talk.read_bytes())
    assert segment(talk, other, "--compare", tmp_path / "hand.tsv") == 1
    assert "there are 2" in one_line(capsys.readouterr().err)

"""``loquela align`` and ``loquela corpus align`` as a person uses them: what works, and what each mistake says."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import asr.align
from asr.align import AlignConfig, AlignedLine, Aligner, Alignment, SearchConfig
from asr.align.corpus import find_pairs
from asr.align.texts import Line, read_lines
from asr.audio import load
from asr.cli import main
from asr.formats import FORMAT_NAMES, read_transcript, write_transcript
from asr.formats.eaf import read_eaf
from asr.manifest import Utterance, read_manifest
from asr.transcribe import Transcriber
from asr.transcript import Gap, Transcript, TranscriptSegment
from lm.errors import InputError
from tests.conftest import handed_on

MINI = Path(__file__).resolve().parents[3] / "egs" / "mini"
MODEL = MINI / "model"
FOREIGN = "Los perros comen carne fresca"
OTHERS = ("Kei hea te ngeru?", "Kei te waiata ngā tāne.", "Ka haere tana tama ki te māra.")
"""Lines of the talk's second half; a decoy of each scores worse in its first."""


@cache
def loaded() -> Transcriber:
    """The bundled model, read once."""
    return Transcriber.load(MODEL, lm="none", device="cpu")


@pytest.fixture(autouse=True)
def _one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the model takes longer than a short recording."""
    transcriber = loaded()

    def load(*words: Any, config: Any, **named: Any) -> Transcriber:
        return Transcriber(transcriber.model, transcriber.decoder, config, transcriber.details)

    monkeypatch.setattr(Transcriber, "load", load)


def reference() -> list[Utterance]:
    """The lines of the bundled talk."""
    return read_manifest(MINI / "demo" / "talk.reference.tsv")


def cut(path: Path, first: int, last: int) -> list[Utterance]:
    """Write a part of the talk with these lines; they are given with its times."""
    lines = reference()[first:last]
    begin = max(0.0, lines[0].offset_s - 0.5)
    end = lines[-1].offset_s + lines[-1].duration_s + 0.3
    waveform, rate = soundfile.read(MINI / "demo" / "talk.ogg")
    soundfile.write(path, waveform[int(begin * rate) : int(end * rate)], rate)
    return [replace(line, audio=path, offset_s=line.offset_s - begin) for line in lines]


@pytest.fixture
def talk(tmp_path: Path) -> tuple[Path, list[Utterance]]:
    """A recording of five lines."""
    path = tmp_path / "talk.wav"
    return path, cut(path, 0, 5)


def write(path: Path, *lines: str) -> Path:
    """A transcript."""
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def align(*words: object) -> int:
    """Run the command in this process; returns the exit status."""
    return main(["align", "--model", str(MODEL), *map(str, words)])


def one_line(captured: str) -> str:
    """The single line that a mistake gives."""
    lines = [line for line in captured.splitlines() if line.startswith("loquela: ")]
    assert len(lines) == 1, captured
    assert "Traceback" not in captured
    return lines[0]


# --- what works ---------------------------------------------------------------------------------


def test_a_loose_transcript_gets_its_times_in_every_format(
    talk: tuple[Path, list[Utterance]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, lines = talk
    texts = [line.text for line in lines]
    loose = write(tmp_path / "loose.txt", texts[0], "", FOREIGN, texts[2], "1984", texts[3], f"{texts[4]} ж")
    out = tmp_path / "out"
    assert align(path, loose, "--format", ",".join(FORMAT_NAMES), "--out", out, "--language", "mri") == 0
    whole = read_transcript(out / "talk.json")
    assert whole.language == "mri"
    assert [segment.text for segment in whole.segments] == [texts[0], texts[2], texts[3], f"{texts[4]} ж"]
    for segment, line in zip(whole.segments, [lines[0], *lines[2:]], strict=True):
        assert segment.start == pytest.approx(line.offset_s, abs=0.3)
        assert segment.end == pytest.approx(line.offset_s + line.duration_s, abs=0.3)
        assert 0.5 < segment.confidence <= 1
        assert " ".join(word.text for word in segment.words) == segment.text
        assert all(segment.start <= word.start < word.end <= segment.end for word in segment.words)
    assert whole.segments[-1].words[-1].confidence == 0
    spans = [(s.start, s.end) for s in whole.segments] + [(g.start, g.end) for g in whole.gaps]
    covered = sum(end - start for start, end in spans)
    assert covered == pytest.approx(whole.duration)
    for name in FORMAT_NAMES:
        assert read_transcript(out / f"talk.{name}").segments
    err = capsys.readouterr().err
    assert "4 of 6 lines are heard" in err
    assert f"line 3, at {whole.segments[0].end:.1f} s: {FOREIGN}" in err
    assert "no character that the model writes, and left out of the output: 1 line(s)" in err
    assert "ж (U+0436" in err


def test_lines_go_to_stdout_as_json_with_scores(
    talk: tuple[Path, list[Utterance]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, lines = talk
    assert align(path, write(tmp_path / "talk.txt", *(line.text for line in lines))) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["line"] for row in rows] == [1, 2, 3, 4, 5]
    assert all(row["accepted"] and -3 < row["score"] <= 0 for row in rows)


def test_times_of_the_transcript_are_not_used_and_may_lie_beyond_the_end(
    talk: tuple[Path, list[Utterance]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, lines = talk
    cues = [
        f"{number}\n00:{50 + number}:00,000 --> 00:{50 + number}:02,000\n{line.text}\n"
        for number, line in enumerate(lines, start=1)
    ]
    assert align(path, write(tmp_path / "talk.srt", *cues)) == 0
    out, err = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert len(rows) == 5
    assert rows[0]["start"] == pytest.approx(lines[0].offset_s, abs=0.3)
    assert "has times beyond the recording's" in err


def test_a_recording_shorter_than_its_text_has_the_lines_that_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut(tmp_path / "talk.wav", 0, 3)
    texts = [line.text for line in reference()[:8]]
    assert align(tmp_path / "talk.wav", write(tmp_path / "talk.txt", *texts)) == 0
    out, err = capsys.readouterr()
    assert [json.loads(line)["text"] for line in out.splitlines()] == texts[:3]
    assert "not heard, and left out of the output: 5 line(s)" in err


def theirs(path: Path, lines: Sequence[Utterance]) -> Path:
    """Write lines as a linguist has them, in tiers of two speakers, with times of no use."""
    segments = tuple(
        TranscriptSegment(start=number, end=number + 0.5, text=line.text, speaker="AB"[number % 2])
        for number, line in enumerate(lines)
    )
    write_transcript(
        Transcript(recording=path.stem, audio=lines[0].audio, duration=60.0, segments=segments), path
    )
    # The tiers as a linguist names them, without ours beside them.
    path.write_text(path.read_text().replace("loquela-utterance@", "text_").replace("loquela-", "x-"))
    return path


def break_off(path: Path, seconds: float) -> float:
    """Cut the end off a WAV file, whose header goes on promising it; returns the length that it promises."""
    whole = path.read_bytes()
    info = soundfile.info(path)
    frame = (len(whole) - 44) // info.frames
    path.write_bytes(whole[: 44 + frame * int(seconds * info.samplerate)])
    return float(info.duration)


def test_of_a_recording_that_breaks_off_what_there_is_is_aligned(
    talk: tuple[Path, list[Utterance]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, lines = talk
    end = lines[2].offset_s + lines[2].duration_s + 0.1
    promised = break_off(path, end)
    texts = [line.text for line in lines]
    given = write(tmp_path / "talk.txt", *texts)
    assert align(path, given, "--format", "json", "--out", tmp_path / "out") == 1
    err = capsys.readouterr().err
    assert f"talk.wav ends after {end:.1f} s of {promised:.1f} s" in one_line(err)
    assert "not heard, and left out of the output: 2 line(s)" in err
    found = read_transcript(tmp_path / "out" / "talk.json")
    assert [segment.text for segment in found.segments] == texts[:3]
    rest = found.gaps[-1]
    assert rest.reason == f"failed: {found.details['failed']}"
    assert (rest.start, rest.end) == (pytest.approx(end, abs=0.01), pytest.approx(promised))


def test_what_breaks_off_early_needs_no_more_lines_than_it_can_have() -> None:
    heard, unheard = (
        AlignedLine(Line(1, segment, (), (), ()), segment, score)
        for segment, score in ((TranscriptSegment(start=0, end=1, text="x"), s) for s in (-1.0, -math.inf))
    )
    whole = Alignment(
        audio=Path("talk.wav"), duration=600.0, lines=(heard,) * 20 + (unheard,) * 180, decoys=(), heard=(), unknown={},
        details={},
    )  # fmt: skip
    with pytest.raises(InputError, match="20 of 200 lines"):
        whole.check(-3.0, AlignConfig())
    lost = Gap(start=600.0, end=3600.0, reason="failed")
    part = replace(whole, details={"failed": "cut short"}, lost=lost)
    part.check(-3.0, AlignConfig())
    replace(part, lost=replace(lost, end=600.0)).check(
        -3.0, AlignConfig()
    )  # as of an Ogg: nobody knows how long
    with pytest.raises(InputError, match=r"20 of 200 lines.*not whole, either: cut short"):
        replace(part, lost=replace(lost, end=700.0)).check(-3.0, AlignConfig())
    few = replace(part, lines=(heard,) * 2 + (unheard,) * 18)
    with pytest.raises(InputError, match="2 of 20 lines"):
        few.check(-3.0, AlignConfig())


def test_a_foreign_transcript_of_a_recording_that_breaks_off_is_refused(
    talk: tuple[Path, list[Utterance]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, lines = talk
    end = lines[1].offset_s + lines[1].duration_s
    break_off(path, end)
    other = write(tmp_path / "other.txt", *(line.text for line in reference()[10:20]))
    assert align(path, other) == 1
    told = one_line(capsys.readouterr().err)
    assert "no more than of another recording's" in told
    assert f"talk.wav ends after {end:.1f} s" in told


def test_the_annotations_of_a_linguists_tier_are_lines(
    talk: tuple[Path, list[Utterance]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, lines = talk
    for name in ("eaf", "TextGrid"):
        given = theirs(tmp_path / f"theirs.{name}", lines)
        assert align(path, given) == 1
        assert "Choose with --tier NAME" in one_line(capsys.readouterr().err)
        out = tmp_path / name
        assert align(path, given, "--tier", "text_?", "--format", "json", "--out", out) == 0
        found = read_transcript(out / "talk.json").segments
        assert [segment.text for segment in found] == [line.text for line in lines]
        speakers = {"A", "B"} if name == "eaf" else {"text_A", "text_B"}
        assert {segment.speaker for segment in found} == speakers
        assert found[-1].start == pytest.approx(lines[-1].offset_s, abs=0.3)
        assert align(path, given, "--tier", "text_A", "--tier", "text_B") == 0
        assert len(capsys.readouterr().out.splitlines()) == 5
    plain = write(tmp_path / "talk.txt", *(line.text for line in lines))
    assert align(path, plain, "--tier", "text_A") == 1
    assert "has no tiers" in one_line(capsys.readouterr().err)


def test_our_own_elan_file_keeps_its_translations(talk: tuple[Path, list[Utterance]], tmp_path: Path) -> None:
    path, lines = talk
    segments = tuple(
        TranscriptSegment(
            start=number,
            end=number + 0.5,
            text=line.text,
            translation=f"line {number}",
            speaker="AB"[number % 2],
        )
        for number, line in enumerate(lines)
    )
    given = Transcript(recording="talk", audio=path, duration=60.0, segments=segments)
    given.save(tmp_path / "given.eaf")
    assert align(path, tmp_path / "given.eaf", "--format", "json", "--out", tmp_path / "out") == 0
    found = read_transcript(tmp_path / "out" / "talk.json").segments
    assert [segment.translation for segment in found] == [f"line {number}" for number in range(5)]


def test_files_that_exist_are_kept(
    talk: tuple[Path, list[Utterance]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, lines = talk
    given = write(tmp_path / "talk.txt", *(line.text for line in lines))
    assert align(path, given, "--format", "txt") == 1
    assert "exists and is kept" in one_line(capsys.readouterr().err)
    assert align(path, given, "--out", tmp_path / "out") == 1
    assert "without --format" in one_line(capsys.readouterr().err)


def test_the_transcript_is_kept_even_with_overwrite(
    talk: tuple[Path, list[Utterance]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, lines = talk
    plain = write(tmp_path / "talk.txt", FOREIGN, *(line.text for line in lines))
    for given in (plain, theirs(tmp_path / "talk.TextGrid", lines)):
        before = given.read_bytes()
        tier = ("--tier", "text_?") if given.suffix == ".TextGrid" else ()
        assert align(path, given, *tier, "--format", given.suffix[1:], "--overwrite") == 1
        assert f"{given} is one of the inputs, and is kept" in one_line(capsys.readouterr().err)
        assert given.read_bytes() == before
    eaf = theirs(tmp_path / "talk.eaf", lines)
    old = [tier.id for tier in read_eaf(eaf).tiers]
    assert align(path, eaf, "--tier", "text_?", "--format", "eaf", "--overwrite") == 0
    new = [tier.id for tier in read_eaf(eaf).tiers]
    assert new[: len(old)] == old
    assert len(new) > len(old)


# --- mistakes -----------------------------------------------------------------------------------


def test_a_transcript_of_another_recording_is_refused(
    talk: tuple[Path, list[Utterance]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = talk
    other = write(tmp_path / "other.txt", *(line.text for line in reference()[10:20]))
    assert align(path, other, "--format", "eaf", "--out", tmp_path / "out") == 1
    assert "no more than of another recording's" in one_line(capsys.readouterr().err)
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_lines_of_another_recording_are_refused_and_few_of_its_own_are_not(
    talk: tuple[Path, list[Utterance]], tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int
) -> None:
    path, lines = talk
    own = write(tmp_path / "own.txt", *(line.text for line in lines[1 : 1 + count]))
    assert align(path, own) == 0
    assert all(json.loads(row)["accepted"] for row in capsys.readouterr().out.splitlines())
    other = write(tmp_path / "other.txt", *OTHERS[:count])
    assert align(path, other) == 1
    assert "Check that the two belong together" in one_line(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["", "  "], "has no text"),
        (["жук", "1984"], "no character that the model writes; it has ж"),
        (["?!", "..."], "it has only punctuation"),
    ],
)
def test_a_transcript_with_nothing_to_look_for_is_an_error(
    texts: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut(tmp_path / "talk.wav", 0, 1)
    assert align(tmp_path / "talk.wav", write(tmp_path / "talk.txt", *texts)) == 1
    assert message in one_line(capsys.readouterr().err)


def test_silence_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "talk.wav", np.zeros(80_000), 16_000)
    assert align(tmp_path / "talk.wav", write(tmp_path / "talk.txt", "he kaiako")) == 1
    assert "no speech in 5.0 s" in one_line(capsys.readouterr().err)


def test_channels_apart_and_missing_files_are_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = write(tmp_path / "talk.txt", "he kaiako")
    soundfile.write(tmp_path / "talk.wav", np.zeros((8_000, 2)), 16_000)
    assert align(tmp_path / "talk.wav", given, "--channel", "split") == 1
    assert "aligned to one channel" in one_line(capsys.readouterr().err)
    assert align(tmp_path / "none.wav", given) == 1
    assert "none.wav" in one_line(capsys.readouterr().err)
    assert align(tmp_path / "talk.wav", tmp_path / "none.txt") == 1
    assert "none.txt" in one_line(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--pass-cost", "-3"), "`pass_cost` must be a number above 0; got -3.0"),
        (("--pass-cost", "inf"), "`pass_cost` must be a number above 0; got inf"),
        (("--star-cost", "nan"), "`star_cost` must be at least 0; got nan"),
    ],
)
def test_costs_that_are_none_are_named(
    talk: tuple[Path, list[Utterance]], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    options: tuple[str, str], message: str,
) -> None:  # fmt: skip
    path, lines = talk
    given = write(tmp_path / "talk.txt", *(line.text for line in lines))
    assert align(path, given, *options) == 1
    assert message in one_line(capsys.readouterr().err)
    with pytest.raises(ValueError, match="block_frames"):
        SearchConfig(block_frames=0)


def test_a_share_of_false_accepts_is_a_share() -> None:
    with pytest.raises(Exception, match="false_accepts"):
        AlignConfig(false_accepts=1.0)
    assert Aligner(loaded()).config.false_accepts == 0.01


@pytest.mark.parametrize("command", ["align", "corpus align"])
@pytest.mark.parametrize(
    ("target", "name", "words", "where", "value"),
    [
        (Transcriber, "load", "--model-language quz", "language", "quz"),
        (Transcriber, "load", "--device cpu", "device", "cpu"),
        (Transcriber, "load", "--channel 1", "config.channel", "1"),
        (Transcriber, "load", "--segmenter dac", "config.segmenter", "dac"),
        (Transcriber, "load", "--segmenter pdac --segmenter-model c", "config.classifier", "c"),
        (Transcriber, "load", "--max-segment 9", "config.segments.max_segment_s", 9),
        (asr.align, "Aligner", "--star-cost 2", "config.search.star_cost", 2),
        (asr.align, "Aligner", "--pass-cost 3", "config.search.pass_cost", 3),
        (asr.align, "Aligner", "--false-accepts 0.2", "config.false_accepts", 0.2),
    ],
)
def test_what_an_option_says_reaches_the_model_and_the_aligner(
    tmp_path: Path, command: str, target: object, name: str, words: str, where: str, value: object
) -> None:
    soundfile.write(tmp_path / "talk.wav", np.zeros(1600), 16_000)
    text = write(tmp_path / "talk.txt", "Kei hea te ngeru?")
    inputs = [tmp_path, "--out", tmp_path / "out"] if command != "align" else [tmp_path / "talk.wav", text]
    all_words = [*command.split(), *map(str, inputs), "--model", "m", *words.split()]
    assert attrgetter(where)(handed_on(target, name, lambda: main(all_words))) == value


# --- a corpus -----------------------------------------------------------------------------------


def test_a_corpus_is_made_of_what_is_surely_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = tmp_path / "recordings", tmp_path / "out"
    (folder / "day1").mkdir(parents=True)
    first = cut(folder / "a.wav", 0, 4)
    second = cut(folder / "day1" / "b.wav", 6, 10)
    cut(folder / "c.wav", 10, 12)
    soundfile.write(folder / "alone.wav", np.zeros(16_000), 16_000)
    write(folder / "a.txt", first[0].text, FOREIGN, *(line.text for line in first[1:]))
    write(folder / "day1" / "b.txt", *(line.text for line in second[:-1]))
    write(folder / "c.txt", *(line.text for line in reference()[14:20]))
    write(folder / "nobody.txt", "he kaiako")
    words = ["corpus", "align", str(folder), "--model", str(MODEL), "--out", str(out), "--language", "mri"]
    assert main(words) == 1
    shown, err = capsys.readouterr()
    for name in ("alone.wav: no transcript", "nobody.txt: no recording", "c.wav: 0 of 6 lines"):
        assert name in err
    rows = read_manifest(out / "manifest.tsv")
    assert [row.id for row in rows] == [
        "a_0001",
        "a_0003",
        "a_0004",
        "a_0005",
        *(f"day1_b_000{n}" for n in (1, 2, 3)),
    ]
    for row, line in zip(rows, [*first, *second[:-1]], strict=True):
        assert row.text == line.text
        assert row.offset_s == pytest.approx(line.offset_s, abs=0.3)
        assert row.offset_s + row.duration_s == pytest.approx(line.offset_s + line.duration_s, abs=0.3)
        assert row.language == "mri"
        assert -3 < float(row.extra["score"]) <= 0
    (rejected,) = read_manifest(out / "rejected.tsv")
    assert rejected.text == FOREIGN
    assert rejected.extra["score"] == ""
    assert "decoys" in shown
    assert "7 utterances" in shown
    assert main(words) == 1
    assert "exists and is kept" in one_line(capsys.readouterr().err)


def test_a_channel_that_a_manifest_cannot_name_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    waveform, rate = soundfile.read(MINI / "demo" / "talk.ogg")
    soundfile.write(folder / "two.wav", np.stack([0 * waveform, waveform], axis=1)[:rate], rate)
    write(folder / "two.txt", "he kaiako")
    words = ["corpus", "align", str(folder), "--model", str(MODEL), "--out", str(tmp_path / "out")]
    loading = Transcriber.load
    monkeypatch.setattr(Transcriber, "load", lambda *_, **__: pytest.fail("the model was read"))
    for channel, told in (
        ("2", 'Write channel 2 to a file first, `ffmpeg -i OLD -af "pan=mono|c0=c1" NEW.wav`'),
        ("3", "two.wav has no channel 3"),
        ("split", "Write channel 1 to a file first"),
    ):
        assert main([*words, "--channel", channel]) == 1
        assert told in capsys.readouterr().err
    monkeypatch.setattr(Transcriber, "load", loading)
    lines = [line.text for line in cut(folder / "one.wav", 0, 4)]
    write(folder / "one.txt", *lines)
    assert main([*words, "--channel", "1"]) == 1
    assert "two.wav has 2 channels" in capsys.readouterr().err
    assert [row.text for row in read_manifest(tmp_path / "out" / "manifest.tsv")] == lines


def test_a_corpus_that_was_stopped_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    for name, first in (("a", 0), ("b", 5), ("c", 10)):
        write(folder / f"{name}.txt", *(line.text for line in cut(folder / f"{name}.wav", first, first + 4)))
    words = ["corpus", "align", str(folder), "--model", str(MODEL), "--out"]
    assert main([*words, str(tmp_path / "at_once")]) == 0
    heard: list[str] = []
    align = Aligner.align

    def counted(self: Aligner, path: Path, *others: Any, **named: Any) -> Alignment:
        heard.append(path.stem)
        if heard == ["a", "b"]:
            raise KeyboardInterrupt
        return align(self, path, *others, **named)

    monkeypatch.setattr(Aligner, "align", counted)
    out = tmp_path / "out"
    assert main([*words, str(out)]) == 130
    assert not (out / "manifest.tsv").exists()
    assert main([*words, str(out)]) == 0
    assert heard == ["a", "b", "b", "c"]
    for name in ("manifest.tsv", "rejected.tsv"):
        assert (out / name).read_text() == (tmp_path / "at_once" / name).read_text()
    write(folder / "b.txt", *(line.text for line in reference()[6:9]))
    assert main([*words, str(out), "--overwrite", "--false-accepts", "0.5"]) == 0
    assert heard == ["a", "b", "b", "c", "b"]
    assert sum(row.id.startswith("b_") for row in read_manifest(out / "manifest.tsv")) == 3


def test_a_recording_that_is_too_much_for_the_memory_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "recordings", tmp_path / "out"
    folder.mkdir()
    for name, first in (("a", 0), ("b", 5)):
        write(folder / f"{name}.txt", *(line.text for line in cut(folder / f"{name}.wav", first, first + 4)))
    align = Aligner.align

    def narrow(self: Aligner, path: Path, *others: Any, **named: Any) -> Alignment:
        if path.stem == "a":
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB.")
        return align(self, path, *others, **named)

    monkeypatch.setattr(Aligner, "align", narrow)
    assert main(["corpus", "align", str(folder), "--model", str(MODEL), "--out", str(out)]) == 1
    assert "a.wav: there is not enough memory to align it" in one_line(capsys.readouterr().err)
    assert {row.id[0] for row in read_manifest(out / "manifest.tsv")} == {"b"}


def test_what_is_no_manifest_is_not_replaced_by_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = write(tmp_path / "rejected.tsv", "my own\tnotes")
    words = ["corpus", "align", str(tmp_path), "--model", "none", "--out", str(tmp_path), "--overwrite"]
    assert main(words) == 1
    assert "rejected.tsv is of another kind" in one_line(capsys.readouterr().err)
    assert notes.read_text() == "my own\tnotes\n"


def test_of_a_recording_that_breaks_off_a_corpus_has_what_there_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "recordings", tmp_path / "out"
    folder.mkdir()
    lines = cut(folder / "a.wav", 0, 5)
    end = lines[2].offset_s + lines[2].duration_s + 0.1
    break_off(folder / "a.wav", end)
    write(folder / "a.txt", *(line.text for line in lines))
    assert main(["corpus", "align", str(folder), "--model", str(MODEL), "--out", str(out)]) == 1
    assert f"a.wav ends after {end:.1f} s" in one_line(capsys.readouterr().err)
    rows = read_manifest(out / "manifest.tsv")
    assert [row.text for row in rows] == [line.text for line in lines[:3]]
    for row in rows:  # what is in a manifest can be trained on
        waveform = load(row.audio, offset_s=row.offset_s, duration_s=row.duration_s)
        assert len(waveform) == pytest.approx(row.duration_s * 16_000, abs=1)
    assert len(read_manifest(out / "rejected.tsv")) == 2


def test_a_corpus_is_made_of_linguists_tiers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    for name, first in (("a", 0), ("b", 5)):
        lines = cut(folder / f"{name}.wav", first, first + 4)
        theirs(folder / f"{name}.eaf", lines)
    words = ["corpus", "align", str(folder), "--model", str(MODEL), "--out"]
    assert main([*words, str(tmp_path / "none")]) == 1
    err = capsys.readouterr().err
    for name in "ab":
        assert f"{name}.eaf" in err
        write(folder / f"{name}.txt", "he kaiako")  # no transcript, where tiers are asked for
    assert err.count("Choose with --tier NAME") == 2
    (folder / "b.eaf").rename(folder / "b.txt")
    assert main([*words, str(tmp_path / "part"), "--tier", "text_?"]) == 1
    assert "b.wav: no transcript b.TextGrid" in one_line(capsys.readouterr().err)
    (folder / "b.txt").rename(folder / "b.eaf")
    assert main([*words, str(tmp_path / "out"), "--tier", "text_?"]) == 0
    rows = read_manifest(tmp_path / "out" / "manifest.tsv")
    assert [row.text for row in rows] == [line.text for line in [*reference()[:4], *reference()[5:9]]]
    assert [row.speaker for row in rows] == 4 * ["A", "B"]


def test_recordings_whose_names_become_one_id_are_told_apart(tmp_path: Path) -> None:
    texts = ["a b.txt", "a_b.txt", "c.txt", "d/c.txt"]
    for name in ("a b.wav", "a_b.wav", "c.flac", "c.wav", "d/c.wav", *texts):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    pairs, problems = find_pairs(tmp_path, tmp_path)
    found = {pair.recording.relative_to(tmp_path).as_posix(): pair.name for pair in pairs}
    assert list(found) == ["a b.wav", "a_b.wav", "c.flac", "d/c.wav"]
    assert (found["c.flac"], found["d/c.wav"]) == ("c", "d_c")
    assert len({found["a b.wav"], found["a_b.wav"]}) == 2
    assert ["c.wav: another recording has its name" in str(problem) for problem in problems] == [True]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep such names out")
def test_a_name_that_a_manifest_cannot_hold_is_left_out_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    lines = cut(folder / "a.wav", 0, 4)
    names = ("tab\there", "line\nbreak", os.fsdecode(b"ni\xf1o"))
    for name in names:
        shutil.copy(folder / "a.wav", folder / f"{name}.wav")
    for name in ("a", *names):
        write(folder / f"{name}.txt", *(line.text for line in lines))
    words = ["corpus", "align", str(folder), "--model", str(MODEL), "--out"]
    assert main([*words, str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.count("Rename it.") == 3
    assert {row.audio.name for row in read_manifest(tmp_path / "out" / "manifest.tsv")} == {"a.wav"}
    (tmp_path / "file").touch()
    assert main([*words, str(tmp_path / "file" / "out")]) == 1
    assert "that can be written" in one_line(capsys.readouterr().err)


def test_a_transcript_may_keep_the_ending_of_its_recording(tmp_path: Path) -> None:
    for name in ("talk.wav", "a.wav", "a.wav.wav"):
        cut(tmp_path / name, 0, 1)
    for name in ("talk.wav.txt", "a.wav.txt"):
        write(tmp_path / name, "he kaiako")
    pairs, problems = find_pairs(tmp_path, tmp_path)
    assert [(each.recording.name, each.transcript.name) for each in pairs] == [
        ("a.wav.wav", "a.wav.txt"),
        ("talk.wav", "talk.wav.txt"),
    ]
    assert [str(each).split(":")[0] for each in problems] == [str(tmp_path / "a.wav")]


def test_a_line_has_the_number_it_has_in_its_file(
    talk: tuple[Path, list[Utterance]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, lines = talk
    texts = [line.text for line in lines]
    given = write(tmp_path / "talk.txt", "", *texts[:2], "", "  ", *texts[2:], "")
    assert align(path, given) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["line"]: row["text"] for row in rows} == dict(zip((2, 3, 6, 7, 8), texts, strict=True))


@pytest.mark.parametrize(
    ("columns", "told"),
    [(("A:", "B:"), True), (("00:12", "00:15"), True), (("he kaiako", "tama"), False)],
)
def test_a_column_of_speakers_or_times_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], columns: tuple[str, ...], told: bool
) -> None:
    cells = columns * 2 if told else columns
    path = write(tmp_path / "tab.txt", *(f"{cell}\tkei te haere" for cell in cells))
    read_lines(path)
    assert ("tab.txt: what stands before the tab" in capsys.readouterr().err) == told

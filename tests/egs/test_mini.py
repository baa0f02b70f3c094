"""The mini corpus as committed, and what made it; espeak-ng is not needed."""

from __future__ import annotations

import random
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asr.frames import SAMPLE_RATE
from asr.manifest import Utterance, read_manifest
from lm.errors import InputError

MINI = Path(__file__).parents[2] / "egs" / "mini"
sys.path.insert(0, str(MINI / "local"))

import make_corpus  # noqa: E402
import plan  # noqa: E402
import speak  # noqa: E402
import vary  # noqa: E402
from grammar import FOLDER, Grammar, grammars, words  # noqa: E402

SEED = 1
TOY = """
language: toy
espeak: en
name: Toy
classes: {many: {verb_s: "go{.end}", end: "n"}, one: {verb_s: "go{.end}", end: t}, s: {k: s}}
rules:
  sentence:
    - {t: "{noun} {noun.verb_[tense.k]}, {noun2}.", e: "{noun.e}/{noun2.e}."}
  noun:
    - {like: many, t: as, e: A}
    - {like: one, t: b, e: B, held: yes}
  tense:
    - {like: s}
"""


@pytest.fixture(scope="module")
def corpus() -> list[Utterance]:
    return read_manifest(MINI / "data" / "manifest.tsv")


@pytest.fixture(scope="module")
def demo() -> list[Utterance]:
    return read_manifest(MINI / "demo" / "talk.reference.tsv")


@pytest.fixture(scope="module")
def lines() -> list[plan.Line]:
    return plan.make_plan(SEED)


def by_split(rows: list[Utterance]) -> dict[str, list[Utterance]]:
    groups: dict[str, list[Utterance]] = defaultdict(list)
    for row in rows:
        groups[row.split].append(row)
    return groups


def test_corpus_has_the_promised_size_languages_and_voices(corpus: list[Utterance]) -> None:
    assert (
        sum(path.stat().st_size for folder in ("data", "demo") for path in (MINI / folder).rglob("*")) < 12e6
    )
    assert len({row.language for row in corpus}) >= 3
    assert len({row.speaker for row in corpus}) >= 8
    for split, rows in by_split(corpus).items():
        assert {row.gender for row in rows} == {"f", "m"}, split
        assert {row.language for row in rows} == {"gug", "mri", "quy"}, split
        assert {row.extra["domain"] for row in rows} == set(plan.DOMAINS), split
    minutes = {split: sum(row.duration_s for row in rows) / 60 for split, rows in by_split(corpus).items()}
    assert 25 < minutes["train"] < 35
    assert minutes["dev"] > 2.5
    assert minutes["test"] > 3.5


def test_every_row_has_text_translation_and_times_that_follow_each_other(
    corpus: list[Utterance], demo: list[Utterance]
) -> None:
    ends: dict[Path, float] = defaultdict(float)
    for row in corpus + demo:
        assert row.text, row.id
        assert row.translation, row.id
        assert row.translation_language == "eng", row.id
        assert row.offset_s >= ends[row.audio] + 0.29, row.id
        ends[row.audio] = row.offset_s + row.duration_s
    assert len(ends) == 43
    for audio, end in ends.items():
        info = soundfile.info(audio)
        assert (info.samplerate, info.channels, info.subtype) == (SAMPLE_RATE, 1, "OPUS"), audio
        assert end + 0.29 <= info.duration <= end + 1.6, audio


def test_decoded_speech_has_its_level_and_the_pauses_are_quiet(
    corpus: list[Utterance], demo: list[Utterance]
) -> None:
    # dev, test and one train speaker: the rest was made alike, and decoding it all is slow.
    rows = [row for row in corpus if row.split != "train" or row.speaker == "f1"]
    audio = {path: soundfile.read(path, dtype="float32")[0] for path in {row.audio for row in rows + demo}}
    for path, waveform in audio.items():
        assert len(waveform) == soundfile.info(path).frames, path
        assert np.abs(waveform).max() < 0.9, path
    for row in rows:
        start, stop = (round(s * SAMPLE_RATE) for s in (row.offset_s, row.offset_s + row.duration_s))
        waveform = audio[row.audio]
        level_db = 20 * np.log10(vary.rms(waveform[start:stop]))
        pause_db = 20 * np.log10(vary.rms(waveform[start - 3200 : start]) + 1e-9)
        assert -30 < level_db < -18, row.id
        assert pause_db < -55, row.id
        assert 5 < len(row.text) / row.duration_s < 20, row.id
    (talk,) = {row.audio for row in demo}
    assert 60 < len(audio[talk]) / SAMPLE_RATE < 100


def test_speakers_and_texts_of_dev_test_and_demo_are_not_in_train(
    corpus: list[Utterance], demo: list[Utterance]
) -> None:
    groups = by_split(corpus)
    assert set(groups) == {"train", "dev", "test"}
    for kind in ("speaker", "text"):
        values = {
            split: {" ".join(words(getattr(row, kind))) for row in rows}
            for split, rows in [*groups.items(), ("demo", demo)]
        }
        assert not values["train"] & (values["dev"] | values["test"] | values["demo"]), kind
        assert not values["dev"] & (values["test"] | values["demo"]), kind
    assert not {row.text for row in groups["test"]} & {row.text for row in demo}
    variants = {voice.variant: voice.split for voice in plan.read_voices()}
    assert len(variants) == len(plan.read_voices())


def test_test_sentences_hold_some_words_that_train_never_has(corpus: list[Utterance]) -> None:
    for language in ("gug", "mri", "quy"):
        rows = by_split([row for row in corpus if row.language == language])
        train = {word for row in rows["train"] for word in words(row.text)}
        test = [word for row in rows["test"] for word in words(row.text)]
        assert 0.02 < sum(word not in train for word in test) / len(test) < 0.25, language
        assert set("".join(test)) <= set("".join(train)), language


def test_the_seed_gives_the_committed_texts(
    corpus: list[Utterance], demo: list[Utterance], lines: list[plan.Line]
) -> None:
    def key(row: Utterance) -> tuple[str, ...]:
        return row.id, row.text, row.translation, row.language, row.speaker, row.gender, row.split

    planned = [
        (line.id, line.text, line.translation, line.language, line.voice.name, line.voice.gender, line.split)
        for line in lines
    ]
    assert sorted(planned) == sorted(map(key, corpus + demo))
    assert {line.id: line.domain for line in lines if line.split != "demo"} == {
        row.id: row.extra["domain"] for row in corpus
    }


def test_another_seed_gives_other_sentences(lines: list[plan.Line]) -> None:
    other = [line.text for line in plan.make_plan(2)]
    assert len(other) == len(lines)
    assert other != [line.text for line in lines]


def test_a_toy_grammar_keeps_target_and_english_in_step(tmp_path: Path) -> None:
    (tmp_path / "english.yaml").write_text("{}", encoding="utf-8")
    path = tmp_path / "toy.yaml"
    path.write_text(TOY, encoding="utf-8")
    toy = Grammar(path)
    drawn = {(s.text, s.translation) for s in (toy.sentence(random.Random(n), held=True) for n in range(40))}
    assert drawn == {
        ("As gon, as.", "A/A."),
        ("As gon, b.", "A/B."),
        ("B got, as.", "B/A."),
        ("B got, b.", "B/B."),
    }
    assert {toy.sentence(random.Random(n)).text for n in range(40)} == {"As gon, as."}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{noun2}", "{nuon}", "no category 'nuon'"),
        ("{noun2}", "{noun.colour}", "has no field 'colour'"),
        ("{k: s}", "{k: p}", "has no field 'verb_p'"),
        ("like: many", "like: few", "`like: few` names no class"),
        ("t: as, e: A", "t: as, e: A, held: yes", "every production of 'noun' is held"),
    ],
)
def test_a_slip_in_a_grammar_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in TOY
    (tmp_path / "english.yaml").write_text("{}", encoding="utf-8")
    path = tmp_path / "toy.yaml"
    path.write_text(TOY.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        Grammar(path)


def test_grammars_inflect_as_their_comments_say() -> None:
    """Forms checked by hand: stem, person and tense of each language's commonest verb."""
    texts = {
        grammar.language: " ".join(grammar.sentence(random.Random(n)).text.lower() for n in range(600))
        for grammar in grammars(FOLDER)
    }
    for form in ("ajogua", "rejogua", "ojoguáta", "ndojoguái", "noñe'ẽi", "og̃uahẽ", "aháta", "mitãnguéra"):
        assert form in texts["gug"].split() or f"{form}." in texts["gug"].split(), form
    for form in ("mikuchkani", "mikurqa", "mikunqa", "tantatam", "wasimanmi"):
        assert form in texts["quy"], form
    for form in ("kei te kai", "kāore", "ngā tamariki", "i a mere"):
        assert form in texts["mri"], form


def test_noise_is_as_far_below_the_speech_as_asked() -> None:
    rng = np.random.default_rng(0)
    speech, noise = (vary.coloured(16_000, rng, pink) for pink in (False, True))
    added = vary.mix(speech, noise, 20.0) - speech
    assert 20 * np.log10(vary.rms(speech) / vary.rms(added)) == pytest.approx(20.0, abs=0.01)


def test_a_telephone_keeps_its_band_alone() -> None:
    def gain_db(frequency: float) -> float:
        tone = np.sin(2 * np.pi * frequency * np.arange(16_000) / SAMPLE_RATE).astype(np.float32)
        heard = vary.telephone(tone)
        spectrum = np.abs(np.fft.rfft(heard)) / np.abs(np.fft.rfft(tone)).max()
        return float(20 * np.log10(spectrum[round(frequency)] + 1e-9))

    assert gain_db(1000) == pytest.approx(0.0, abs=0.5)
    assert gain_db(100) < -40
    assert gain_db(5000) < -40


def test_a_room_rings_after_the_sound_and_keeps_the_direct_sound() -> None:
    click = np.zeros(16_000, dtype=np.float32)
    click[1000] = 1.0
    heard = vary.room(click, np.random.default_rng(0))
    assert len(heard) == len(click)
    assert heard[1000] == pytest.approx(1.0, abs=1e-4)
    assert np.abs(heard[:1000]).max() < 1e-4
    early, late = vary.rms(heard[1032:2632]), vary.rms(heard[7000:9000])
    assert early > 20 * late


@pytest.mark.parametrize("domain", list(plan.DOMAINS))
def test_no_kind_of_sound_clips_or_changes_the_length(domain: str) -> None:
    rng = np.random.default_rng(0)
    speech = vary.coloured(8_001, rng, pink=True)
    speech[4000] = 50.0  # one click that a level by RMS alone would send past full scale
    babble = [vary.coloured(size, rng, pink=True) for size in (1600, 9000, 16_000, 4000)]
    heard = vary.vary(speech, domain, rng, babble)
    assert heard.shape == speech.shape
    assert heard.dtype == np.float32
    assert np.abs(heard).max() <= 0.801


def test_the_corpus_is_made_again_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[plan.Line]
) -> None:
    few = [line for line in lines if line.language == "mri" and line.voice.name in ("f1", "m6", "m7")][::6]
    assert {line.split for line in few} == {"train", "dev", "test", "demo"}
    monkeypatch.setattr(make_corpus, "make_plan", lambda seed: few)
    monkeypatch.setattr(make_corpus, "speak", _tone)
    rows = [make_corpus.make_corpus(tmp_path / name, SEED) for name in "ab"]
    assert len(rows[0]) == len(few)
    paths = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*"))
    assert Path("data/manifest.tsv") in paths
    assert not [path for path in paths if path.suffix == ".partial"]
    for path in paths:
        first, second = (tmp_path / name / path for name in "ab")
        if path.suffix == ".tsv":
            assert first.read_bytes() == second.read_bytes()
        else:
            np.testing.assert_array_equal(soundfile.read(first)[0], soundfile.read(second)[0])


def test_without_espeak_the_message_says_which_stage_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match=r"this stage alone.*apt-get install espeak-ng"):
        speak.require_espeak()


def _tone(line: plan.Line) -> np.ndarray:
    seconds = 0.3 + len(line.text) / 100
    return np.sin(np.arange(round(seconds * SAMPLE_RATE)) * 0.1).astype(np.float32)

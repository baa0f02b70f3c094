"""What the check of a corpus finds, and what it leaves in peace."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from itertools import groupby, product
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from hypothesis import given, settings
from hypothesis import strategies as some
from numpy.typing import NDArray

from asr.check import CheckConfig, Finding, check_manifest
from asr.frames import FrameGrid, frames_needed
from asr.lookalikes import LETTERS, script
from asr.manifest import Utterance
from asr.text import WRITTEN, TextPolicy

RATE = 16_000


def _noise(seconds: float, level: float = 0.1, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(0, level, round(seconds * RATE))


def _utterance(path: Path, samples: NDArray[np.float64], **fields: object) -> Utterance:
    soundfile.write(path, samples, RATE)
    given_fields = {
        "id": path.stem,
        "audio": path,
        "duration_s": len(samples) / RATE,
        "text": "sumak",
        **fields,
    }
    return Utterance(**given_fields)  # type: ignore[arg-type]


def _written(*texts: str, **fields: object) -> list[Utterance]:
    """Utterances whose audio is not looked at."""
    return [
        Utterance(id=f"u{i}", audio=Path(f"u{i}.wav"), duration_s=5.0, text=text, **fields)  # type: ignore[arg-type]
        for i, text in enumerate(texts)
    ]


def _kinds(findings: list[Finding]) -> dict[str, tuple[str, ...]]:
    return {each.kind: each.utterance_ids for each in findings}


def test_a_sound_corpus_has_no_findings(tmp_path: Path) -> None:
    utterances = [
        _utterance(
            tmp_path / f"{split}{i}.wav", _noise(1.0, seed=10 * i + n), text=f"sumak {letter}", split=split
        )
        for n, split in enumerate(("train", "dev"))
        for i, letter in enumerate("sumak"[n * 2 : n * 2 + 2])
    ]
    assert check_manifest(utterances) == []


def test_each_flaw_of_a_recording_is_found_by_its_name(tmp_path: Path) -> None:
    clipped = (_noise(1.0, 0.6)).clip(-1, 1)
    whole = _noise(2.0, seed=3)
    cut = _utterance(tmp_path / "cut.flac", whole)
    cut.audio.write_bytes(cut.audio.read_bytes()[:20_000])
    utterances = [
        _utterance(tmp_path / "good.wav", _noise(1.0)),
        cut,
        _utterance(tmp_path / "silent.wav", np.zeros(RATE)),
        _utterance(tmp_path / "quiet.wav", _noise(1.0, 0.002)),
        _utterance(tmp_path / "clipped.wav", clipped),
        _utterance(tmp_path / "short.wav", _noise(1.0, seed=4), duration_s=1.2),
        Utterance(id="gone", audio=tmp_path / "gone.wav", duration_s=1.0, text="sumak"),
    ]
    findings = [each for each in check_manifest(utterances) if each.kind != "unusual-rate"]
    found = sorted((each.kind, *each.utterance_ids, each.severity) for each in findings)
    assert found == [
        ("clipping", "clipped", "warning"),
        ("near-silence", "quiet", "warning"),
        ("silence", "silent", "error"),
        ("span-beyond-audio", "short", "error"),
        ("unreadable-audio", "cut", "error"),
        ("unreadable-audio", "gone", "error"),
    ]
    assert all(each.remedy and each.message for each in findings)
    severities = [each.severity for each in findings]
    assert severities == sorted(severities)  # errors first


def test_of_a_recording_that_breaks_off_only_what_lies_behind_is_lost(tmp_path: Path) -> None:
    talk = _utterance(tmp_path / "talk.flac", _noise(4.0))
    content = talk.audio.read_bytes()
    talk.audio.write_bytes(content[: len(content) * 3 // 4])
    early, late = (
        replace(talk, id=name, offset_s=start, duration_s=1.0, text=name)
        for name, start in (("early", 0.5), ("late", 3.0))
    )
    for rows, severity, ids in (([early, late], "error", ("late",)), ([early], "warning", ())):
        found = [each for each in check_manifest(rows) if each.kind != "unusual-rate"]
        assert [(each.kind, each.severity, each.utterance_ids) for each in found] == [
            ("unreadable-audio", severity, ids)
        ]


def test_a_header_that_differs_from_the_sound_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asr import audio

    utterance = _utterance(tmp_path / "a.wav", _noise(1.0))
    honest = audio.probe(utterance.audio)
    monkeypatch.setattr(audio, "probe", lambda path: replace(honest, header_duration_s=1.5))
    (finding,) = check_manifest([utterance])
    assert (finding.kind, finding.severity) == ("header-length", "warning")
    assert "1.500 s" in finding.message
    assert "1.000 s" in finding.message


def test_utterances_of_one_recording_are_judged_by_their_own_stretch(tmp_path: Path) -> None:
    samples = np.concatenate([_noise(1.0), np.zeros(RATE), _noise(1.0, seed=1)])
    talk = _utterance(tmp_path / "talk.wav", samples)
    parts = [replace(talk, id=str(i), offset_s=float(i), duration_s=1.0) for i in range(3)]
    assert _kinds(check_manifest(parts)) == {"silence": ("1",)}


def test_a_recording_longer_than_a_chunk_is_heard_to_its_end_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from asr import audio

    opened: list[Path] = []
    stream = audio.stream
    monkeypatch.setattr(
        audio, "stream", lambda path, **options: (opened.append(path), stream(path, **options))[1]
    )
    talk = _utterance(tmp_path / "talk.wav", np.concatenate([_noise(65.0), np.zeros(2 * RATE + 77)]))
    parts = [
        replace(talk, id="speech", offset_s=60.0, duration_s=5.0),
        replace(talk, id="end", offset_s=65.0, duration_s=2.0),
    ]
    assert _kinds([each for each in check_manifest(parts) if each.kind != "unusual-rate"]) == {
        "silence": ("end",)
    }
    assert opened == [talk.audio]


def test_equal_audio_is_found_in_other_files_and_forms(tmp_path: Path) -> None:
    samples = (_noise(1.0) * 32767).astype(np.int16) / 32768
    first = _utterance(tmp_path / "a.wav", samples)
    second = _utterance(tmp_path / "b.flac", samples)
    third = _utterance(tmp_path / "c.wav", _noise(1.0, seed=1))
    (same,) = check_manifest([first, second, third])
    assert (same.kind, same.severity, same.utterance_ids) == ("duplicate-audio", "warning", ("a", "b"))
    assert "same text" in same.message
    leak = check_manifest([replace(first, split="train"), replace(second, split="test", text="mak")])
    assert [(each.kind, each.severity) for each in leak] == [("audio-across-splits", "error")]
    assert "2 different texts" in leak[0].message
    span = replace(first, id="other", offset_s=0.5, duration_s=0.5)
    assert "duplicate-audio" not in _kinds(check_manifest([first, span]))


@pytest.mark.parametrize("text", ["", "a", "aa", "ab", "aab", "abba", "aaa"])
def test_frames_needed_are_those_of_the_shortest_ctc_path(text: str) -> None:
    """By definition: the shortest string over labels and blank that collapses to the text."""

    def collapse(path: tuple[str, ...]) -> str:
        return "".join(label for label, _ in groupby(path) if label != "-")

    shortest = next(
        length for length in range(10) for path in product("ab-", repeat=length) if collapse(path) == text
    )
    assert frames_needed(text) == shortest


def test_text_too_long_for_ctc_says_whether_more_frames_would_do() -> None:
    words = "allpa " * 6  # 35 labels, 6 of them repeats: 41 frames
    utterances = [
        replace(each, duration_s=seconds)
        for each, seconds in zip(_written(words, words, words), (1.64, 1.63, 0.5), strict=True)
    ]
    found = [
        each for each in check_manifest(utterances, listen=False) if each.kind == "text-too-long-for-ctc"
    ]
    assert [(each.severity, each.utterance_ids) for each in found] == [("error", ("u1",)), ("error", ("u2",))]
    assert "needs 41 frames" in found[0].message
    assert "50 frames a second would do" in found[0].message
    assert "no usual frame rate does" in found[1].message
    finer = CheckConfig(grid=FrameGrid(hop_samples=320, window_samples=320))
    assert _kinds(check_manifest(utterances, finer, listen=False))["text-too-long-for-ctc"] == ("u2",)


def test_pseudo_labels_are_not_put_through_the_policy_again() -> None:
    policy = TextPolicy(replace={"j": "x", "y": "j"})
    train = [
        replace(each, text=policy(each.text), extra={WRITTEN: policy.key})
        for each in _written("yaku kay", split="train")
    ]
    dev = [replace(each, id="d") for each in _written("kay yaku", split="dev")]
    assert "unseen-character" not in _kinds(
        check_manifest([*train, *dev], CheckConfig(policy=policy), listen=False)
    )


def test_empty_texts_are_counted_under_the_policy() -> None:
    found = _kinds(check_manifest(_written("sumak", "", " ... "), listen=False))
    assert found == {"empty-text": ("u1", "u2")}


def test_a_rate_far_from_the_median_of_its_language_is_found() -> None:
    usual = [
        replace(each, id=f"qu{i}", language="qu") for i, each in enumerate(_written(*["sumak wasi"] * 5))
    ]
    slow = [replace(each, id=f"mdw{i}", language="mdw") for i, each in enumerate(_written(*["mbwa"] * 5))]
    odd = replace(usual[0], id="odd", duration_s=0.9)
    found = check_manifest([*usual, *slow, odd], listen=False)
    assert _kinds(found) == {"unusual-rate": ("odd",)}
    assert "10.0 characters per second; the median of qu is 1.8" in found[0].message


def test_unseen_characters_are_told_by_code_point_after_the_policy() -> None:
    train = _written("Sumak, wasi é", split="train")
    test = [
        replace(each, id=f"t{i}", split="test")
        for i, each in enumerate(_written("SUMAK e\u0301", "wasi q", "qam q"))
    ]
    findings = check_manifest([*train, *test], listen=False)
    (unseen,) = [each for each in findings if each.kind == "unseen-character"]
    assert unseen.where == "U+0071 LATIN SMALL LETTER Q"
    assert "3 time(s) in test" in unseen.message
    assert unseen.utterance_ids == ("t1", "t2")


def test_speakers_recordings_and_texts_across_splits_are_found() -> None:
    rows = _written("sumak wasi", "Sumak wasi!", "mana", "ari")
    splits = ("train", "test", "train", "test")
    speakers = ("rosa", "rosa", "ana", "bo")
    recordings = ("r1", "r2", "r3@0.5-2", "r3@3.100-6.450")
    utterances = [
        replace(row, split=split, speaker=speaker, extra={"recording": recording})
        for row, split, speaker, recording in zip(rows, splits, speakers, recordings, strict=True)
    ]
    found = _kinds(
        [each for each in check_manifest(utterances, listen=False) if each.kind != "unseen-character"]
    )
    assert found == {
        "speakers-across-splits": ("u1",),
        "recordings-across-splits": ("u3",),
        "texts-across-splits": ("u1",),
    }


def test_mixed_normal_forms_are_found_and_either_alone_is_not_mixed() -> None:
    composed, decomposed = "kwé ñuka ɛ\u0301", unicodedata.normalize("NFD", "kwé")
    mixed = _kinds(check_manifest(_written(composed, composed, decomposed, "ka"), listen=False))
    assert mixed == {"mixed-normal-forms": ("u2",)}
    assert check_manifest(_written(composed, "ka"), listen=False) == []
    alone = check_manifest(_written(decomposed, "ka"), listen=False)
    assert [(each.kind, each.severity) for each in alone] == [("decomposed-text", "note")]


def test_a_slip_into_cyrillic_is_found_and_told_from_its_twin() -> None:
    texts = ["papa mama " * 20, "p\u0430pa"]
    findings = check_manifest(_written(*texts), listen=False)
    slip = next(each for each in findings if each.kind == "look-alikes")
    assert (slip.severity, slip.utterance_ids) == ("warning", ("u1",))
    assert "U+0430 CYRILLIC SMALL LETTER A (1)" in slip.message
    assert "U+0061 LATIN SMALL LETTER A (81)" in slip.message
    assert "likely a slip" in slip.message


def test_a_spelling_with_greek_letters_is_one_note_however_many_rows() -> None:
    texts = ["sώndω mbέ kɔ wa"] * 50 + ["ωbvε"] * 3
    (note,) = check_manifest(_written(*texts), listen=False)
    assert (note.kind, note.severity, len(note.utterance_ids)) == ("mixed-scripts", "note", 53)
    assert "U+03C9 GREEK SMALL LETTER OMEGA" in note.message
    both = check_manifest(_written(*texts, "mbɛ\u0301 kɛ"), listen=False)
    pair = next(each for each in both if each.kind == "look-alikes")
    assert "U+025B" in pair.message
    assert "U+03B5" in pair.message


def test_a_text_of_another_script_beside_is_not_confused() -> None:
    assert check_manifest(_written("sumak wasi", "сказка", "λόγος"), listen=False) == []


def test_apostrophes_of_several_kinds_are_found_inside_words() -> None:
    assert _kinds(check_manifest(_written("n'gola", "n’gola", "n'ga"), listen=False)) == {
        "apostrophe-variants": ("u1",)
    }
    assert check_manifest(_written("n'gola", "\u2018quoted\u2019 word"), listen=False) == []
    # A letter apostrophe counts anywhere: a glottal stop may end a word.
    assert "apostrophe-variants" in _kinds(check_manifest(_written("n'gola", "ka\ua78c"), listen=False))


def test_apostrophes_that_the_policy_takes_from_words_are_found() -> None:
    texts = ("ri wi' ja' k'o'", "jun q'ij", "'ok")
    (finding,) = check_manifest(_written(*texts), listen=False)
    assert (finding.kind, finding.severity, finding.utterance_ids) == (
        "lost-apostrophes", "warning", ("u0", "u2"),
    )  # fmt: skip
    assert "changes 4 words: it takes away U+0027 APOSTROPHE (4) and writes wi' as wi" in finding.message
    assert "U+02BC or U+A78C" in finding.remedy
    # What a saved policy of before says nothing of is lost inside words too.
    before = CheckConfig(policy=TextPolicy(inside_words="'’-"))
    (finding,) = check_manifest(_written("o\u2018zbek g\u2018oza"), before, listen=False)
    assert "changes 2 words" in finding.message
    assert check_manifest(_written("o\u2018zbek g\u2018oza"), listen=False) == []
    for policy in (TextPolicy(punctuation="keep"), TextPolicy(replace={"'": "\u02bc"})):
        assert check_manifest(_written(*texts), CheckConfig(policy=policy), listen=False) == []


@pytest.mark.parametrize("text", ["'so' and 'no'", "\u2018Yes,\u2019 he said", "5' long", "x ' y"])
def test_quotation_marks_are_no_lost_letters(text: str) -> None:
    assert "lost-apostrophes" not in _kinds(check_manifest(_written(text), listen=False))


@pytest.mark.parametrize(
    ("texts", "sign", "example"),
    [
        (("Kahnawà:ke", "kaniatarowá:nen"), "U+003A COLON", "kahnawà:ke as kahnawà ke"),
        (('בצה"ל', "שלום"), "U+0022 QUOTATION MARK", 'בצה"ל as בצה ל'),
        (("!Xóõ taa", "!nan !xam"), "U+0021 EXCLAMATION MARK", "!xóõ as xóõ"),
        (("a\u2e17ki", "mana"), "U+2E17 DOUBLE OBLIQUE HYPHEN", "a\u2e17ki as a ki"),
        (("ni=ki", "a=ki"), "U+003D EQUALS SIGN", "ni=ki as ni ki"),
    ],
)
def test_signs_that_the_policy_takes_from_words_are_found(
    texts: tuple[str, ...], sign: str, example: str
) -> None:
    (finding,) = check_manifest(_written(*texts), listen=False)
    assert (finding.kind, finding.severity, finding.where) == ("split-words", "warning", sign)
    assert example in finding.message
    proposed = yaml.safe_load(re.findall("`(policy: .*)` in the", finding.remedy)[0])["policy"]
    assert set(proposed["inside_words"]) > set(TextPolicy().inside_words)
    kept = CheckConfig(policy=TextPolicy(punctuation="keep"))
    assert check_manifest(_written(*texts), kept, listen=False) == []


@pytest.mark.parametrize(
    "text",
    [
        "One, two: three. Four!Five! Six! Seven! Eight! Nine!",
        '"Yes" (he) said—"no" «ha» “so” and/or… ¿Sí? ¡Ay! ¡No! ¡Ya! 10:30',
        "老师,跑:到。房子",
        "བོད་ཡིག",
        "ሰላም፡ለሁሉም።",
        "Ի՞նչ ես անում\u0589 Ինչո՞ւ",
        "col·legi ג\u05f3\u05d5רג\u05f3 သူ၏",
    ],
)
def test_punctuation_is_no_lost_letter(text: str) -> None:
    assert "split-words" not in _kinds(check_manifest(_written(text), listen=False))


def test_the_capital_of_a_dotless_i_is_asked_for() -> None:
    texts = ("Iş\u0131k \u0131rmak", "\u0131l\u0131k")
    (finding,) = check_manifest(_written(*texts), listen=False)
    assert (finding.kind, finding.severity, finding.utterance_ids) == ("dotless-i", "warning", ("u0",))
    assert "`case: lower-turkic` or `replace: {I: \u0131}`" in finding.remedy
    for policy in (TextPolicy(case="lower-turkic"), TextPolicy(replace={"I": "\u0131"})):
        assert check_manifest(_written(*texts), CheckConfig(policy=policy), listen=False) == []
    assert check_manifest(_written("Iva", "iva"), listen=False) == []


def test_letters_that_nfc_takes_apart_are_not_called_decomposed() -> None:
    for texts in (("\u0958\u0932\u092e", "\u095c\u093e"), ("\u0958\u0932\u092e", "\u0929")):
        (note,) = check_manifest(_written(*texts), listen=False)
        assert (note.kind, note.severity) == ("not-in-nfc", "note")
        assert "U+0958 DEVANAGARI LETTER QA as U+0915 U+093C" in note.message


def test_joiners_are_noted_and_never_to_be_stripped() -> None:
    (note,) = check_manifest(_written("क्\u200dष", "\u0645\u06cc\u200c\u062e\u0648"), listen=False)[:1]
    assert (note.kind, note.severity) == ("joiners", "note")
    assert note.remedy.startswith("Keep them")


@pytest.mark.parametrize(
    "char", ["\ufeff", "\u200b", "\u00ad", "\u202b", "\ufffd", "\u00a0", "\x07", "\ue000"]
)
def test_characters_that_cannot_be_seen_are_found(char: str) -> None:
    (finding,) = check_manifest(_written(f"su{char}mak"), listen=False)
    seen_to = char in "\ufeff\u200b\u00ad\u202b"  # by the policy
    assert (finding.kind, finding.severity) == ("unseeable-characters", "note" if seen_to else "warning")
    assert f"U+{ord(char):04X}" in finding.message


def test_markup_is_found() -> None:
    (finding,) = check_manifest(_written("sumak [UNK]", "mana <laugh> ari", "it&apos;s"), listen=False)
    assert (finding.kind, finding.utterance_ids) == ("markup", ("u0", "u1", "u2"))
    (finding,) = check_manifest(_written("sumak (unclear)", "mana &=laughs"), listen=False)
    assert (finding.kind, finding.utterance_ids) == ("markup", ("u0", "u1"))


def test_letters_of_one_shape_within_latin_are_told() -> None:
    findings = check_manifest(
        _written("\u0261a\u0261a \u0110e wa\u0294a", "gaga \u0189e wa\u0242a"), listen=False
    )
    assert {each.where[:6] for each in findings if each.kind == "look-alikes"} == {
        "U+0261",
        "U+0189",
        "U+0242",
    }
    assert check_manifest(_written("\u0241a\u0242a \u0242e"), listen=False) == []  # a letter's two cases


def test_what_a_spreadsheet_quoted_is_found() -> None:
    texts = ['"wasi, hatun ""kan"""', '"wasi"', 'wasi "hatun"']
    findings = check_manifest(_written(*texts), listen=False)
    assert [each.utterance_ids for each in findings if each.kind == "quoted-cells"] == [("u0",)]


def test_look_alike_groups_are_disjoint_letters_of_known_scripts() -> None:
    letters = [char for group in LETTERS for char in group]
    assert len(letters) == len(set(letters)) > 100
    # the micro sign and Greek or Coptic symbols carry names of their own
    assert sum(not script(char) for char in letters) <= 1
    assert all(len(group) > 1 for group in LETTERS)


@settings(deadline=None)  # a busy machine is no failure
@given(some.lists(some.tuples(some.text(max_size=30), some.sampled_from(["", "train", "dev"])), max_size=8))
def test_no_text_breaks_the_check(rows: list[tuple[str, str]]) -> None:
    utterances = [
        Utterance(id=f"u{i}", audio=Path("a"), duration_s=1.0, text=text, split=split)
        for i, (text, split) in enumerate(rows)
    ]
    known = {each.id for each in utterances}
    for finding in check_manifest(utterances, listen=False):
        assert set(finding.utterance_ids) <= known

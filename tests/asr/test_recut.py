"""Cutting a corpus at random words: every word once, no word cut, translations along, the same by the same seed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, strategies

from asr.align.texts import words_of
from asr.align.words import words_in_time
from asr.audio import load
from asr.cli import main
from asr.manifest import Utterance, read_manifest, write_manifest
from asr.model import load_model
from asr.recut import Pairs, read_alignments, recut
from asr.text import TextPolicy
from asr.transcript import Word
from lm.errors import InputError

MINI = Path(__file__).parents[2] / "egs" / "mini"


def talk(
    lengths: list[int], *, pause: float = 0.5, audio: str = "talk.wav"
) -> tuple[list[Utterance], dict[str, list[Word]]]:
    """Utterances of so many words of half a second, one after the other; the words are numbers."""
    rows, words = [], {}
    place, number = 0.0, 0
    for index, length in enumerate(lengths):
        place += pause
        spoken = [
            Word(
                text=f"W{number + k},",
                start=place + 0.5 * k + 0.05,
                end=place + 0.5 * k + 0.45,
                confidence=1.0,
            )
            for k in range(length)
        ]
        rows.append(
            Utterance(
                id=f"{audio}-{index}",
                audio=Path(audio),
                offset_s=place,
                duration_s=0.5 * length,
                text=" ".join(word.text for word in spoken),
                translation=" ".join(f"t{number + k}" for k in range(length)),
                speaker="one",
            )
        )
        words[rows[-1].id] = spoken
        place += 0.5 * length
        number += length
    return rows, words


@given(
    lengths=strategies.lists(strategies.integers(1, 6), min_size=1, max_size=6),
    seed=strategies.integers(0, 99),
    longest=strategies.sampled_from([2.0, 30.0]),
)
def test_every_word_is_in_one_new_utterance_and_none_is_cut(
    lengths: list[int], seed: int, longest: float
) -> None:
    rows, words = talk(lengths)
    made = list(recut(rows, words, seed=seed, longest_s=longest))
    assert max(row.duration_s for row in made) <= longest
    assert " ".join(row.text for row in made) == " ".join(row.text for row in rows)
    assert (
        " ".join(row.translation for row in made).split() == " ".join(row.translation for row in rows).split()
    )
    assert len({row.id for row in made}) == len(made)
    for one, other in pairwise(made):
        assert one.offset_s + one.duration_s <= other.offset_s + 1e-3
    place = {word.text: word for spoken in words.values() for word in spoken}
    for row in made:
        for token in row.text.split():
            assert row.offset_s <= place[token].start
            assert place[token].end <= row.offset_s + row.duration_s
    assert made == list(recut(rows, words, seed=seed, longest_s=longest))


def test_a_new_utterance_holds_the_end_of_one_and_the_beginning_of_the_next() -> None:
    rows, words = talk([4, 4, 4])
    made = list(recut(rows, words, seed=1))
    assert len(made) == 4
    assert "W3" in made[1].text
    assert "W4" in made[1].text
    assert [row.text for row in made] != [row.text for row in recut(rows, words, seed=2)]


def test_nothing_reaches_across_what_is_not_known_or_spoken_at_once() -> None:
    rows, words = talk([4, 4, 4])
    del words[rows[1].id]
    made = list(recut(rows, words, seed=1))
    assert all(
        row.offset_s + row.duration_s <= rows[1].offset_s + 1e-3 or row.offset_s >= rows[2].offset_s
        for row in made
    )
    rows, words = talk([4, 4])
    long = replace(rows[0], id="long", offset_s=0.0, duration_s=rows[1].offset_s - 0.1)  # into the pause
    assert all(
        row.offset_s + row.duration_s <= rows[0].offset_s + rows[0].duration_s
        or row.offset_s >= rows[1].offset_s
        for row in recut([long, *rows], words, seed=1)
    )
    other, more = talk([4], pause=1.0)  # begins within the first
    other = [Utterance(**{**vars(other[0]), "id": "other", "speaker": "two"})]
    both = {**talk([4])[1], "other": more["talk.wav-0"]}
    made = list(recut([*talk([4])[0], *other], both, seed=1))
    assert {row.speaker for row in made} == {"one", "two"}
    assert len(made) == 4


def test_utterances_stay_apart_where_the_pause_may_hold_what_has_no_text() -> None:
    rows, words = talk([4, 4, 4])
    whole = list(recut(rows, words, seed=1))
    missed: list[tuple[Utterance, Utterance]] = []
    made = list(
        recut([rows[0], rows[2]], words, seed=1, apart=lambda one, other: missed.append((one, other)))
    )
    assert missed == [(rows[0], rows[2])]
    assert all(
        row.offset_s + row.duration_s <= rows[1].offset_s or row.offset_s >= rows[2].offset_s for row in made
    )
    assert list(recut(rows, words, seed=1, max_pause_s=0.4)) != whole
    # Not for the pause alone.
    list(recut([rows[0], rows[2]], words, seed=1, longest_s=2.0, apart=lambda *_: pytest.fail("told")))
    assert len(list(recut([rows[0], rows[2]], words, seed=1, max_pause_s=4.0))) == len(made) - 1


def test_no_utterance_is_of_two_splits() -> None:
    rows, words = talk([4, 4, 4])
    rows[1] = replace(rows[1], split="dev")
    made = list(recut(rows, words, seed=1))
    assert " ".join(row.text for row in made if row.split == "dev") == rows[1].text
    assert "".join(row.split for row in made) == "devdev"


def test_utterances_of_two_speakers_have_none() -> None:
    rows, words = talk([4, 4])
    rows[1] = Utterance(**{**vars(rows[1]), "speaker": "two"})
    assert [row.speaker for row in recut(rows, words, seed=1)] == ["one", "", "two"]


def spoken(*texts: str, confidences: Sequence[float] = ()) -> list[Word]:
    """Words of half a second, one after the other."""
    return [
        Word(text=text, start=0.5 * k, end=0.5 * k + 0.4, confidence=confidence)
        for k, (text, confidence) in enumerate(zip(texts, confidences or [1.0] * len(texts), strict=True))
    ]


def test_punctuation_that_stands_alone_stays_with_the_word_before_it() -> None:
    row = Utterance(id="u", audio=Path("a.wav"), offset_s=0.0, duration_s=2.0, text="- A - b/c d .")
    words = {"u": spoken("A", "b/c", "d")}
    cuts = {tuple(each.text for each in recut([row], words, seed=seed)) for seed in range(12)}
    assert cuts == {("- A -", "b/c d ."), ("- A - b/c", "d .")}


def test_there_is_no_cut_within_what_is_one_word() -> None:
    text = "one [two two] two three"
    row = Utterance(id="a", audio=Path("a.wav"), duration_s=4.0, text=text)
    words = {"a": spoken("one", "two", "three")}
    apart = partial(re.findall, r"\[.*?\]|\S+")
    cuts = {tuple(each.text for each in recut([row], words, seed=seed, words_of=apart)) for seed in range(12)}
    assert {"one [two two]", "two three"} in map(set, cuts)
    assert not any(part.endswith("[two") or part.startswith("two]") for parts in cuts for part in parts)


def test_there_is_no_cut_between_two_words_without_a_letter() -> None:
    row = Utterance(id="u", audio=Path("a.wav"), offset_s=0.0, duration_s=2.0, text="in 1990 2000 or")
    words = {"u": spoken(*row.text.split(), confidences=[0.9, 0.0, 0.0, 0.9])}
    cuts = {tuple(each.text for each in recut([row], words, seed=seed)) for seed in range(12)}
    assert cuts == {("in", "1990 2000 or"), ("in 1990 2000", "or")}


def test_an_utterance_that_is_too_long_is_cut_again_with_its_translation() -> None:
    rows, words = talk([40])  # 20 s
    pairs = {rows[0].id: [(k, k) for k in range(40)]}
    made = list(recut(rows, words, seed=1, longest_s=4.0, alignments=pairs))
    assert max(row.duration_s for row in made) <= 4.0
    assert len({row.id for row in made}) == len(made) >= 5
    for row in made:
        assert row.translation.split() == [token[:-1].replace("W", "t") for token in row.text.split()]
    # A word that is too long has nowhere to be cut.
    rows, words = talk([1])
    assert list(recut(rows, words, seed=1, longest_s=0.4)) == []


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([(0, 0), (1, 1), (2, 2), (3, 3)], {1: "t0 / t1 t2 t3", 2: "t0 t1 / t2 t3", 3: "t0 t1 t2 / t3"}),
        # The last word of the source comes first in the translation: it is in both halves.
        ([(3, 0), (0, 1), (1, 2), (2, 3)], {1: "t0 t1 / t0 t1 t2 t3"}),
    ],
)
def test_a_translation_follows_its_alignment(pairs: Pairs, expected: dict[int, str]) -> None:
    rows, words = talk([4])
    seen = {}
    for seed in range(20):
        made = list(recut(rows, words, seed=seed, alignments={rows[0].id: pairs}))
        seen[len(made[0].text.split())] = " / ".join(row.translation for row in made)
    assert seen.items() >= expected.items()


def test_an_alignment_counts_the_words_of_what_is_one_word_to_a_policy() -> None:
    text = "[risa larga] a b c d e f"
    row = Utterance(id="u", audio=Path("a.wav"), duration_s=4.0, text=text, translation="L L A B C D E F")
    policy = TextPolicy(replace={"[risa larga]": ""})
    words = {"u": spoken(*"abcdef")}
    for seed in range(8):
        made = list(
            recut(
                [row],
                words,
                seed=seed,
                alignments={"u": [(k, k) for k in range(8)]},
                words_of=partial(words_of, policy=policy),
            )
        )
        assert [each.translation.lower() for each in made] == [
            each.text.replace("[risa larga]", "l l") for each in made
        ]


def test_a_translation_without_spaces_is_cut_between_letters() -> None:
    rows, words = talk([8])
    whole = "老师跑到房子里去了。"
    for translation in (whole, "ครูวิ่งเข้าไปในบ้าน"):
        rows[0] = replace(rows[0], translation=translation)
        for seed in range(8):
            made = list(recut(rows, words, seed=seed))
            assert "".join(row.translation for row in made) == translation
            for row in made:
                share = len(row.text.split()) / 8
                assert abs(len(row.translation) / len(translation) - share) < 0.2


def test_a_translation_of_one_word_is_of_no_half() -> None:
    rows, words = talk([8])
    rows[0] = replace(rows[0], translation="Wort")
    for seed in range(8):
        made = list(recut(rows, words, seed=seed))
        assert [row.translation for row in made] == (["Wort"] if len(made) == 1 else ["", ""])


def test_alignments_must_be_of_the_rows(tmp_path: Path) -> None:
    rows, _ = talk([2, 3])
    path = tmp_path / "a.txt"
    path.write_text("0-0 1-1\n0-0\n")
    assert read_alignments(path, rows) == {rows[0].id: [(0, 0), (1, 1)], rows[1].id: [(0, 0)]}
    path.write_text("0-0\n")
    with pytest.raises(InputError, match="1 lines for 2 rows"):
        read_alignments(path, rows)
    path.write_text("0-0\n0_0\n")
    with pytest.raises(InputError, match="line 2: '0_0' is not of the form"):
        read_alignments(path, rows)
    for line in ("2-0", "0-2"):
        path.write_text(f"{line}\n0-0 2-2\n")
        with pytest.raises(
            InputError, match=f"line 1: {line}, counted from 0, is beyond talk.wav-0, which has 2"
        ):
            read_alignments(path, rows)


def test_words_without_a_letter_leave_the_others_where_they_are() -> None:
    model = load_model(MINI / "model")
    rows = [row for row in read_manifest(MINI / "data" / "manifest.tsv") if row.id.startswith("mri-dev-f6")][
        :2
    ]
    numbered = [replace(row, text=f"1990 2000 {row.text} - 7") for row in rows]
    expected = {row.id: words for row, words in words_in_time(model, rows)}
    assert len(rows) == 2
    for row, found in words_in_time(model, numbered):
        before = expected[row.id]
        assert not isinstance(found, InputError)
        assert not isinstance(before, InputError)
        assert [word.text for word in found] == ["1990", "2000", *row.text.split()[2:-2], "7"]
        for word, same in zip(found[2:-1], before, strict=True):
            # The first and the last reach less far into the pause than they do without neighbours.
            assert word.start == pytest.approx(same.start, abs=0.15)
            assert word.end == pytest.approx(same.end, abs=0.15)
        assert [word.confidence > 0 for word in found] == [False, False, *[True] * len(before), False]
        assert all(one.end <= other.start for one, other in pairwise(found))


def test_a_text_without_any_letter_is_named() -> None:
    (row,) = [row for row in read_manifest(MINI / "data" / "manifest.tsv") if row.id == "mri-dev-f6-01"]
    ((_, found),) = words_in_time(load_model(MINI / "model"), [replace(row, text="1990 - 2000/1")])
    assert isinstance(found, InputError)
    assert "mri-dev-f6-01: the model writes no letter of its text '1990" in str(found)


def mini_rows(tmp_path: Path, prefix: str = "") -> Path:
    """The first five rows of a speaker of the mini corpus as a manifest, their texts behind a prefix."""
    rows = [
        replace(row, text=prefix + row.text)
        for row in read_manifest(MINI / "data" / "manifest.tsv", corpus=MINI / "data")
        if row.id.startswith("mri-dev-")
    ][:5]
    write_manifest(rows, tmp_path / "few.tsv")
    return tmp_path / "few.tsv"


def test_the_command_cuts_a_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = mini_rows(tmp_path)
    command = [
        "corpus", "recut", str(few), "--model", str(MINI / "model"), "--out", str(tmp_path / "cut.tsv"),
    ]  # fmt: skip
    assert main(command) == 0
    assert "of 5 of" in capsys.readouterr().out
    rows, made = read_manifest(few), read_manifest(tmp_path / "cut.tsv")
    assert " ".join(row.text for row in made).split() == " ".join(row.text for row in rows).split()
    assert {row.audio.resolve() for row in made} == {row.audio.resolve() for row in rows}
    assert main(command) == 1
    assert "exists and is kept" in capsys.readouterr().err


def three_in_one(tmp_path: Path) -> list[Utterance]:
    """Three rows of the mini corpus, one after the other in one recording."""
    waveform, rows, place = [], [], 0.0
    for row in read_manifest(mini_rows(tmp_path))[:3]:
        waveform.append(load(row.audio, offset_s=row.offset_s, duration_s=row.duration_s))
        rows.append(replace(row, audio=tmp_path / "talk.wav", offset_s=place))
        place += row.duration_s
    soundfile.write(tmp_path / "talk.wav", np.concatenate(waveform), 16_000)
    return rows


def test_the_command_tells_how_many_a_pause_keeps_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, _, other = three_in_one(tmp_path)
    write_manifest([one, other], tmp_path / "talk.tsv")
    command = ["corpus", "recut", str(tmp_path / "talk.tsv"), "--model", str(MINI / "model"), "--out"]
    assert main([*command, str(tmp_path / "cut.tsv")]) == 0
    told = capsys.readouterr().err
    assert "note: 1 time(s) two utterances were not joined" in told
    assert f"longer than 1 s, the first of them {one.id} and {other.id}." in told
    made = read_manifest(tmp_path / "cut.tsv")
    assert all(
        row.offset_s + row.duration_s < other.offset_s or row.offset_s >= other.offset_s for row in made
    )
    assert main([*command, str(tmp_path / "joined.tsv"), "--max-pause", "20"]) == 0
    assert "not joined" not in capsys.readouterr().err
    assert len(read_manifest(tmp_path / "joined.tsv")) == len(made) - 1


@pytest.mark.parametrize(
    ("option", "wrong", "remedy"),
    [("--max-pause", "-1", "from 0"), ("--max-pause", "nan", "from 0"), ("--max-duration", "0", "above 0")],
)
def test_a_length_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, wrong: str, remedy: str
) -> None:
    command = ["corpus", "recut", str(mini_rows(tmp_path)), "--model", str(MINI / "model"), option, wrong]
    assert main([*command, "--out", str(tmp_path / "cut.tsv")]) == 1
    assert f"{option} is {wrong}. Give seconds {remedy}." in capsys.readouterr().err
    assert not (tmp_path / "cut.tsv").exists()


def test_a_cut_of_one_split_has_nothing_of_another(tmp_path: Path) -> None:
    rows = [
        replace(row, split=split)
        for row, split in zip(three_in_one(tmp_path), ("train", "dev", "train"), strict=True)
    ]
    times = [row.offset_s for row in rows]
    write_manifest(rows, tmp_path / "talk.tsv")
    command = ["corpus", "recut", str(tmp_path / "talk.tsv"), "--model", str(MINI / "model"), "--split"]
    assert main([*command, "train", "--out", str(tmp_path / "cut.tsv")]) == 0
    made = read_manifest(tmp_path / "cut.tsv")
    assert " ".join(row.text for row in made) == f"{rows[0].text} {rows[2].text}"
    assert all(
        row.offset_s + row.duration_s <= times[1] + 0.002 or row.offset_s >= times[2] - 0.002 for row in made
    )
    assert main([*command, "test", "--out", str(tmp_path / "none.tsv")]) == 1


def test_what_cannot_be_written_is_told_before_the_model_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few, notes = mini_rows(tmp_path), tmp_path / "notes.txt"
    notes.write_text("0-0\n")
    command = ["corpus", "recut", str(few), "--alignment", str(notes), "--model", "none", "--overwrite"]
    before = few.read_bytes()
    for out, message in (
        (few, "is one of the inputs"),
        (notes, "is one of the inputs"),
        (MINI / "README.md", "is of another kind"),
        (notes / "cut.tsv", "Give --out a folder that can be written"),
    ):
        assert main([*command, "--out", str(out)]) == 1
        assert message in capsys.readouterr().err
    assert (few.read_bytes(), notes.read_text()) == (before, "0-0\n")


@pytest.mark.parametrize("seed", ["1", "2"])
def test_the_command_bears_words_without_a_letter(tmp_path: Path, seed: str) -> None:
    few, out = mini_rows(tmp_path, "1990 2000 "), tmp_path / "cut.tsv"
    command = ["corpus", "recut", str(few), "--model", str(MINI / "model"), "--out", str(out), "--seed", seed]
    assert main(command) == 0
    whole = " ".join(row.text for row in read_manifest(few))
    assert all(row.text in whole for row in read_manifest(out))

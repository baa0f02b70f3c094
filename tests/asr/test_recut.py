"""Cutting a corpus at random words: every word once, no word cut, translations along, the same by the same seed."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, strategies

from asr.cli import main
from asr.manifest import Utterance, read_manifest
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
                text=f"w{number + k}",
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
                text=" ".join(word.text.upper() + "," for word in spoken),
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
    made = list(recut(rows, words, TextPolicy(), seed=seed, longest_s=longest))
    assert " ".join(row.text for row in made) == " ".join(row.text for row in rows)
    assert (
        " ".join(row.translation for row in made).split() == " ".join(row.translation for row in rows).split()
    )
    assert len({row.id for row in made}) == len(made)
    for one, other in pairwise(made):
        assert one.offset_s + one.duration_s <= other.offset_s + 1e-3
    place = {word.text.upper() + ",": word for spoken in words.values() for word in spoken}
    for row in made:
        for token in row.text.split():
            assert row.offset_s <= place[token].start
            assert place[token].end <= row.offset_s + row.duration_s
    assert made == list(recut(rows, words, TextPolicy(), seed=seed, longest_s=longest))


def test_a_new_utterance_holds_the_end_of_one_and_the_beginning_of_the_next() -> None:
    rows, words = talk([4, 4, 4])
    made = list(recut(rows, words, TextPolicy(), seed=1))
    assert len(made) == 4
    assert "W3" in made[1].text
    assert "W4" in made[1].text
    assert [row.text for row in made] != [row.text for row in recut(rows, words, TextPolicy(), seed=2)]


def test_nothing_reaches_across_what_is_not_known_or_spoken_at_once() -> None:
    rows, words = talk([4, 4, 4])
    del words[rows[1].id]
    made = list(recut(rows, words, TextPolicy(), seed=1))
    assert all(
        row.offset_s + row.duration_s <= rows[1].offset_s + 1e-3 or row.offset_s >= rows[2].offset_s
        for row in made
    )
    other, more = talk([4], pause=1.0)  # begins within the first
    other = [Utterance(**{**vars(other[0]), "id": "other", "speaker": "two"})]
    both = {**talk([4])[1], "other": more["talk.wav-0"]}
    made = list(recut([*talk([4])[0], *other], both, TextPolicy(), seed=1))
    assert {row.speaker for row in made} == {"one", "two"}
    assert len(made) == 4


def test_utterances_of_two_speakers_have_none() -> None:
    rows, words = talk([4, 4])
    rows[1] = Utterance(**{**vars(rows[1]), "speaker": "two"})
    assert [row.speaker for row in recut(rows, words, TextPolicy(), seed=1)] == ["one", "", "two"]


def test_a_token_without_a_word_and_one_with_two_are_not_torn() -> None:
    row = Utterance(id="u", audio=Path("a.wav"), offset_s=0.0, duration_s=2.0, text="A - b/c d")
    policy = TextPolicy()
    written = policy(row.text).split()
    words = {
        "u": [Word(text=w, start=0.5 * k, end=0.5 * k + 0.4, confidence=1.0) for k, w in enumerate(written)]
    }
    for seed in range(12):
        made = [each.text for each in recut([row], words, policy, seed=seed)]
        assert " ".join(made) == row.text
        assert all("b/c" in text or ("b" not in text and "c" not in text) for text in made)


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
        made = list(recut(rows, words, TextPolicy(), seed=seed, alignments={rows[0].id: pairs}))
        seen[len(made[0].text.split())] = " / ".join(row.translation for row in made)
    assert seen.items() >= expected.items()


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


def test_the_command_cuts_a_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (MINI / "data" / "manifest.tsv").read_text(encoding="utf-8").splitlines()
    few = [line for line in lines if line.startswith("mri-dev-")][:5]
    (tmp_path / "few.tsv").write_text("\n".join([lines[0], *few]) + "\n", encoding="utf-8")
    command = [
        "corpus", "recut", str(tmp_path / "few.tsv"), "--corpus", str(MINI / "data"), "--model", str(MINI / "model"),
        "--out", str(tmp_path / "cut.tsv"),
    ]  # fmt: skip
    assert main(command) == 0
    assert "of 5 of" in capsys.readouterr().out
    rows, made = (
        read_manifest(tmp_path / "few.tsv", corpus=MINI / "data"),
        read_manifest(tmp_path / "cut.tsv"),
    )
    assert " ".join(row.text for row in made).split() == " ".join(row.text for row in rows).split()
    assert {row.audio.resolve() for row in made} == {row.audio.resolve() for row in rows}
    assert main(command) == 1
    assert "exists and is kept" in capsys.readouterr().err

"""LM folders: built, read, checked, and scored by."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import stat
from itertools import product
from pathlib import Path

import pytest

from lm.arpa import write_arpa
from lm.build import build_language_model
from lm.corpus import Splitter
from lm.errors import InputError
from lm.folder import LanguageModel, set_decoding, write_description
from lm.kneser_ney import estimate
from tests.lm.plain import open_word_log_prob, read_plain

DATA = Path(__file__).parent / "data"
SENTENCES = (DATA / "sentences.txt").read_text(encoding="utf-8").splitlines()[:80]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    build_language_model(SENTENCES, tmp_path / "lm", character_order=4, policy={"case": "lower"})
    return tmp_path / "lm"


def test_what_was_built_is_read(folder: Path) -> None:
    model = LanguageModel.load(folder)
    assert model.word is not None
    assert model.character is not None
    assert (model.word.order, model.character.order) == (3, 4)
    assert model.vocabulary == tuple(sorted({word for line in SENTENCES for word in line.split()}))
    assert model.alphabet == "".join(sorted(set("".join(SENTENCES))))
    assert model.characters == set(model.alphabet) - {" "}
    assert (model.policy, model.decoding) == ({"case": "lower"}, None)
    assert model.training is not None
    assert SENTENCES[3] in model.training
    assert "never said" not in model.training
    assert "▁" in model.character
    assert " " not in model.character


def test_the_same_text_gives_the_same_folder(folder: Path, tmp_path: Path) -> None:
    build_language_model(SENTENCES, tmp_path / "again", character_order=4, policy={"case": "lower"})
    names = sorted(file.name for file in folder.iterdir())
    assert names == ["character.arpa", "counts.json", "lm.json", "training.hashes", "word.arpa"]
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_binaries_score_as_arpa_files(folder: Path, tmp_path: Path) -> None:
    build_language_model(SENTENCES, tmp_path / "binary", character_order=4, binary=True)
    text, binary = LanguageModel.load(folder), LanguageModel.load(tmp_path / "binary")
    assert sorted(file.name for file in binary.path.iterdir())[0] == "character.bin"
    assert binary.vocabulary == text.vocabulary
    for word in (SENTENCES[0].split()[0], "unheard"):
        assert score(binary, word) == pytest.approx(score(text, word), abs=1e-5)


@pytest.mark.parametrize("binary", [False, True])
def test_tokens_are_counted_by_number(binary: bool, tmp_path: Path) -> None:
    build_language_model(
        ["b ab", "b b"], tmp_path / "lm", word_prune=(1,), character_order=2, piece_order=2, splitter=PAIRS,
        binary=binary,
    )  # fmt: skip
    model = LanguageModel.load(tmp_path / "lm")
    for ngram, expected in (
        (model.word, {"b": 3}),  # "ab" was pruned
        (model.character, {"a": 1, "b": 4, "▁": 2}),
    ):
        assert ngram is not None
        assert ngram.counts is not None
        counts = dict(zip(ngram.vocabulary, ngram.counts.tolist(), strict=True))
        assert counts == {"<unk>": 0, "<s>": 0, "</s>": 0} | expected
    assert model.piece is not None
    assert model.piece.counts is None


def test_a_folder_without_counts_is_read(folder: Path) -> None:
    before = json.loads((folder / "lm.json").read_text(encoding="utf-8"))
    (folder / "counts.json").write_text('{"word":[1]}', encoding="utf-8")
    write_description(folder, before)
    with pytest.raises(InputError, match=r"counts\.json has 1 counts for \d+ words"):
        LanguageModel.load(folder)
    (folder / "counts.json").unlink()
    del before["counts"]  # as they were before
    write_description(folder, before)
    model = LanguageModel.load(folder)
    assert model.word is not None
    assert model.word.counts is None


PAIRS = Splitter(("▁ab", "▁b", "a", "b"), lambda text: [f"▁{word}" for word in text.split()])


def test_pieces_are_split_by_what_is_given_and_remembered(tmp_path: Path) -> None:
    build_language_model(["ab b", "b"], tmp_path / "lm", character_order=0, piece_order=2, splitter=PAIRS)
    model = LanguageModel.load(tmp_path / "lm")
    assert model.character is None
    assert model.piece is not None
    assert set(model.piece.vocabulary) == {"<unk>", "<s>", "</s>", "▁ab", "▁b"}
    assert model.pieces == PAIRS.pieces
    assert model.alphabet == " ab"
    pieces = model.only("piece")
    assert (pieces.word, pieces.vocabulary, pieces.pieces) == (None, (), PAIRS.pieces)
    words = model.only("word")
    assert (words.piece, words.pieces, words.vocabulary) == (None, (), ("ab", "b"))
    with pytest.raises(InputError, match="has no character model"):
        model.only("character")
    with pytest.raises(InputError, match="need what splits texts"):
        build_language_model(["ab b"], tmp_path / "new", piece_order=2)
    (tmp_path / "lm" / "piece.arpa").unlink()
    with pytest.raises(InputError, match=r"piece\.arpa is missing"):
        LanguageModel.load(tmp_path / "lm")


def test_what_no_piece_writes_is_left_out_and_told(tmp_path: Path) -> None:
    report = build_language_model(
        ["ab b", "xyz", "b c"],
        tmp_path / "lm",
        word_order=0,
        character_order=0,
        piece_order=2,
        splitter=PAIRS,
    )
    assert report.unwritten == 4 / 8
    model = LanguageModel.load(tmp_path / "lm")
    assert model.piece is not None
    assert set(model.piece.vocabulary) == {"<unk>", "<s>", "</s>", "▁ab", "▁b"}
    assert (model.piece.order, report.ngrams["piece"][1]) == (2, 4)  # no sentence without a piece
    before = (tmp_path / "lm" / "lm.json").read_bytes()
    with pytest.raises(InputError, match="the tokenizer's pieces write nothing of it"):
        build_language_model(["xyz"], tmp_path / "lm", piece_order=2, splitter=PAIRS, overwrite=True)
    assert (tmp_path / "lm" / "lm.json").read_bytes() == before


def test_either_model_may_be_left_out(folder: Path, tmp_path: Path) -> None:
    build_language_model(SENTENCES, tmp_path / "words", character_order=0)
    words = LanguageModel.load(tmp_path / "words")
    assert words.character is None
    assert words.spelling_log_prob("x") == 0
    assert LanguageModel.load(folder).only("word").character is None
    characters = LanguageModel.load(folder).only("character")
    assert (characters.word, characters.vocabulary) == (None, ())
    with pytest.raises(InputError, match="no word model"):
        characters.only("word")
    with pytest.raises(InputError, match="no character model"):
        words.only("character")
    with pytest.raises(InputError, match="nothing to build"):
        build_language_model(SENTENCES, tmp_path / "none", word_order=0, character_order=0)


def test_a_model_that_is_left_out_needs_no_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(sentence: str) -> list[str]:
        raise AssertionError(sentence)

    monkeypatch.setattr("lm.build.characters_of", refuse)
    build_language_model(SENTENCES, tmp_path / "words", character_order=0)


def test_an_unknown_word_costs_unk_and_its_spelling(folder: Path) -> None:
    model = LanguageModel.load(folder)
    words, letters = read_plain(folder / "word.arpa"), read_plain(folder / "character.arpa")
    word = "kuna"
    assert word not in model.vocabulary
    spelling = sum(
        letters.log10_prob(["▁", *word[:place]], character) for place, character in enumerate(word)
    )
    ends = sum(10 ** letters.log10_prob(["▁", *word], token) for token in ("▁", "</s>"))
    expected = words.log10_prob(["<s>"], "<unk>") + spelling + math.log10(ends)
    assert score(model, word) == pytest.approx(expected * math.log(10), abs=1e-5)
    known = SENTENCES[0].split()[0]
    assert score(model, known) == pytest.approx(words.log10_prob(["<s>"], known) * math.log(10), abs=1e-5)


def test_spellings_are_a_distribution(tmp_path: Path) -> None:
    build_language_model(["ab", "a b", "ba", "b"], tmp_path / "lm", character_order=3)
    model = LanguageModel.load(tmp_path / "lm")
    assert model.character is not None
    letters = "ab?"  # "?" stands for all that is unknown
    short = sum(
        math.exp(model.spelling_log_prob("".join(word)))
        for length in range(5)
        for word in product(letters, repeat=length)
    )
    longer = 0.0
    for beginning in product(letters, repeat=5):
        state, _ = model.character.score(model.character.empty(), "▁")
        total = 0.0
        for letter in beginning:
            state, log_prob = model.character.score(state, letter)
            total += log_prob
        longer += math.exp(total)
    assert 0 < longer < 0.5
    assert short + longer == pytest.approx(1, abs=1e-4)


def test_the_unknown_word_gets_all_that_smoothing_frees(folder: Path, tmp_path: Path) -> None:
    build_language_model(SENTENCES, tmp_path / "closed", character_order=0, open_vocabulary=False)
    p_open = read_plain(folder / "word.arpa").log10_prob([], "<unk>")
    p_closed = read_plain(tmp_path / "closed" / "word.arpa").log10_prob([], "<unk>")
    size = len(LanguageModel.load(folder).vocabulary) + 2  # and </s> and <unk>
    assert p_open == pytest.approx(p_closed + math.log10(size), abs=1e-4)


@pytest.mark.parametrize("name", ["word.arpa", "character.arpa", "counts.json", "training.hashes"])
def test_an_altered_or_missing_file_is_named(name: str, folder: Path) -> None:
    path = folder / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-9] + b"x" + whole[-8:])
    with pytest.raises(InputError, match=rf"{name} was altered"):
        LanguageModel.load(folder)
    path.unlink()
    with pytest.raises(InputError, match=rf"{name} is missing"):
        LanguageModel.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format is 2"),
        ({"word": "word.arpa"}, "word is 'word.arpa'"),
        ({"word": {"file": "../word.arpa"}}, "no name of a file"),
        ({"alphabet": None}, "alphabet is"),
        ({"piece": {"file": "word.arpa", "pieces": None}}, "pieces is 'None', not a list"),
        ({"piece": {"file": "word.arpa", "pieces": [1]}}, "pieces is"),
        (None, "is not JSON"),
    ],
)
def test_a_damaged_description_is_refused(
    change: dict[str, object] | None, message: str, folder: Path
) -> None:
    path = folder / "lm.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text[:50] if change is None else json.dumps({**json.loads(text), **change}), encoding="utf-8"
    )
    with pytest.raises(InputError, match=message):
        LanguageModel.load(folder)


def test_tuned_settings_are_saved_beside_the_rest(folder: Path) -> None:
    before = json.loads((folder / "lm.json").read_text(encoding="utf-8"))
    set_decoding(folder, {"lm_weight": 0.7})
    assert LanguageModel.load(folder).decoding == {"lm_weight": 0.7}
    after = json.loads((folder / "lm.json").read_text(encoding="utf-8"))
    assert {**after, "decoding": None} == before


def test_a_folder_that_cannot_be_written_is_named(folder: Path) -> None:
    (folder / "lm.json.partial").mkdir()
    with pytest.raises(InputError, match=r"its lm\.json cannot be written \(Is a directory\)"):
        set_decoding(folder, {"lm_weight": 0.7})


def test_a_bare_file_is_a_language_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "elsewhere.arpa"
    write_arpa(estimate([["ab", "c"], ["c"]], 2), path)
    for given in (path, tmp_path):  # the file, or the folder in which it is the only one
        model = LanguageModel.load(given)
        assert (model.vocabulary, model.alphabet, model.policy) == (("ab", "c"), " abc", None)
        assert model.character is None
    assert not capsys.readouterr().err
    write_arpa(estimate([["a", "▁", "b"]], 2), path)
    letters = LanguageModel.load(path, unit="character")
    assert (letters.word, letters.vocabulary, letters.alphabet) == (None, (), " ab")
    assert not capsys.readouterr().err
    unasked = LanguageModel.load(path)
    assert (unasked.word, unasked.vocabulary, unasked.alphabet) == (None, (), " ab")
    assert "its tokens are single characters" in capsys.readouterr().err
    assert LanguageModel.load(path, unit="word").vocabulary == ("a", "b", "▁")
    write_arpa(estimate([["▁ab", "a"]], 2), path)
    pieces = LanguageModel.load(path)
    assert (pieces.word, pieces.character, pieces.alphabet, pieces.pieces) == (None, None, " ab", ())
    assert pieces.piece is not None
    assert "its tokens begin with ▁, as sentence pieces do" in capsys.readouterr().err
    assert LanguageModel.load(path, unit="word").piece is None
    write_arpa(estimate([[*"abcdefghijklmnopqrst", "ab", "▁▂▃", "▁ab"]], 2), path)
    words = LanguageModel.load(path)
    assert (words.piece, len(words.vocabulary)) == (None, 23)
    assert not capsys.readouterr().err
    (tmp_path / "other.bin").touch()
    with pytest.raises(InputError, match="2 model files"):
        LanguageModel.load(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        LanguageModel.load(tmp_path / "nowhere")


def test_nothing_is_overwritten_unasked(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--overwrite"):
        build_language_model(["a b"], folder)
    build_language_model(["a b"], folder, character_order=0, overwrite=True)
    assert LanguageModel.load(folder).vocabulary == ("a", "b")
    assert not (folder / "character.arpa").exists()
    (folder / "notes.txt").touch()
    with pytest.raises(InputError, match=r"notes\.txt"):
        build_language_model(["a b"], folder, overwrite=True)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        build_language_model(["a b"], tmp_path / "file")
    with pytest.raises(InputError, match="no sentence"):
        build_language_model([], tmp_path / "new")


def test_a_build_that_fails_leaves_the_old_one(folder: Path) -> None:
    set_decoding(folder, {"lm_weight": 0.7})
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(InputError, match="too small"):
        build_language_model(["a b c", "b a"], folder, fallback=None, overwrite=True)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    (folder / "new.partial").mkdir()  # of one that was killed
    (folder / "new.partial" / "word.arpa").touch()
    build_language_model(["a b"], folder, overwrite=True)
    assert LanguageModel.load(folder).vocabulary == ("a", "b")
    assert not (folder / "new.partial").exists()


def test_a_full_disk_names_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("lm.build.write_description", full)
    with pytest.raises(InputError, match=r"^--out .*: No space left on device\. Make room on the disk"):
        build_language_model(["a b"], folder, overwrite=True)
    assert LanguageModel.load(folder).vocabulary
    assert not (folder / "new.partial").exists()


def test_an_interrupted_build_is_no_model_and_can_be_run_again(folder: Path) -> None:
    (folder / "lm.json").unlink()
    (folder / "word.arpa").rename(folder / "word.arpa.partial")
    build_language_model(["a b"], folder)
    assert LanguageModel.load(folder).vocabulary == ("a", "b")
    assert not (folder / "word.arpa.partial").exists()


@pytest.fixture
def lmplz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in on PATH that records how it was called and writes what ``answer.arpa`` holds."""
    program = tmp_path / "bin" / "lmplz"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        f'echo "$@" > "{tmp_path}/called"\n'
        'while [ $# -gt 0 ]; do case "$1" in --arpa) arpa=$2;; --text) text=$2;; esac; shift; done\n'
        f'cp "$text" "{tmp_path}/text"; cp "{tmp_path}/answer.arpa" "$arpa"\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return program


def test_lmplz_on_the_path_is_used(lmplz: Path, tmp_path: Path) -> None:
    write_arpa(estimate([["from", "lmplz"]], 2), tmp_path / "answer.arpa")
    build_language_model(["a b", "c"], tmp_path / "lm", word_prune=(0, 0, 1), character_order=0)
    called = (tmp_path / "called").read_text(encoding="utf-8")
    for option in (
        "--order 3",
        "--prune 0 0 1",
        "--discount_fallback 0.5 1.0 1.5",
        "--interpolate_unigrams 0",
    ):
        assert option in called
    assert (tmp_path / "text").read_text(encoding="utf-8") == "a b\nc\n"
    assert LanguageModel.load(tmp_path / "lm").vocabulary == ("from", "lmplz")

    lmplz.write_text("#!/bin/sh\necho 'no memory' >&2\nexit 3\n")
    with pytest.raises(InputError, match=r"lmplz failed \(3\): no memory"):
        build_language_model(["a b"], tmp_path / "other")
    assert not (tmp_path / "other" / "lm.json").exists()


@pytest.mark.parametrize("nothing", ["-99", "-inf"])
def test_a_word_that_lmplz_leaves_nothing_is_estimated_by_us(
    lmplz: Path, tmp_path: Path, nothing: str
) -> None:
    write_arpa(estimate([["a", "b"]], 2), tmp_path / "answer.arpa")
    answer = (tmp_path / "answer.arpa").read_text(encoding="utf-8")
    (tmp_path / "answer.arpa").write_text(re.sub(r".*\tb\t", f"{nothing}\tb\t", answer, count=1))
    build_language_model(["a b"], tmp_path / "lm", word_order=2, character_order=0)
    ours = estimate([["a", "b"]], 2, interpolate_unigrams=False)
    write_arpa(ours, tmp_path / "ours.arpa")
    assert (tmp_path / "lm" / "word.arpa").read_bytes() == (tmp_path / "ours.arpa").read_bytes()
    assert not (tmp_path / "lm" / "word.arpa.partial").exists()


def score(model: LanguageModel, word: str) -> float:
    """Open-vocabulary log-probability of a word at the start of a sentence."""
    assert model.word is not None
    return open_word_log_prob(model, model.word.start(), word)[1]

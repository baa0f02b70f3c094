"""Distillation: what a teacher says, when it is asked again, and where its labels belong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from asr.ctc import CtcConfig
from asr.manifest import Utterance, read_manifest
from asr.model import CTCModel
from asr.text import TextPolicy
from asr.tokenizer import character_tokenizer
from lm.errors import InputError
from st.decoder import DecoderConfig
from st.distil import SEARCH, DistilConfig, Teaching, teach
from st.loss import framed
from st.model import SpeechTranslator, TextTranslator, load_translator, save_translator
from st.task import TranslationConfig, TranslationTask
from st.text_encoder import TextEncoderConfig
from st.texts import translate_labels

TARGET = character_tokenizer(["uno dos tres cuatro cinco seis."], TextPolicy(punctuation="keep"))
SOURCE = character_tokenizer(["abcdef "], TextPolicy()).with_languages(["tone"])
DECODER = DecoderConfig(width=16, layers=1, heads=2, inner=16)


@pytest.fixture
def rows(spoken_numbers: Path) -> list[Utterance]:
    return read_manifest(spoken_numbers)[:6]


@pytest.fixture
def exp(tmp_path: Path) -> Path:
    return tmp_path / "exp"


@pytest.fixture
def teacher(tmp_path: Path) -> str:
    return untrained(tmp_path / "teacher", seed=0)


def untrained(folder: Path, seed: int) -> str:
    """A teacher that knows nothing, but its own mind."""
    torch.manual_seed(seed)
    encoder = TextEncoderConfig(width=16, layers=1, heads=2, inner=16)
    model = TextTranslator(SOURCE, TARGET, encoder, DECODER)
    model.languages = ("tone", "es")
    save_translator(model, folder)
    return str(folder)


def texts(rows: list[Utterance]) -> list[str]:
    return [row.translation for row in rows]


def same(first: Teaching, second: Teaching, rows: list[Utterance]) -> bool:
    """Whether they teach the same, up to rounding."""
    one, other = first.rows([[row] for row in rows]), second.rows([[row] for row in rows])
    assert one is not None
    assert other is not None
    shapes = [each.shape for each in one] == [each.shape for each in other]
    return shapes and torch.equal(one[0], other[0]) and torch.allclose(one[1], other[1], atol=1e-6)


def test_shares_are_those_of_the_best_labels_at_a_temperature(
    rows: list[Utterance], teacher: str, exp: Path
) -> None:
    row = rows[0]
    config = DistilConfig(teacher=teacher, top_k=4, temperature=2.0)
    _, teaching = teach(config, TARGET, [row], [], exp)
    taught = teaching.rows([[row]])
    assert taught is not None
    model = load_translator(teacher)
    # With the label that opens a text of its language, as the teacher was trained.
    source = torch.tensor([SOURCE.encode(row.text, "tone")])
    assert source[0, 0] == SOURCE.languages["tone"]
    read, _, _ = framed([TARGET.encode(row.translation)])
    with torch.inference_mode():
        logits, _ = model(source, torch.tensor([source.shape[1]]), read)
    shares, labels = (logits / 2).softmax(dim=-1).topk(4, dim=-1)
    assert torch.equal(taught[0], labels)
    assert torch.allclose(taught[1], shares / shares.sum(dim=-1, keepdim=True), atol=1e-6)


def test_a_teacher_is_asked_once(
    rows: list[Utterance], teacher: str, exp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = DistilConfig(teacher=teacher, level="both", top_k=4)
    told, first = teach(config, TARGET, rows[:4], rows[4:], exp)
    said = capsys.readouterr().err
    assert "the teacher translates 4 transcripts\n" in said
    assert "asking the teacher about 6 translations\n" in said
    again, second = teach(config, TARGET, rows[:4], rows[4:], exp)
    said = capsys.readouterr().err
    assert "translates" not in said
    assert "asking" not in said
    assert again == told
    assert first.name == second.name
    assert same(first, second, [*told, *rows[4:]])


@pytest.mark.parametrize("change", ["teacher", "top_k", "temperature", "text", "translation"])
def test_another_question_is_asked_anew(
    rows: list[Utterance], teacher: str, exp: Path, tmp_path: Path, change: str
) -> None:
    config = DistilConfig(teacher=teacher, top_k=4)
    _, before = teach(config, TARGET, rows, [], exp)
    settings: dict[str, Any] = {
        "teacher": untrained(tmp_path / "other", seed=1), "top_k": 2, "temperature": 3.0
    }  # fmt: skip
    if change in settings:
        config = replace(config, **{change: settings[change]})
    else:
        rows = [*rows[:-1], replace(rows[-1], **{change: "fe"})]
    _, after = teach(config, TARGET, rows, [], exp)
    _, fresh = teach(config, TARGET, rows, [], tmp_path / "fresh")
    assert after.name == fresh.name != before.name
    assert same(after, fresh, rows)


def test_teacher_in_the_same_folder_trained_anew_is_asked_anew(
    rows: list[Utterance], teacher: str, exp: Path
) -> None:
    config = DistilConfig(teacher=teacher, level="both")
    told, before = teach(config, TARGET, rows, [], exp)
    untrained(Path(teacher), seed=1)
    told_anew, after = teach(config, TARGET, rows, [], exp)
    assert texts(told) != texts(told_anew)
    assert before.name != after.name


def test_rows_laid_end_to_end_are_taught_where_their_targets_stand(
    spoken_numbers: Path, rows: list[Utterance], teacher: str, exp: Path, tiny_model: CTCModel
) -> None:
    # Nothing is left of the first text, so that nothing stands between it and the second.
    rows = [replace(rows[0], translation="¡!"), *rows[1:]]
    _, teaching = teach(DistilConfig(teacher=teacher, top_k=4), TARGET, rows, [], exp)
    model = SpeechTranslator(tiny_model, TARGET, DECODER)
    task = TranslationTask(model, rows, rows[:1], TranslationConfig(), CtcConfig(), 1, teaching)
    batch = task.load(0, [(0, [0, 1, 2]), (1, [3, 4])])
    taught, wanted = batch.taught, batch.wanted.tolist()  # type: ignore[attr-defined]
    assert taught[0].shape == taught[1].shape == (*batch.wanted.shape, 4)  # type: ignore[attr-defined]
    alone = teaching.rows([[row] for row in rows])
    assert alone is not None
    for place, parts in enumerate(([1, 2], [3, 4])):
        first, second = (len(TARGET.encode(rows[part].translation)) for part in parts)
        assert wanted[place][first] == TARGET.between[0]
        assert taught[0][place, first].tolist() == TARGET.between * 4
        assert taught[1][place, first].tolist() == [1, 0, 0, 0]
        for ours, single in zip(taught, alone, strict=True):
            assert torch.equal(ours[place, :first], single[parts[0], :first])
            assert torch.equal(ours[place, first + 1 : first + second + 2], single[parts[1], : second + 1])


def test_the_teachers_translations_take_the_place_of_the_training_references(
    rows: list[Utterance], teacher: str, exp: Path
) -> None:
    train, dev = rows[:4], rows[4:]
    told, teaching = teach(DistilConfig(teacher=teacher, level="sequence"), TARGET, train, dev, exp)
    model = load_translator(teacher)
    assert isinstance(model, TextTranslator)
    found = translate_labels(model, [SOURCE.encode(row.text, "tone") for row in train], SEARCH)
    said = [TARGET.decode(best.labels) for best, *_ in found]
    # A translation without end is none, nor is an empty one, and leaves the reference.
    keep = [best.cut or not text for (best, *_), text in zip(found, said, strict=True)]
    assert texts(told) == [
        row.translation if kept else text for row, text, kept in zip(train, said, keep, strict=True)
    ]
    assert not all(keep)
    assert [replace(new, translation=row.translation) for new, row in zip(told, train, strict=True)] == train
    assert teaching.rows([[row] for row in told]) is None
    # Both: its shares are those at the places of its own translations.
    both, taught = teach(DistilConfig(teacher=teacher, level="both"), TARGET, train, dev, exp)
    assert both == told
    _, fresh = teach(DistilConfig(teacher=teacher), TARGET, told, dev, exp)
    assert same(taught, fresh, [*told, *dev])


def test_translations_go_on_where_they_were_interrupted(
    rows: list[Utterance],
    teacher: str,
    exp: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("st.distil.CHUNK", 2)
    config = DistilConfig(teacher=teacher, level="sequence")
    told, _ = teach(config, TARGET, rows, [], exp)
    whole = json.loads((exp / "teacher.json").read_text())
    (exp / "teacher.json").write_text(json.dumps(dict(list(whole.items())[:4])))
    capsys.readouterr()
    assert teach(config, TARGET, rows, [], exp)[0] == told
    assert "the teacher translates 2 transcripts\n" in capsys.readouterr().err
    assert json.loads((exp / "teacher.json").read_text()) == whole


def test_a_teacher_of_other_labels_can_teach_its_translations_alone(
    rows: list[Utterance], teacher: str, exp: Path
) -> None:
    others = character_tokenizer(["uno"], TextPolicy())
    with pytest.raises(InputError, match=r"must write the student's labels.*distil\.level=sequence"):
        teach(DistilConfig(teacher=teacher), others, rows, [], exp)
    teach(DistilConfig(teacher=teacher, level="sequence"), others, rows, [], exp)


@pytest.mark.parametrize(("name", "value"), [("top_k", 0), ("temperature", 0.0)])
def test_settings_without_a_meaning_are_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"distil\.{name} is {value}|distil\.top_k is 8"):
        DistilConfig(teacher="mt", **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "value"), [("level", "both"), ("top_k", 4), ("temperature", 2.0)])
def test_settings_of_no_teacher_are_refused(name: str, value: object) -> None:
    with pytest.raises(InputError, match=rf"distil\.{name} is {value}, and there is no distil\.teacher"):
        DistilConfig(**{name: value})  # type: ignore[arg-type]


def test_a_teacher_of_other_languages_or_letters_is_refused(
    rows: list[Utterance], teacher: str, exp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = DistilConfig(teacher=teacher)
    with pytest.raises(
        InputError, match=r"distil\.teacher .* the manifest's column `translation_language` says fr\."
    ):
        teach(config, TARGET, [replace(row, translation_language="fr") for row in rows], [], exp)
    letters = [replace(row, text="\N{CYRILLIC SMALL LETTER A}" + row.text) for row in rows]
    with pytest.raises(
        InputError, match=r"distil\.teacher .* has no label for \d+\.\d% of the training texts'"
    ):
        teach(config, TARGET, letters, [], exp)
    assert "no label writes 6 characters" in capsys.readouterr().err

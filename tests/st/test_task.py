"""What a batch of speech translation costs and teaches."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from asr.ctc import CtcConfig
from asr.manifest import Utterance, read_manifest
from asr.model import CTCModel
from asr.text import TextPolicy
from asr.tokenizer import character_tokenizer, piece_tokenizer
from lm.errors import InputError
from st.decoder import DecoderConfig
from st.dev import DevScores
from st.distil import Teaching
from st.loss import framed, smoothed_cross_entropy
from st.model import END, Memory, SpeechTranslator, TextTranslator
from st.mt import MtConfig, TextTranslationTask
from st.task import TranslationBatch, TranslationConfig, TranslationTask
from st.text_encoder import TextEncoderConfig

SMALL = DecoderConfig(width=16, layers=1, heads=2, inner=16)
TEXT = TextEncoderConfig(width=16, layers=1, heads=2, inner=16)


def made(
    recogniser: CTCModel,
    rows: Sequence[Utterance],
    config: TranslationConfig,
    batches: CtcConfig | None = None,
    teaching: Teaching | None = None,
) -> tuple[TranslationTask, TranslationBatch]:
    """An untrained translator's task, and one batch of all rows."""
    torch.manual_seed(0)
    tokenizer = character_tokenizer([row.translation for row in rows], TextPolicy())
    model = SpeechTranslator(recogniser, tokenizer, SMALL, target_ctc=True).eval()
    task = TranslationTask(model, rows, rows[:1], config, batches or CtcConfig(), seed=1, teaching=teaching)
    batch = task.load(0, [(place, [place]) for place in range(len(rows))])
    assert isinstance(batch, TranslationBatch)
    return task, batch


def gradients(
    recogniser: CTCModel, rows: Sequence[Utterance], config: TranslationConfig
) -> dict[str, Tensor]:
    """Of one batch of all rows, by parameter."""
    task, batch = made(recogniser, rows, config)
    task.model.zero_grad()
    task.step(task.model, batch, progress=0.5).loss.backward()
    return {name: each.grad for name, each in task.model.named_parameters() if each.grad is not None}


def test_the_loss_is_the_sum_of_its_parts_by_their_weights(
    spoken_numbers: Path, tiny_model: CTCModel
) -> None:
    rows = [replace(row, translation=row.text) for row in read_manifest(spoken_numbers)[:3]]
    tokenizer = character_tokenizer([row.translation for row in rows], TextPolicy())
    sizes = {row.id: len(tokenizer.encode(row.translation)) + 1 for row in rows}
    labels = {name: np.tile([1, 2], (size, 1)) for name, size in sizes.items()}
    shares = {name: np.tile(np.float32([0.7, 0.3]), (size, 1)) for name, size in sizes.items()}
    teaching = Teaching("teacher", 0.2, 1.0, (), labels, shares)
    config = TranslationConfig(source_ctc_weight=0.3, target_ctc_weight=0.4)
    task, batch = made(tiny_model, rows, config, teaching=teaching)
    out = task.step(task.model, batch, progress=0.5)
    parts = out.logs
    assert all(parts[name] > 0 for name in ("translation", "distillation", "ctc", "target_ctc"))
    assert float(out.loss.detach()) == pytest.approx(
        0.8 * parts["translation"]
        + 0.2 * parts["distillation"]
        + 0.3 * parts["ctc"]
        + 0.4 * parts["target_ctc"],
        rel=1e-5,
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.4])
def test_the_labels_of_a_translation_are_smoothed_as_asked(
    spoken_numbers: Path, tiny_model: CTCModel, smoothing: float
) -> None:
    rows = read_manifest(spoken_numbers)[:2]
    task, batch = made(tiny_model, rows, TranslationConfig(label_smoothing=smoothing))
    logits, _ = task.translator(batch.waveforms, batch.num_samples, batch.read)
    losses = smoothed_cross_entropy(logits, batch.wanted, batch.num_wanted, smoothing)
    wanted = float((losses.sum() / batch.num_wanted.sum()).detach())
    found = task.step(task.model, batch, progress=0.5).logs["translation"]
    assert found == pytest.approx(wanted, rel=1e-5)


def test_ctc_of_the_translation_is_of_its_own_labels(spoken_numbers: Path, tiny_model: CTCModel) -> None:
    # Translations no longer than the transcripts, for which there are frames enough.
    rows = [replace(row, translation=row.text) for row in read_manifest(spoken_numbers)[:2]]
    task, batch = made(tiny_model, rows, TranslationConfig(target_ctc_weight=0.4))
    texts = [task.translator.tokenizer.encode(row.translation) for row in rows]
    _, memory = task.translator(batch.waveforms, batch.num_samples, batch.read)
    emissions = memory.target_emissions
    labels = torch.tensor([label for text in texts for label in text])
    losses = torch.nn.functional.ctc_loss(
        emissions.values.transpose(0, 1), labels, emissions.num_frames,
        torch.tensor([len(text) for text in texts]), blank=END, reduction="sum",
    )  # fmt: skip
    wanted = float(losses.detach()) / len(labels)
    found = task.step(task.model, batch, progress=0.5).logs["target_ctc"]
    assert found == pytest.approx(wanted, rel=1e-4)


def test_masks_wait_in_translation_too(spoken_numbers: Path, tiny_model: CTCModel) -> None:
    rows = read_manifest(spoken_numbers)[:1]
    task, batch = made(tiny_model, rows, TranslationConfig(), CtcConfig(mask_start=0.4))
    found = []
    for progress in (0.1, 0.6, 0.9):
        task.step(task.model, batch, progress)
        found.append(tiny_model.encoder.mask_scale)
    assert found == pytest.approx([0, 0.5, 1])


def test_a_student_is_taught_at_the_temperature_of_its_teacher(
    spoken_numbers: Path, tiny_model: CTCModel
) -> None:
    rows = read_manifest(spoken_numbers, split="train")[:2]
    tokenizer = character_tokenizer([row.translation for row in rows], TextPolicy())
    torch.manual_seed(0)
    model = SpeechTranslator(tiny_model, tokenizer, SMALL).eval()
    sizes = [len(tokenizer.encode(row.translation)) + 1 for row in rows]
    labels = {row.id: np.tile([1, 2], (size, 1)) for row, size in zip(rows, sizes, strict=True)}
    shares = {
        row.id: np.tile(np.float32([0.75, 0.25]), (size, 1)) for row, size in zip(rows, sizes, strict=True)
    }
    found = {}
    for temperature in (1.0, 4.0):
        teaching = Teaching("teacher", 1.0, temperature, (), labels, shares)
        task = TranslationTask(
            model, rows, rows[:1], TranslationConfig(), CtcConfig(), seed=1, teaching=teaching
        )
        batch = task.load(0, [(0, [0]), (1, [1])])
        found[temperature] = task.step(model, batch, progress=0.5).logs["distillation"]
        logits, _ = model(batch.waveforms, batch.num_samples, batch.read)
        said = (logits / temperature).log_softmax(-1)
        real = torch.arange(said.shape[1]) < batch.num_wanted[:, None]
        wanted = -(0.75 * said[..., 1] + 0.25 * said[..., 2])[real].mean()
        assert found[temperature] == pytest.approx(float(wanted.detach()), rel=1e-4)
    assert found[1.0] != found[4.0]


def test_a_row_that_lacks_a_transcript_in_part_has_none_for_ctc(
    spoken_numbers: Path, tiny_model: CTCModel
) -> None:
    rows = [
        replace(row, text="" if number % 2 else row.text)
        for number, row in enumerate(read_manifest(spoken_numbers, split="train"))
    ]
    texts = {row.id: row.text for row in rows}
    tokenizer = character_tokenizer([row.translation for row in rows], TextPolicy())
    model = SpeechTranslator(tiny_model, tokenizer, SMALL)
    task = TranslationTask(
        model, rows, rows[:1], TranslationConfig(), CtcConfig(join_probability=1.0), seed=1
    )
    seen = {"whole": 0, "in part": 0, "none": 0}
    labels = tiny_model.tokenizer
    for item in task.plan(1):
        batch = task.load(1, item)
        for name, row, size in zip(batch.ids, batch.labels.tolist(), batch.num_labels.tolist(), strict=True):
            parts = [texts[each] for each in name.split("+")]
            seen["whole" if all(parts) else "in part" if any(parts) else "none"] += 1
            assert row[:size] == (labels.encode(" ".join(parts)) if all(parts) else [])
    assert all(seen.values()), seen


@pytest.mark.parametrize("speech", [True, False])
def test_other_texts_under_the_same_ids_are_another_training(
    spoken_numbers: Path, tiny_model: CTCModel, speech: bool
) -> None:
    row, *dev = read_manifest(spoken_numbers)[:2]
    labels = tiny_model.tokenizer

    def said(row: Utterance) -> dict[str, Any]:
        if not speech:
            text = TextTranslator(labels, labels, TEXT, SMALL)
            return TextTranslationTask(text, [row], dev, MtConfig(), seed=1).fingerprint()
        model = SpeechTranslator(tiny_model, labels, SMALL)
        return TranslationTask(model, [row], dev, TranslationConfig(), CtcConfig(), seed=1).fingerprint()

    assert said(row) == said(replace(row, speaker="y"))
    assert said(row) == json.loads(json.dumps(said(row)))  # as it comes back from a checkpoint
    others = [{"translation": "ba"}] if speech else [{"translation": "ba"}, {"text": "ba"}, {"language": "y"}]
    for change in others:
        found = said(replace(row, **change))  # type: ignore[arg-type]
        assert {name for name, value in said(row).items() if found[name] != value} == {
            "translations" if speech else "texts"
        }


def test_other_pieces_of_the_same_translation_are_drawn_in_every_epoch(tiny_model: CTCModel) -> None:
    texts = ["banana nab", "nab a banana", "a banana"] * 3
    pieces = piece_tokenizer(texts, TextPolicy(), num_pieces=10)
    rows = [
        Utterance(id=str(place), audio=Path("u.wav"), duration_s=1.0, text="ab", translation=text)
        for place, text in enumerate(texts)
    ]

    def drawn(num_best: int, epoch: int, item: list[int]) -> list[list[int]]:
        model = TextTranslator(tiny_model.tokenizer, pieces, TEXT, SMALL)
        task = TextTranslationTask(model, rows, rows, MtConfig(subword_nbest=num_best), seed=1)
        batch = task.load(epoch, item)
        sizes = (batch.num_wanted - 1).tolist()
        return [row[:size] for row, size in zip(batch.wanted.tolist(), sizes, strict=True)]

    one, two = (drawn(16, epoch, [0, 1, 2]) for epoch in (0, 1))
    assert one != two
    assert one == drawn(16, 0, [0, 1, 2])  # a resumed training draws the same
    assert one[::-1] == drawn(16, 0, [2, 1, 0])  # whatever else is in the batch
    assert [pieces.decode(labels) for labels in one + two] == texts[:3] * 2
    assert drawn(1, 0, [0, 1, 2]) == [pieces.encode(text) for text in texts[:3]]


def test_the_translations_of_dev_do_not_depend_on_the_batches(tiny_model: CTCModel) -> None:
    labels = tiny_model.tokenizer
    model = TextTranslator(labels, labels, TEXT, SMALL).eval()
    with torch.no_grad():  # it never ends a text
        model.decoder.norm.weight.zero_()
        model.decoder.norm.bias.fill_(1.0)
        model.decoder.embedding.labels.weight.zero_()[3] = 1.0
    dev = [
        Utterance(id=text, audio=Path("u.wav"), duration_s=1.0, translation=text)
        for text in ("ab", "abcdefabcdef")
    ]
    found = []
    for batches in ([dev], [dev[:1], dev[1:]]):
        scores = DevScores(model, dev)
        for rows in batches:
            framing = framed([labels.encode(row.translation) for row in rows])
            memory = Memory(torch.zeros(len(rows), 2, 16), torch.full((len(rows),), 2))
            scores.add([row.id for row in rows], memory, *framing)
        found.append(scores.found)
    assert found[0] == found[1]
    assert {len(text) for text in found[0].values()} == {2 * 13}


def test_the_loss_on_dev_is_not_smoothed(tiny_model: CTCModel) -> None:
    labels = tiny_model.tokenizer
    torch.manual_seed(0)
    model = TextTranslator(labels, labels, TEXT, SMALL).eval()
    scores = DevScores(model, [Utterance(id="u", audio=Path("u.wav"), duration_s=1.0, translation="ab c")])
    read, wanted, num_wanted = framed([labels.encode("ab c")])
    with torch.inference_mode():
        memory = model.memory(torch.tensor([[1, 2]]), torch.tensor([2]))
        scores.add(["u"], memory, read, wanted, num_wanted)
        logits = model.decoder(read, memory.states, memory.num_frames)
    expected = torch.nn.functional.cross_entropy(logits[0], wanted[0])
    assert scores.losses.per_label() == pytest.approx(float(expected), rel=1e-5)


def test_a_dev_reference_in_nfd_is_the_same_text(tiny_model: CTCModel) -> None:
    texts = ["La fille est arrivée à l'école très tôt", "Où est passé le garçon blessé"]
    dev = [
        Utterance(
            id=text, audio=Path("u.wav"), duration_s=1.0, translation=unicodedata.normalize("NFD", text)
        )
        for text in texts
    ]
    scores = DevScores(TextTranslator(tiny_model.tokenizer, tiny_model.tokenizer, TEXT, SMALL), dev)
    scores.found = {text: text for text in texts}
    row = scores.row()
    assert [row["bleu"], row["chrf"], row["score"]] == pytest.approx([100, 100, 0])


def test_while_nothing_is_right_the_loss_says_which_model_is_better(tiny_model: CTCModel) -> None:
    dev = [Utterance(id="u", audio=Path("u.wav"), duration_s=1.0, translation="ab")]
    model = TextTranslator(tiny_model.tokenizer, tiny_model.tokenizer, TEXT, SMALL)
    found = {}
    for said, loss in (("ab", 9.0), ("", 3.0), ("", 2.0)):
        scores = DevScores(model, dev)
        scores.losses.add(["u"], [loss], [1])
        scores.found = {"u": said}
        found[said, loss] = scores.row()["score"]
    assert 0 <= found["ab", 9.0] < 1 < found["", 2.0] < found["", 3.0]


@pytest.mark.parametrize("name", ["source_ctc_weight", "target_ctc_weight"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_weights_that_are_no_weights_are_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"st\.{name} is {value}\. Give a number from 0"):
        TranslationConfig(**{name: value})


def test_a_transcript_too_long_for_its_recording_teaches_no_more_than_none(
    spoken_numbers: Path, tiny_model: CTCModel
) -> None:
    first, second = read_manifest(spoken_numbers)[:2]
    config = TranslationConfig(source_ctc_weight=0.3, target_ctc_weight=0.2)
    without = gradients(tiny_model, [first, replace(second, text="")], config)
    too_long = gradients(tiny_model, [first, replace(second, text="abc " * 100)], config)
    assert too_long.keys() == without.keys()
    for name, gradient in too_long.items():
        assert bool(torch.isfinite(gradient).all()), name
        torch.testing.assert_close(gradient, without[name])
    assert bool(without["recogniser.head.weight"].any())

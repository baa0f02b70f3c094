"""A recogniser beside a text encoder: what is kept as it is, and what may be compared afterwards."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from asr.ctc import CtcConfig
from asr.fingerprint import differences
from asr.manifest import read_manifest
from asr.model import CTCModel, pack_model, save_model
from lm.errors import InputError
from st.decoder import DecoderConfig
from st.model import SpeechTranslator, TextTranslator, copy_decoder, save_translator
from st.siamese import (
    SiameseConfig,
    SiameseModel,
    SiameseTask,
    load_siamese,
    look_through_bridge,
    trained_bridge,
)
from st.text_encoder import TextEncoderConfig

LABELS = torch.tensor([[1, 2, 3, 4]]), torch.tensor([4])


def text_translator(recogniser: CTCModel, folder: Path, width: int) -> str:
    """An untrained one that reads the recogniser's labels, in a folder."""
    torch.manual_seed(7)
    target = recogniser.tokenizer
    model = TextTranslator(
        target, target, TextEncoderConfig(width=width, layers=1, heads=2, inner=16),
        DecoderConfig(width=16, layers=1, heads=2, inner=16),
    )  # fmt: skip
    save_translator(model, folder)
    return str(folder)


def pre_trained(recogniser: CTCModel, folder: Path, **settings: Any) -> SiameseModel:
    """What a training of these settings would save without an update, in a folder."""
    torch.manual_seed(8)
    config = SiameseConfig(text=TextEncoderConfig(width=24, layers=1, heads=2, inner=16), **settings)
    task = SiameseTask.__new__(SiameseTask)
    task.siamese = config
    model = SiameseModel(recogniser, config)
    task.save(model, folder, {})
    return model


def test_a_text_encoder_is_the_same_wherever_it_lies(
    tiny_model: CTCModel, tone_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = text_translator(tiny_model, tmp_path / "mt", 24)
    rows = read_manifest(tone_corpus)[-2:]

    def said(text_from: str) -> dict[str, Any]:
        config = SiameseConfig(text_from=text_from)
        found = SiameseTask(tiny_model, rows, rows, CtcConfig(), 1, config).fingerprint()
        siamese: dict[str, Any] = found["siamese"]
        return siamese

    monkeypatch.chdir(tmp_path)
    assert said("mt") == said(source)
    # An earlier version wrote the path.
    assert not differences({**said("mt"), "text_from": "mt"}, said(source))
    other = text_translator(tiny_model, tmp_path / "other", 16)
    assert any(name.startswith("text_from") for name in differences(said("mt"), said(other)))


def test_a_control_never_has_an_utterance_beside_its_own_text(
    tiny_model: CTCModel, tone_corpus: Path
) -> None:
    rows = read_manifest(tone_corpus)[-2:]
    config = SiameseConfig(text=TextEncoderConfig(width=24, layers=1, heads=2, inner=16), shuffled=True)
    task = SiameseTask(tiny_model, rows, rows, CtcConfig(), 1, config)
    task.model.eval()
    batch = task.load(0, [(0, [0]), (1, [1])])
    distances = []
    for places in ([0], [0, 0], [0, 1]):  # alone; beside one of the same text; beside another
        given = (
            each[places] for each in (batch.waveforms, batch.num_samples, batch.labels, batch.num_labels)
        )
        with torch.inference_mode():
            distances.append(float(task._forward(task.model, *given, ())[1]))  # type: ignore[arg-type]
    assert distances[:2] == [0.0, 0.0]
    assert distances[2] > 0


def test_the_distance_of_speech_and_text_counts_by_its_weight(
    tiny_model: CTCModel, tone_corpus: Path
) -> None:
    rows = read_manifest(tone_corpus)[:3]
    found = {}
    for weight in (1.0, 3.0):
        torch.manual_seed(0)
        config = SiameseConfig(text=TextEncoderConfig(width=24, layers=1, heads=2, inner=16), weight=weight)
        task = SiameseTask(tiny_model, rows, rows, CtcConfig(inter_weight=0.0), 1, config)
        task.model.eval()
        out = task.step(task.model, task.load(0, [(0, [0]), (1, [1]), (2, [2])]), progress=0.5)
        found[weight] = out.logs["objective"]
        assert float(out.loss.detach()) == pytest.approx(out.logs["ctc"] + found[weight], rel=1e-5)
    assert found[1.0] > 0
    assert found[3.0] == pytest.approx(3 * found[1.0], rel=1e-5)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_text_encoder_says_the_same_of_a_text_every_time(
    tiny_model: CTCModel, tmp_path: Path, frozen: bool
) -> None:
    source = text_translator(tiny_model, tmp_path / "mt", tiny_model.encoder.width)
    model = SiameseModel(tiny_model, SiameseConfig(text_from=source, freeze_text=frozen)).train()
    assert model.recogniser.training
    first, second = model.texts(*LABELS)[0], model.texts(*LABELS)[0]
    assert torch.equal(first, second) is frozen
    assert any(each.requires_grad for each in model.text.parameters()) is not frozen


def test_the_states_that_were_brought_together_are_compared(tiny_model: CTCModel, tmp_path: Path) -> None:
    trained = pre_trained(tiny_model, tmp_path / "ot", layer=1)
    other = text_translator(tiny_model, tmp_path / "mt", 24)
    for text_from in ("", other):
        model = load_siamese(tmp_path / "ot", text_from)
        assert model.layer == 1
        assert torch.equal(model.bridge.weight, trained.bridge.weight)  # type: ignore[arg-type]
    assert not torch.equal(
        load_siamese(tmp_path / "ot", other).texts(*LABELS)[0], trained.eval().texts(*LABELS)[0]
    )
    assert torch.equal(load_siamese(tmp_path / "ot").texts(*LABELS)[0], trained.texts(*LABELS)[0])


def test_states_that_nothing_trained_brings_to_one_width_are_not_compared(
    tiny_model: CTCModel, tmp_path: Path
) -> None:
    save_model(tiny_model, tmp_path / "ctc")
    pre_trained(tiny_model, tmp_path / "ot")
    pre_trained(tiny_model, tmp_path / "alone", weight=0.0)
    fits = text_translator(tiny_model, tmp_path / "fits", tiny_model.encoder.width)
    other = text_translator(tiny_model, tmp_path / "other", 48)
    for model, source in (
        ("ctc", other),
        ("ot", other),
        ("alone", text_translator(tiny_model, tmp_path / "as", 24)),
    ):
        with pytest.raises(InputError, match="nothing was trained that compares the two"):
            load_siamese(tmp_path / model, source)
    for model in ("ctc", "ot", "alone"):
        assert isinstance(load_siamese(tmp_path / model, fits).bridge, torch.nn.Identity)
    # Nor does a decoder look through what is as it was made.
    pre_trained(tiny_model, tmp_path / "unused", weight=0.0, text_from=other)
    assert trained_bridge(tmp_path / "unused", 2) is None


@pytest.mark.parametrize(("layer", "is_last"), [(0, True), (1, False), (2, True)])
def test_a_bridge_from_a_layer_before_the_last_is_not_put_behind_it(
    tiny_model: CTCModel, tmp_path: Path, capsys: pytest.CaptureFixture[str], layer: int, is_last: bool
) -> None:
    pre_trained(tiny_model, tmp_path / "ot", layer=layer)
    assert (trained_bridge(tmp_path / "ot", 2) is not None) is is_last
    assert ("begins at layer 1 of 2" in capsys.readouterr().err) is not is_last


@pytest.mark.parametrize(
    ("widths", "adaptor_layers", "says"),
    [
        ((24, 24), 0, "with the bridge of the recogniser's pre-training"),
        ((24, 24), 1, "without the bridge of the recogniser's pre-training: .* adaptor_layers=1 shortens"),
        ((16, 16), 0, "without .*: it ends at width 24, and the decoder looks at 16"),
        ((24, 16), 0, "without .*: it ends at width 24, and the decoder's own begins at 24"),
    ],
)
def test_a_bridge_that_a_decoder_cannot_use_is_named(
    tiny_model: CTCModel, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    widths: tuple[int, int], adaptor_layers: int, says: str,
) -> None:  # fmt: skip
    trained = pre_trained(tiny_model, tmp_path / "ot")
    text, config = (kind(width=width, layers=1, heads=2, inner=16) for kind, width in zip(
        (TextEncoderConfig, DecoderConfig), widths, strict=True
    ))  # fmt: skip
    target = tiny_model.tokenizer
    other = TextTranslator(target, target, text, config)
    model = SpeechTranslator(tiny_model, target, config, adaptor_layers=adaptor_layers)
    copy_decoder(model, other, "mt")
    look_through_bridge(model, other, tmp_path / "ot")
    assert re.fullmatch(f"decoder: begins {says}\n", capsys.readouterr().err)
    assert isinstance(model.decoder.bridge, torch.nn.Linear)
    assert isinstance(trained.bridge, torch.nn.Linear)
    if widths == (24, 24):
        same = torch.equal(model.decoder.bridge.weight, trained.bridge.weight)
        assert same is (adaptor_layers == 0)


def test_a_text_encoder_that_nothing_trained_is_not_compared_with(
    tiny_model: CTCModel, tmp_path: Path
) -> None:
    pre_trained(tiny_model, tmp_path / "alone", weight=0.0)
    with pytest.raises(InputError, match=r"siamese\.weight=0, .* Give --text-from"):
        load_siamese(tmp_path / "alone")
    # CTC alone, beside a text translator's encoder, which it keeps as it was.
    source = text_translator(tiny_model, tmp_path / "mt", tiny_model.encoder.width)
    pre_trained(tiny_model, tmp_path / "beside", weight=0.0, text_from=source)
    own, given = load_siamese(tmp_path / "beside"), load_siamese(tmp_path / "beside", source)
    assert torch.equal(own.texts(*LABELS)[0], given.texts(*LABELS)[0])
    pack_model(tmp_path / "beside", tmp_path / "packed")
    assert isinstance(load_siamese(tmp_path / "packed", source).bridge, torch.nn.Identity)
    with pytest.raises(InputError, match=r"a copy without the text encoder .* or --text-from"):
        load_siamese(tmp_path / "packed")

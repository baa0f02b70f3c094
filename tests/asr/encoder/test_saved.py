"""Encoders out of folders of ours, whatever else these hold."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from asr.card import write_card
from asr.cli import main
from asr.encoder import build_encoder
from asr.encoder.export import export_transformers
from asr.encoder.saved import save_encoder
from asr.segment.classifier import PACKAGED, load_classifier
from lm.errors import InputError
from tests.asr.encoder.tiny import tiny_encoder


def test_the_encoder_of_a_segmenter_without_its_classifier() -> None:
    theirs = load_classifier(PACKAGED).encoder.state_dict()
    own = build_encoder({"kind": "saved", "source": str(PACKAGED)}).state_dict()
    assert own.keys() == theirs.keys()
    assert all(torch.equal(own[name], value) for name, value in theirs.items())


def test_a_setting_that_does_not_fit_the_weights_is_named(tmp_path: Path) -> None:
    source = {"kind": "saved", "source": str(PACKAGED), "dropout": 0.2, "num_layers": 1}
    with pytest.raises(
        InputError, match=r"would be absent\. Leave out the settings of size among dropout, num_layers: they"
    ):
        build_encoder(source)
    encoder = tiny_encoder("wav2vec2 base")
    save_encoder(encoder, tmp_path / "ours", facts={}, objective={})
    export_transformers(encoder, None, tmp_path / "published")
    for kind, folder, remedy in (
        ("saved", "ours", "Leave out the settings of size among layerdrop, {}: they"),
        (
            "pretrained",
            "published",
            r"Leave out of `config` what changes the size \(it sets layerdrop, {}\)\. Else: Use the",
        ),
    ):
        for name, value in (("num_hidden_layers", 1), ("hidden_size", 64)):
            config = {"layerdrop": 0.1, name: value}
            with pytest.raises(InputError, match=remedy.format(name)) as caught:
                build_encoder({"kind": kind, "source": str(tmp_path / folder), "config": config})
            assert ("set encoder.layers instead" in str(caught.value)) == (name == "num_hidden_layers")


def test_the_lower_layers_alone(tmp_path: Path) -> None:
    encoder = tiny_encoder("wav2vec2 large")
    save_encoder(encoder, tmp_path / "saved", facts={}, objective={})
    export_transformers(encoder, None, tmp_path / "pretrained")
    speech, length = 0.1 * torch.randn(1, 16000), torch.tensor([16000])
    wanted = encoder(speech, length, (1,)).layers[1]
    for kind in ("saved", "pretrained"):
        source = {"kind": kind, "source": str(tmp_path / kind)}
        lower = build_encoder({**source, "layers": 1}).eval()
        assert (encoder.num_layers, lower.num_layers, len(lower.blocks())) == (2, 1, 1)
        torch.testing.assert_close(lower(speech, length, (1,)).layers[1], wanted)
        # What is saved of it is whole by itself.
        save_encoder(lower, tmp_path / "lower", facts={}, objective={})
        again = build_encoder({"kind": "saved", "source": str(tmp_path / "lower")})
        assert all(torch.equal(again.state_dict()[name], value) for name, value in lower.state_dict().items())
        for count in (0, encoder.num_layers + 1, "1", 1.0, True, None):
            with pytest.raises(InputError, match=r"encoder\.layers: this encoder has . layers; got"):
                build_encoder({**source, "layers": count})


def test_a_text_translator_has_no_speech_encoder(
    tmp_path: Path, tone_corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "exp" / "model"
    folder.mkdir(parents=True)
    write_card(folder, (), holds="text translator", encoder={"width": 32})
    with pytest.raises(InputError, match=r"exp holds a text translator, which has no .* Give the folder of"):
        build_encoder({"kind": "saved", "source": str(tmp_path / "exp")})
    out = str(tmp_path / "out")
    for words in (
        ["convert", str(folder), out, "--to", "transformers"],
        ["inspect", str(folder), str(tone_corpus), "--out", out, "--no-plots"],
    ):
        assert main(words) == 1
        assert "holds a text translator" in capsys.readouterr().err
    assert not Path(out).exists()

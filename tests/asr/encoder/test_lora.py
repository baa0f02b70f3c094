"""Low-rank adapters: few parameters learn, and what is saved is a plain encoder that says the same."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from asr.config import from_mapping
from asr.encoder import build_encoder
from asr.encoder.lora import LoraSettings, add_adapters, plain_state
from asr.manifest import read_manifest
from asr.model import CTCModel, load_model, save_model
from asr.recogniser import build_recogniser
from asr.text import TextPolicy
from asr.tokenizer import character_tokenizer
from lm.errors import InputError
from recipes.finetune_ctc import finetune
from tests.conftest import configure

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
KINDS = {
    "conformer": {"kind": "conformer", "width": 32, "num_layers": 2, "num_heads": 2, "stem_channels": 8},
    "wav2vec2": {
        "kind": "wav2vec2",
        "config": {**SMALL, "conv_dim": [16] * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2},
    },
    "wav2vec2-bert": {"kind": "wav2vec2-bert", "config": SMALL},
    "wavlm": {
        "kind": "wavlm",
        "config": {**SMALL, "conv_dim": [16] * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2},
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_learn_and_are_saved_as_part_of_the_encoder(tmp_path: Path, kind: str) -> None:
    torch.manual_seed(0)
    model = CTCModel(build_encoder(KINDS[kind]), character_tokenizer(["abc "], TextPolicy()), dropout=0.0)
    add_adapters(model.encoder, LoraSettings(rank=4, dropout=0.0))
    learning = {name for name, value in model.encoder.named_parameters() if value.requires_grad}
    assert learning
    assert all(".lora_" in name for name in learning)
    noise = [torch.randn(16_000).numpy()]
    before = model.eval().emissions(noise)[0]
    for name, value in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value)  # they begin at zero
    said = model.emissions(noise)[0]
    assert abs(said - before).max() > 0.01
    save_model(model, tmp_path / "model")
    assert torch.allclose(
        torch.from_numpy(load_model(tmp_path / "model").emissions(noise)[0]),
        torch.from_numpy(said),
        atol=1e-4,
    )
    assert any("lora_B" in name for name, _ in model.named_parameters()), (
        "the model in training keeps its own"
    )


def test_a_model_without_adapters_is_saved_as_it_is(tiny_model: CTCModel) -> None:
    assert all(
        torch.equal(value, plain_state(tiny_model)[name]) for name, value in tiny_model.state_dict().items()
    )


def test_fine_tuning_with_adapters_resumes(tmp_path: Path, tone_corpus: Path) -> None:
    config = configure(tmp_path, tone_corpus, "lora.rank=2", "trainer.updates=4", "trainer.evaluate_every=2")
    finetune(config)
    finetune(replace(config, trainer=replace(config.trainer, updates=6)))
    assert not any("lora" in name for name, _ in load_model(tmp_path / "exp" / "model").named_parameters())
    with pytest.raises(InputError, match=r"training with other settings: lora\.rank: 2 -> 0, weights"):
        finetune(replace(config, lora=LoraSettings()))


@pytest.mark.parametrize("narrowband", [False, True])
def test_what_narrowband_has_changed_learns_beside_the_adapters(narrowband: bool) -> None:
    encoder = build_encoder({**KINDS["wav2vec2"], "narrowband": narrowband})
    encoder.freeze_features()
    add_adapters(encoder, LoraSettings(rank=2))
    learning = {
        name.rpartition(".conv_layers.")[2][:1]
        for name, value in encoder.named_parameters()
        if value.requires_grad and ".lora_" not in name
    }
    assert learning == ({"0", "1"} if narrowband else set())


def test_adapters_beside_random_weights_are_told(
    tmp_path: Path, tone_corpus: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = read_manifest(tone_corpus)
    for changes, told in (((), True), ((f"recogniser={trained}",), False)):
        build_recogniser(configure(tmp_path, tone_corpus, "lora.rank=2", *changes), rows, rows)
        assert ("lora.rank: this encoder is new" in capsys.readouterr().err) is told


@pytest.mark.parametrize(
    ("name", "value"), [("alpha", 0), ("alpha", -8), ("dropout", 1.5), ("dropout", 1.0), ("dropout", -0.1)]
)
def test_settings_out_of_bounds_are_named(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"lora.{name} is {value}. Give a"):
        from_mapping(LoraSettings, {name: value})


def test_mistakes_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = build_encoder(KINDS["conformer"])
    with pytest.raises(InputError, match=r"has no such layer. Choose of .*query_key_value"):
        add_adapters(encoder, LoraSettings(rank=2, targets=("nothing",)))
    with pytest.raises(InputError, match=r"computes its attention past these layers.*intermediate_dense"):
        add_adapters(build_encoder(KINDS["wavlm"]), LoraSettings(rank=2, targets=("q_proj", "output_dense")))
    with pytest.raises(InputError, match=r"lora.rank is -1"):
        LoraSettings(rank=-1)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(InputError, match=r"pip install 'loquela\[lora\]'"):
        add_adapters(encoder, LoraSettings(rank=2))

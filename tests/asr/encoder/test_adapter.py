"""Adapters of one language: they alone learn, begin as nothing, and transformers reads what they have learned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from asr.cli import main
from asr.encoder import build_encoder
from asr.encoder.adapter import learn_adapters_alone
from asr.manifest import read_manifest
from asr.model import load_model
from asr.recogniser import build_recogniser
from lm.errors import InputError
from recipes.finetune_ctc import finetune
from tests.conftest import configure

SMALL: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48, "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2, "do_stable_layer_norm": True,
    "feat_extract_norm": "layer", "mask_time_length": 2,
}  # fmt: skip
NOISE = torch.randn(1, 16_000, generator=torch.Generator().manual_seed(0)), torch.tensor([16_000])


@pytest.fixture(scope="module")
def mms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As MMS is published: adapters of one language inside, of another beside, a vocabulary for each."""
    folder = tmp_path_factory.mktemp("mms")
    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(**SMALL, adapter_attn_dim=4, vocab_size=8)
    model = transformers.Wav2Vec2ForCTC(config)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text('{"do_normalize": true, "sampling_rate": 16000}')
    other = {name: torch.randn_like(value) for name, value in model._get_adapters().items()}
    save_file(other, folder / "adapter.mri.safetensors", {"format": "pt"})
    labels = {
        label: number for number, label in enumerate(["<pad>", "<s>", "</s>", "<unk>", "|", "a", "b", "c"])
    }
    (folder / "vocab.json").write_text(json.dumps({"eng": labels, "mri": labels}))
    return folder


def adapters_of(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in state.items() if ".adapter_layer." in name}


def test_new_adapters_change_nothing_and_alone_learn() -> None:
    torch.manual_seed(1)
    encoder = build_encoder({"kind": "wav2vec2", "config": SMALL}).eval()
    before = encoder(*NOISE).hidden
    learn_adapters_alone(encoder, 4, anew=False)
    assert torch.equal(encoder(*NOISE).hidden, before)
    learning = [name for name, value in encoder.named_parameters() if value.requires_grad]
    assert len(learning) == 2 * 6
    assert all(".adapter_layer." in name for name in learning)
    for name, value in encoder.named_parameters():
        if "linear_2.weight" in name:
            torch.nn.init.normal_(value)
    changed = encoder(*NOISE).hidden
    assert (changed - before).abs().max() > 0.1
    again = build_encoder(encoder.config()).eval()
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(again(*NOISE).hidden, changed)


def test_a_new_language_learns_adapters_and_output_layer(
    tmp_path: Path, tone_corpus: Path, mms: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = f"encoder={{kind: pretrained, source: {mms}}}"
    changes = ("adapter_width=4", "trainer.updates=4", "trainer.evaluate_every=2", "ctc.inter_weight=0")
    finetune(configure(tmp_path, tone_corpus, source, *changes))
    assert "0.0 M learn" in capsys.readouterr().err
    published = load_file(mms / "model.safetensors")
    model = load_model(tmp_path / "exp" / "model")
    learned = {f"wav2vec2.{name}": value for name, value in model.encoder.model.state_dict().items()}
    assert adapters_of(learned).keys() == adapters_of(published).keys()
    for name, value in learned.items():
        assert torch.equal(value, published[name]) == (".adapter_layer." not in name), name
    # As transformers reads it.
    assert main(["convert", str(tmp_path / "exp"), str(tmp_path / "theirs"), "--to", "transformers"]) == 0
    theirs = transformers.Wav2Vec2ForCTC.from_pretrained(tmp_path / "theirs").eval()
    normed = (NOISE[0] - NOISE[0].mean()) / (NOISE[0].var(correction=0) + 1e-7).sqrt()
    with torch.inference_mode():
        mine = model.eval()(*NOISE).values
        assert torch.allclose(theirs(normed).logits.log_softmax(-1), mine, atol=1e-4)
    # Gone on with, it keeps what it has learned.
    on = configure(tmp_path, tone_corpus, f"recogniser={tmp_path / 'exp'}", "adapter_width=4")
    rows = read_manifest(tone_corpus)
    kept = build_recogniser(on, rows, rows).encoder.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in model.encoder.state_dict().items())


def test_adapters_begin_anew_unless_a_language_is_named(tmp_path: Path, tone_corpus: Path, mms: Path) -> None:
    rows = read_manifest(tone_corpus)
    found = {}
    for language in ("", "mri"):
        source = f"encoder={{kind: pretrained, source: {mms}, language: '{language}'}}"
        config = configure(tmp_path, tone_corpus, source, "adapter_width=4", "ctc.inter_weight=0")
        found[language] = adapters_of(build_recogniser(config, rows, rows).encoder.state_dict())
    beside = load_file(mms / "adapter.mri.safetensors")
    assert all(
        torch.equal(value, beside[f"wav2vec2.{name.removeprefix('model.')}"])
        for name, value in found["mri"].items()
    )
    assert all(not value.any() for name, value in found[""].items() if ".linear_2." in name)


def test_mistakes_are_named(tmp_path: Path, tone_corpus: Path, mms: Path) -> None:
    rows = read_manifest(tone_corpus)
    post_norm = {**SMALL, "do_stable_layer_norm": False, "feat_extract_norm": "group"}
    for encoder in (
        {"kind": "conformer", "width": 32, "num_layers": 2, "num_heads": 2, "stem_channels": 8},
        {"kind": "wav2vec2", "config": post_norm},
        {"kind": "wavlm", "config": SMALL},
        {"kind": "hubert", "config": SMALL},
    ):  # fmt: skip
        with pytest.raises(InputError, match=r"has no place for adapters.*lora\.rank"):
            learn_adapters_alone(build_encoder(encoder), 4, anew=False)
    source = f"encoder={{kind: pretrained, source: {mms}}}"
    with pytest.raises(
        InputError, match=r"adapter_width is 16, and the encoder's adapters are 4 wide\. Give 4"
    ):
        build_recogniser(configure(tmp_path, tone_corpus, source, "adapter_width=16"), rows, rows)
    with pytest.raises(InputError, match=r"adapter_width is 4 and lora\.rank 2\. Give one"):
        configure(tmp_path, tone_corpus, "adapter_width=4", "lora.rank=2")
    with pytest.raises(InputError, match="adapter_width is -1"):
        configure(tmp_path, tone_corpus, "adapter_width=-1")

"""fairseq checkpoints in their published layout, made by mapping transformers' names back."""

import argparse
import collections
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from asr.encoder.fairseq import load_fairseq
from asr.encoder.pretrained import load_pretrained
from asr.encoder.published import load_published
from asr.encoder.transformers_encoder import TransformersEncoder
from lm.errors import InputError
from tests.asr.encoder.tiny import batch, tiny_encoder, waveforms

ATTENTION = {"k_proj": "k_proj", "v_proj": "v_proj", "q_proj": "q_proj", "out_proj": "out_proj"}


def fairseq_state(
    encoder: TransformersEncoder, *, large: bool, newer_weight_norm: bool = False
) -> dict[str, Tensor]:
    """The encoder's weights by the names that fairseq's modules give them, written out by hand."""
    model = encoder.model
    out: dict[str, Tensor] = {"mask_emb": model.masked_spec_embed}

    def put(name: str, module: Any) -> None:
        out.update({f"{name}.{key}": value for key, value in module.named_parameters(recurse=False)})

    for number, conv in enumerate(model.feature_extractor.conv_layers):
        put(f"feature_extractor.conv_layers.{number}.0", conv.conv)
        if large:  # conv, dropout, Sequential(transpose, norm, transpose), activation
            put(f"feature_extractor.conv_layers.{number}.2.1", conv.layer_norm)
        elif number == 0:  # conv, dropout, group norm, activation
            put("feature_extractor.conv_layers.0.2", conv.layer_norm)
    put("layer_norm", model.feature_projection.layer_norm)
    put("post_extract_proj", model.feature_projection.projection)
    positions = model.encoder.pos_conv_embed.conv
    weight = positions.parametrizations.weight
    older, newer = (
        ("weight_g", "weight_v"),
        ("parametrizations.weight.original0", "parametrizations.weight.original1"),
    )
    for key, value in zip(
        newer if newer_weight_norm else older, (weight.original0, weight.original1), strict=True
    ):
        out[f"encoder.pos_conv.0.{key}"] = value
    out["encoder.pos_conv.0.bias"] = positions.bias
    put("encoder.layer_norm", model.encoder.layer_norm)
    for number, layer in enumerate(model.encoder.layers):
        for theirs, ours in ATTENTION.items():
            put(f"encoder.layers.{number}.self_attn.{theirs}", getattr(layer.attention, ours))
        put(f"encoder.layers.{number}.self_attn_layer_norm", layer.layer_norm)
        put(f"encoder.layers.{number}.fc1", layer.feed_forward.intermediate_dense)
        put(f"encoder.layers.{number}.fc2", layer.feed_forward.output_dense)
        put(f"encoder.layers.{number}.final_layer_norm", layer.final_layer_norm)
    return {name: value.detach().clone() for name, value in out.items()}


def settings(*, large: bool) -> dict[str, Any]:
    return {
        "_name": "wav2vec2",
        "extractor_mode": "layer_norm" if large else "default",
        "conv_feature_layers": "[(16, 10, 5)] + [(16, 3, 2)] * 4 + [(16,2,2)] + [(16,2,2)]",
        "conv_bias": large,
        "layer_norm_first": large,
        "encoder_layers": 2,
        "encoder_embed_dim": 32,
        "encoder_ffn_embed_dim": 48,
        "encoder_attention_heads": 4,
        "conv_pos": 16,
        "conv_pos_groups": 4,
        "activation_fn": "gelu",
    }


def same(one: TransformersEncoder, other: TransformersEncoder) -> None:
    with torch.no_grad():
        inputs = batch(waveforms()[:3])
        torch.testing.assert_close(
            one.eval()(*inputs).hidden, other.eval()(*inputs).hidden, atol=1e-6, rtol=0
        )


@pytest.mark.parametrize("newer_weight_norm", [False, True])
@pytest.mark.parametrize("large", [False, True])
def test_a_pretrained_checkpoint_gives_the_same_hidden_states(
    large: bool, newer_weight_norm: bool, tmp_path: Path
) -> None:
    """The layout of wav2vec_small (base) and xlsr_53 (large): a Namespace, heads of pre-training."""
    encoder = tiny_encoder("wav2vec2 large" if large else "wav2vec2 base")
    state = fairseq_state(encoder, large=large, newer_weight_norm=newer_weight_norm)
    heads = {
        "quantizer.vars": torch.zeros(1, 4, 8),
        "project_q.weight": torch.eye(4),
        "final_proj.bias": torch.ones(4),
    }
    args = argparse.Namespace(**settings(large=large), normalize=True)
    torch.save({"args": args, "model": collections.OrderedDict({**state, **heads})}, tmp_path / "w2v.pt")
    loaded = load_fairseq(tmp_path / "w2v.pt")
    assert loaded.head is None
    assert loaded.encoder.preprocessor == {"do_normalize": True}
    same(encoder, loaded.encoder)
    same(encoder, load_pretrained(tmp_path / "w2v.pt", options={"mask_time_prob": 0.0}))


def finetuned(folder: Path, **extra: Tensor) -> tuple[TransformersEncoder, torch.nn.Linear]:
    """Write a checkpoint fine-tuned with CTC and its dictionary; returns what is inside."""
    encoder, head = tiny_encoder("wav2vec2 large"), torch.nn.Linear(32, 8)
    state = {
        f"w2v_encoder.w2v_model.{name}": value for name, value in fairseq_state(encoder, large=True).items()
    }
    state |= {f"w2v_encoder.proj.{name}": value.detach() for name, value in head.named_parameters()} | extra
    cfg = {
        "model": {"_name": "wav2vec_ctc", "w2v_args": {"model": settings(large=True)}},
        "task": {"_name": "audio_finetuning", "normalize": True},
    }
    torch.save({"args": None, "cfg": cfg, "model": state}, folder / "ctc.pt")
    (folder / "dict.ltr.txt").write_text("| 94802\na 10\nñ 3\n", encoding="utf-8")
    return encoder, head


def test_a_finetuned_checkpoint_brings_its_head_and_dictionary(tmp_path: Path) -> None:
    encoder, head = finetuned(tmp_path)
    published = load_published(tmp_path / "ctc.pt")
    same(encoder, published.encoder)
    assert torch.equal(published.head.weight, head.weight)
    assert torch.equal(published.head.bias, head.bias)
    assert published.surfaces == ("", "", "", "", " ", "a", "ñ", "")
    assert (published.blank, published.case) == (0, "lower")
    (tmp_path / "dict.ltr.txt").unlink()
    with pytest.raises(InputError, match=r"dict\.ltr\.txt"):
        load_published(tmp_path / "ctc.pt")


def test_equal_widths_need_no_projection(tmp_path: Path) -> None:
    encoder = tiny_encoder("wav2vec2 large", conv_dim=[32] * 7)
    with torch.no_grad():
        encoder.model.feature_projection.projection.weight.copy_(torch.eye(32))
        encoder.model.feature_projection.projection.bias.zero_()
    state = fairseq_state(encoder, large=True)
    del state["post_extract_proj.weight"], state["post_extract_proj.bias"]
    layers = "[(32, 10, 5)] + [(32, 3, 2)] * 4 + [(32,2,2)] * 2"
    args = argparse.Namespace(**{**settings(large=True), "conv_feature_layers": layers}, normalize=True)
    torch.save({"args": args, "model": state}, tmp_path / "w2v.pt")
    same(encoder, load_fairseq(tmp_path / "w2v.pt").encoder)


class Config:
    """Stands for a class that a pickle may name, such as omegaconf's."""


def test_what_cannot_be_read_is_named_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "bad.pt"
    state = fairseq_state(tiny_encoder("wav2vec2 base"), large=False)
    args = argparse.Namespace(**settings(large=False))

    def refused(checkpoint: Any, message: str) -> None:
        torch.save(checkpoint, path)
        with pytest.raises(InputError, match=message) as caught:
            load_fairseq(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)

    refused(
        {"args": args, "model": {**state, "w2v_encoder.odd": torch.ones(1)}},
        r"no mapping for w2v_encoder\.odd",
    )
    refused(
        {"args": args, "model": {**state, "encoder.layers.0.odd": torch.ones(1)}}, r"encoder\.layers\.0\.odd"
    )
    refused(
        {"args": args, "model": {k: v for k, v in state.items() if "fc1" not in k}},
        "4 missing .*intermediate_dense",
    )
    torch.save({"args": args, "model": state}, path)
    with pytest.raises(InputError, match=r"unknown .*what changes the size \(it sets num_hidden_layers\)"):
        load_fairseq(path, options={"num_hidden_layers": 1})
    refused({"args": args, "model": {**state, "mask_emb": torch.ones(3)}}, r"must be \(32,\)")
    refused({"cfg": Config(), "model": state}, "Config besides tensors.*save it again")
    refused({"weights": state}, "no `model`")
    refused({"args": argparse.Namespace(layer_type="conformer"), "model": state}, "plain transformer")
    code = argparse.Namespace(
        **{**settings(large=False), "conv_feature_layers": "[__import__('os').getcwd()]"}
    )
    refused({"args": code, "model": state}, "cannot read conv_feature_layers")
    path.write_text("not a checkpoint")
    with pytest.raises(InputError, match=r"bad\.pt"):
        load_fairseq(path)
    with pytest.raises(InputError, match="no such file"):
        load_fairseq(tmp_path / "absent.pt")
    finetuned(tmp_path, other_head=torch.ones(1))
    with pytest.raises(InputError, match="no mapping for other_head"):
        load_fairseq(tmp_path / "ctc.pt")

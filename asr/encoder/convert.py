"""wav2vec 2.0 from one toolkit's files to another's, refused unless both say the same of the same audio."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from asr.checkpoint import write_tensors
from asr.encoder.fairseq import load_fairseq
from asr.encoder.layouts import FAIRSEQ, FAIRSEQ2, Table, inverse, renamed
from asr.encoder.transformers_encoder import FAMILIES, TransformersEncoder, old_weight_norm_name
from lm.errors import InputError

Layout = Literal["transformers", "fairseq", "fairseq2"]
TOLERANCE = 1e-4


def fixed_audio() -> tuple[Tensor, Tensor]:
    """Two stretches of the same tones and noise every time, the second shorter: (2, S) and (2,)."""
    generator = torch.Generator().manual_seed(0)
    clock = torch.arange(32_000) / 16_000
    tones = sum(torch.sin(2 * torch.pi * pitch * clock) for pitch in (150.0, 900.0, 2_300.0))
    assert isinstance(tones, Tensor)
    waveforms = 0.1 * tones + 0.05 * torch.randn(2, 32_000, generator=generator)
    num_samples = torch.tensor([32_000, 21_000])
    return waveforms * (torch.arange(32_000) < num_samples[:, None]), num_samples


@torch.inference_mode()
def difference(one: nn.Module, other: nn.Module) -> float:
    """Largest difference of two encoders' outputs on `fixed_audio`, padding left out."""
    waveforms, num_samples = fixed_audio()
    first, second = (encoder.eval()(waveforms, num_samples) for encoder in (one, other))
    return max(
        float((a[:frames] - b[:frames]).abs().max())
        for a, b, frames in zip(first.hidden, second.hidden, first.num_frames.tolist(), strict=True)
    )


def convert(
    encoder: TransformersEncoder,
    head: nn.Linear | None,
    out: Path,
    layout: Layout,
    load: Callable[[Path], TransformersEncoder],
) -> float:
    """Write an encoder, and its CTC layer, in a layout; read it back and compare.

    Args:
        out: a folder for transformers, a ``.pt`` file for the others.
        load: reads transformers' folders.
    Returns:
        the largest difference of the outputs on fixed audio.
    Raises:
        InputError: the encoder is no wav2vec 2.0, ``out`` exists, or the outputs differ by more than 1e-4:
            nothing is left then.
    """
    if encoder.kind != "wav2vec2":
        raise InputError(f"an encoder of kind {encoder.kind} has no other layout. Give a wav2vec 2.0.")
    if encoder.narrowband:
        raise InputError("an encoder of 8 kHz input (narrowband) has no other layout.")
    if out.exists():
        raise InputError(f"{out} exists already. Give another name.")
    if (out.suffix == ".pt") == (layout == "transformers"):
        wanted = "a folder" if layout == "transformers" else "a file that ends in .pt"
        raise InputError(f"{out}: the layout {layout} is written as {wanted}. Give such a name.")
    if layout == "transformers":
        write_transformers(encoder, out)
        again = load(out)
    else:
        write_fairseq(encoder, head, out, FAIRSEQ if layout == "fairseq" else FAIRSEQ2)
        again = load_fairseq(out).encoder
    found = difference(encoder, again)
    if not found <= TOLERANCE:
        if out.is_dir():
            shutil.rmtree(out)
        else:
            out.unlink()
        raise InputError(
            f"{out}: the converted encoder's outputs differ by {found:.2g} on fixed audio, more than {TOLERANCE:g}; "
            "nothing was kept. Report the model's name."
        )
    return found


def write_transformers(encoder: TransformersEncoder, folder: Path) -> None:
    """``config.json``, ``preprocessor_config.json`` and ``model.safetensors``, as transformers opens them."""
    folder.mkdir(parents=True)
    config = {**encoder.model.config.to_dict(), "architectures": [f"{FAMILIES[encoder.kind]}Model"]}
    preprocessor = {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "feature_size": 1,
        "sampling_rate": 16_000,
        "padding_value": 0.0,
        "return_attention_mask": config["feat_extract_norm"] == "layer",
        **encoder.preprocessor,
    }
    for name, values in (("config.json", config), ("preprocessor_config.json", preprocessor)):
        (folder / name).write_text(json.dumps(values, indent=1, default=str) + "\n", encoding="utf-8")
    write_tensors(encoder.model.state_dict(), folder / "model.safetensors")


def write_fairseq(encoder: TransformersEncoder, head: nn.Linear | None, path: Path, table: Table) -> None:
    """A checkpoint with fairseq's names and settings, or with fairseq2's names."""
    config = encoder.model.config
    theirs = inverse(
        table, layer_norm=config.feat_extract_norm == "layer", pre_norm=bool(config.do_stable_layer_norm)
    )
    state, unknown = renamed(
        {old_weight_norm_name(name): value for name, value in encoder.model.state_dict().items()}, theirs
    )
    if unknown:
        raise InputError(
            f"{path}: that layout has no name for {', '.join(sorted(unknown)[:3])}. Write transformers' instead."
        )
    prefix, last = (
        ("", "final_proj.") if table is FAIRSEQ2 else ("w2v_encoder.w2v_model.", "w2v_encoder.proj.")
    )
    if head is not None:
        state = {prefix + name: value for name, value in state.items()}
        state |= {last + name: value.detach() for name, value in head.named_parameters()}
    layers = zip(config.conv_dim, config.conv_kernel, config.conv_stride, strict=True)
    settings = {
        "_name": "wav2vec2",
        "extractor_mode": "layer_norm" if config.feat_extract_norm == "layer" else "default",
        "conv_feature_layers": str([tuple(layer) for layer in layers]),
        "conv_bias": bool(config.conv_bias),
        "layer_norm_first": bool(config.do_stable_layer_norm),
        "encoder_layers": config.num_hidden_layers,
        "encoder_embed_dim": config.hidden_size,
        "encoder_ffn_embed_dim": config.intermediate_size,
        "encoder_attention_heads": config.num_attention_heads,
        "conv_pos": config.num_conv_pos_embeddings,
        "conv_pos_groups": config.num_conv_pos_embedding_groups,
        "activation_fn": config.hidden_act,
    }
    task = {"_name": "audio_pretraining", "normalize": bool(encoder.preprocessor["do_normalize"])}
    model = {"_name": "wav2vec_ctc", "w2v_args": {"model": settings}} if head is not None else settings
    content = (
        {"model": state} if table is FAIRSEQ2 else {"cfg": {"model": model, "task": task}, "model": state}
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({**content, "model": {name: value.detach().clone() for name, value in state.items()}}, path)

"""Encoders from one toolkit's files to another's, refused unless both say the same of the same audio."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from asr.encoder.base import Encoder
from asr.encoder.export import NEVER, CtcHead, export_transformers
from asr.encoder.fairseq import load_fairseq, usual_heads
from asr.encoder.layouts import FAIRSEQ, FAIRSEQ2, Table, inverse, renamed
from asr.encoder.pretrained import open_published, published_encoder
from asr.encoder.published import FAIRSEQ_SPECIALS, are_pieces, load_published
from asr.encoder.transformers_encoder import TransformersEncoder, old_weight_norm_name
from asr.features import frame_mask
from lm.corpus import PIECE_SPACE
from lm.errors import InputError

Layout = Literal["transformers", "fairseq", "fairseq2"]
TOLERANCE = 1e-4
DICTIONARY = "dict.ltr.txt"


def fixed_audio() -> tuple[Tensor, Tensor]:
    """Two stretches of the same tones and noise every time, the second shorter: (2, S) and (2,)."""
    generator = torch.Generator().manual_seed(0)
    clock = torch.arange(32_000) / 16_000
    tones = sum(torch.sin(2 * torch.pi * pitch * clock) for pitch in (150.0, 900.0, 2_300.0))
    assert isinstance(tones, Tensor)
    waveforms = 0.1 * tones + 0.05 * torch.randn(2, 32_000, generator=generator)
    num_samples = torch.tensor([32_000, 21_000])
    return waveforms * frame_mask(num_samples, 32_000), num_samples


@torch.inference_mode()
def difference(one: nn.Module, other: nn.Module, heads: tuple[nn.Module, nn.Module] | None = None) -> float:
    """Largest difference of two encoders' outputs on `fixed_audio`, or of their heads', padding left out."""
    waveforms, num_samples = fixed_audio()
    first, second = (encoder.eval()(waveforms, num_samples) for encoder in (one, other))
    outputs = [first.hidden, second.hidden]
    if heads:
        outputs = [head(hidden) for head, hidden in zip(heads, outputs, strict=True)]
    return max(
        float((a[:frames] - b[:frames]).abs().max())
        for a, b, frames in zip(*outputs, first.num_frames.tolist(), strict=True)
    )


def convert(encoder: Encoder, head: CtcHead | None, out: Path, layout: Layout) -> float:
    """Write an encoder, and its CTC layer, in a layout; read it back and compare.

    Args:
        head: for fairseq its labels go to ``dict.ltr.txt`` beside ``out``, pieces as sentencepiece writes them
            (``post_process=sentencepiece`` there); fairseq2's files have none.
        out: a folder for transformers, a ``.pt`` file for the others.
    Returns:
        the largest difference of the outputs on fixed audio, of the CTC layer's where there is one.
    Raises:
        InputError: the encoder is none of transformers', or no wav2vec 2.0 for another layout, ``out`` exists, the
            layout cannot say what the encoder is or name its labels, what was written cannot be read, or its outputs
            differ by more than 1e-4. Nothing is left then, nor after any other error.
    """
    kind = encoder.config()["kind"]
    if not isinstance(encoder, TransformersEncoder):
        raise InputError(f"an encoder of kind {kind} has no other layout. Give one of transformers' kinds.")
    if kind != "wav2vec2" and layout != "transformers":
        raise InputError(
            f"an encoder of kind {kind} cannot be written for {layout}. Write transformers, or give a wav2vec 2.0."
        )
    if encoder.narrowband:
        raise InputError("an encoder of 8 kHz input (narrowband) has no other layout.")
    dictionary = out.parent / DICTIONARY if layout == "fairseq" and head and head.surfaces else None
    for path in filter(None, (out, dictionary)):
        if path.exists():
            raise InputError(f"{path} exists already. Give another name or folder.")
    if (out.suffix == ".pt") == (layout == "transformers"):
        wanted = "a folder" if layout == "transformers" else "a file that ends in .pt"
        raise InputError(f"{out}: the layout {layout} is written as {wanted}. Give such a name.")
    if layout == "fairseq2":
        _check_unsaid(encoder)
    if dictionary and head:
        head = in_fairseq_order(head)
    try:
        if layout == "transformers":
            export_transformers(encoder, head, out)
        else:
            table = FAIRSEQ if layout == "fairseq" else FAIRSEQ2
            write_fairseq(encoder, head.layer if head else None, out, table)
        again, layer = _read_back(out, head is not None)
        found = difference(encoder, again, (head.layer, layer) if head and layer else None)
        if not found <= TOLERANCE:
            raise InputError(
                f"{out}: the converted model's outputs differ by {found:.2g} on fixed audio, more than {TOLERANCE:g}; "
                "nothing was kept. Report the model's name."
            )
        if dictionary and head:
            # Spaces within a line of a dictionary would be lost: fairseq joins labels by them.
            space = PIECE_SPACE if are_pieces(head.surfaces) else "|"
            written = [surface.replace(" ", space) for surface in head.surfaces[len(FAIRSEQ_SPECIALS) :]]
            fill = (f"madeupword{number:04d}" for number in range(len(written)))
            lines = [f"{symbol or next(fill)} 1\n" for symbol in written]
            dictionary.write_text("".join(lines), encoding="utf-8")
    except BaseException:  # Ctrl-C too: what was not compared is not to be taken for a model
        for path in filter(None, (out, dictionary)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        raise
    return found


def _check_unsaid(encoder: TransformersEncoder) -> None:
    """Refuse audio normalisation and heads other than what fairseq2 reads off the weights, as its files say neither.

    Raises:
        InputError: they are others.
    """
    config = encoder.model.config
    if config.num_attention_heads != usual_heads(config.hidden_size):
        raise InputError(
            f"the encoder has {config.num_attention_heads} attention heads, and fairseq2, whose files do not say it, "
            f"takes {usual_heads(config.hidden_size)} for a width of {config.hidden_size}. "
            "Write fairseq or transformers."
        )
    normalised, norm = bool(encoder.preprocessor["do_normalize"]), config.feat_extract_norm
    if normalised != (norm == "layer"):
        raise InputError(
            f"the encoder's do_normalize is {str(normalised).lower()}, and fairseq2, whose files do not say it, takes "
            f"{str(not normalised).lower()} for one with {norm} normalisation. Write fairseq or transformers."
        )


def _read_back(out: Path, with_head: bool) -> tuple[TransformersEncoder, nn.Linear | None]:
    """What was written, as its files say: a normalisation that is odd on purpose is none to ask about here."""
    if out.suffix == ".pt":
        checkpoint = load_fairseq(out)
        return checkpoint.encoder, checkpoint.head
    if with_head:
        published = load_published(out)
        return published.encoder, published.head
    return published_encoder(open_published(out)), None


def in_fairseq_order(head: CtcHead) -> CtcHead:
    """The head with its rows as fairseq's dictionaries order them: blank, three specials, what writes something.

    Specials that the head lacks get rows that are never the likeliest.

    Raises:
        InputError: a label writes "|", which is fairseq's word boundary, or "▁", which begins pieces.
    """
    taken = PIECE_SPACE if are_pieces(head.surfaces) else "|"
    if any(taken in surface for surface in head.surfaces):
        raise InputError(f"a label writes {taken!r}, which is fairseq's word boundary. Write another layout.")
    numbers = [number for number in range(len(head.surfaces)) if number != head.blank]
    silent = [number for number in numbers if not head.surfaces[number]]
    few = len(FAIRSEQ_SPECIALS) - 1
    order = [head.blank, *silent[:few], *(number for number in numbers if number not in silent[:few])]
    missing = max(0, few - len(silent))
    weight, bias = head.layer.weight.detach()[order], head.layer.bias.detach()[order]
    at = 1 + len(silent[:few])
    layer = nn.Linear(weight.shape[1], len(order) + missing)
    layer.load_state_dict(
        {
            "weight": torch.cat([weight[:at], weight.new_zeros(missing, weight.shape[1]), weight[at:]]),
            "bias": torch.cat([bias[:at], bias.new_full((missing,), NEVER), bias[at:]]),
        }
    )
    surfaces = [head.surfaces[number] for number in order]
    return CtcHead(layer, (*surfaces[:at], *[""] * missing, *surfaces[at:]))


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

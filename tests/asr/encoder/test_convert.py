"""Layouts: fairseq2's read by its names, every layout written and read back, differences refused."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from asr.cli import main
from asr.encoder import build_encoder
from asr.encoder.convert import Layout, convert, difference, write_fairseq
from asr.encoder.export import CtcHead, export_transformers
from asr.encoder.fairseq import FairseqFile, load_fairseq
from asr.encoder.layouts import FAIRSEQ
from asr.encoder.pretrained import load_pretrained, published_objective
from asr.encoder.published import load_published
from asr.encoder.saved import save_encoder
from asr.encoder.transformers_encoder import TransformersEncoder
from asr.model import CTCModel, save_model
from asr.text import TextPolicy
from asr.tokenizer import character_tokenizer
from lm.errors import InputError
from tests.asr.encoder.test_fairseq import same
from tests.asr.encoder.test_published import EXPORTED, SURFACES
from tests.asr.encoder.tiny import batch, tiny_encoder, waveforms


def fairseq2_state(encoder: TransformersEncoder, *, large: bool) -> dict[str, Tensor]:
    """The encoder's weights by the names that fairseq2's modules give them, written out by hand."""
    model = encoder.model
    out: dict[str, Tensor] = {"masker.temporal_mask_embed": model.masked_spec_embed}

    def put(name: str, module: torch.nn.Module) -> None:
        out.update({f"{name}.{key}": value for key, value in module.named_parameters(recurse=False)})

    front = "encoder_frontend"
    for number, conv in enumerate(model.feature_extractor.conv_layers):
        put(f"{front}.feature_extractor.layers.{number}.conv", conv.conv)
        if large:
            put(f"{front}.feature_extractor.layers.{number}.layer_norm", conv.layer_norm)
        elif number == 0:
            put(f"{front}.feature_extractor.layers.0.group_norm", conv.layer_norm)
    put(f"{front}.post_extract_layer_norm", model.feature_projection.layer_norm)
    put(f"{front}.model_dim_proj", model.feature_projection.projection)
    positions = model.encoder.pos_conv_embed.conv
    weight = positions.parametrizations.weight
    out[f"{front}.pos_encoder.conv.weight_g"] = weight.original0
    out[f"{front}.pos_encoder.conv.weight_v"] = weight.original1
    out[f"{front}.pos_encoder.conv.bias"] = positions.bias
    put("encoder.layer_norm" if large else f"{front}.layer_norm", model.encoder.layer_norm)
    for number, layer in enumerate(model.encoder.layers):
        name = f"encoder.layers.{number}"
        for part in ("q_proj", "k_proj", "v_proj"):
            put(f"{name}.self_attn.{part}", getattr(layer.attention, part))
        put(f"{name}.self_attn.output_proj", layer.attention.out_proj)
        put(f"{name}.self_attn_layer_norm", layer.layer_norm)
        put(f"{name}.ffn.inner_proj", layer.feed_forward.intermediate_dense)
        put(f"{name}.ffn.output_proj", layer.feed_forward.output_dense)
        put(f"{name}.ffn_layer_norm", layer.final_layer_norm)
    return {name: value.detach().clone() for name, value in out.items()}


def objective(width: int) -> dict[str, Tensor]:
    """What fairseq2's pre-trained models hold besides."""
    return {
        "quantizer.entries": torch.randn(1, 8, 4),
        "quantizer.entry_proj.weight": torch.randn(8, 16),
        "quantizer.num_updates": torch.zeros(()),
        "final_target_proj.weight": torch.randn(6, 8),
        "final_proj.weight": torch.randn(6, width),
    }


@pytest.mark.parametrize("large", [False, True])
def test_a_pretrained_checkpoint_of_fairseq2(large: bool, tmp_path: Path) -> None:
    encoder = tiny_encoder("wav2vec2 large" if large else "wav2vec2 base")
    state = {**fairseq2_state(encoder, large=large), **objective(32)}
    if large:  # as distributed training leaves them
        state = {f"module.{name}": value for name, value in state.items()}
    torch.save({"model": state, "fs2": True}, tmp_path / "w2v.pt")
    heads = {"num_attention_heads": encoder.model.config.num_attention_heads}
    loaded = load_fairseq(tmp_path / "w2v.pt", options=heads)
    assert loaded.head is None
    assert loaded.encoder.preprocessor == {"do_normalize": large}
    if large == encoder.preprocessor["do_normalize"]:
        same(encoder, loaded.encoder)
    found = FairseqFile(tmp_path / "w2v.pt").objective()
    assert found.keys() == {
        "quantizer.codevectors", "quantizer.weight_proj.weight", "project_q.weight", "project_hid.weight",
    }  # fmt: skip
    assert found.keys() == published_objective(tmp_path / "w2v.pt").keys()


def sentencepiece_model(path: Path) -> int:
    """A model of characters; returns its size."""
    import sentencepiece

    stream = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["ñuka wasi", "kay kaya"] * 20), model_writer=stream, model_type="char",
        vocab_size=13, character_coverage=1.0, bos_id=0, pad_id=1, eos_id=2, unk_id=3, minloglevel=2,
    )  # fmt: skip
    path.write_bytes(stream.getvalue())
    return len(sentencepiece.SentencePieceProcessor(model_proto=stream.getvalue()))


def test_a_recogniser_of_fairseq2_brings_its_pieces(tmp_path: Path) -> None:
    encoder = tiny_encoder("wav2vec2 large")
    size = sentencepiece_model(tmp_path / "tokenizer.model")
    head = torch.nn.Linear(32, size)
    state = fairseq2_state(encoder, large=True) | {
        f"final_proj.{name}": value.detach() for name, value in head.named_parameters()
    }
    torch.save({"model": state}, tmp_path / "ctc.pt")
    published = load_published(tmp_path / "ctc.pt")
    assert torch.equal(published.head.weight, head.weight)
    assert published.surfaces[:4] == ("", "", "", "")
    assert set("ñukawsiy ") == set("".join(published.surfaces))
    (tmp_path / "other.model").write_bytes(b"")
    with pytest.raises(InputError, match=r"its labels are missing.*there are 2"):
        load_published(tmp_path / "ctc.pt")
    (tmp_path / "tokenizer.model").unlink()
    with pytest.raises(InputError, match="no sentencepiece model"):
        load_published(tmp_path / "ctc.pt")


@pytest.mark.parametrize("layout", ["transformers", "fairseq", "fairseq2"])
@pytest.mark.parametrize("large", [False, True])
def test_every_layout_is_written_and_read_back(layout: Layout, large: bool, tmp_path: Path) -> None:
    encoder = tiny_encoder("wav2vec2 large" if large else "wav2vec2 base", num_attention_heads=1)
    if layout == "fairseq2":
        encoder.preprocessor["do_normalize"] = large  # its files do not say
    out = tmp_path / ("folder" if layout == "transformers" else "model.pt")
    assert convert(encoder, None, out, layout) < 1e-5
    assert difference(encoder, load_pretrained(out)) < 1e-5
    with pytest.raises(InputError, match="exists already"):
        convert(encoder, None, out, layout)


@pytest.mark.parametrize("name", EXPORTED)
def test_every_kind_of_transformers_is_written_for_transformers(name: str, tmp_path: Path) -> None:
    head = CtcHead(torch.nn.Linear(32, len(SURFACES)), SURFACES)
    assert convert(tiny_encoder(name), head, tmp_path / "out", "transformers") < 1e-4


def test_a_recogniser_keeps_its_layer(tmp_path: Path) -> None:
    encoder, head = tiny_encoder("wav2vec2 large", num_attention_heads=1), torch.nn.Linear(32, 8)
    encoder.preprocessor["do_normalize"] = True
    for layout in ("fairseq", "fairseq2"):
        path = tmp_path / f"{layout}.pt"
        convert(encoder, CtcHead(head), path, layout)  # type: ignore[arg-type]
        again = load_fairseq(path).head
        assert again is not None
        assert torch.equal(again.weight, head.weight)


def logits(path: Path, waves: Tensor, lengths: Tensor) -> dict[str, Tensor]:
    """Of each label by what it writes, through whatever reads the layout."""
    published = load_published(path)
    with torch.no_grad():
        out = published.head(published.encoder.eval()(waves, lengths).hidden)
    return {surface: out[..., number] for number, surface in enumerate(published.surfaces) if surface}


def test_a_recogniser_goes_from_transformers_to_fairseq_and_back_with_its_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder, head = tiny_encoder("wav2vec2 large", num_attention_heads=1), torch.nn.Linear(32, 6)
    surfaces = ("a", " ", "", "ñ", "", "sh")  # the blank is the fifth
    export_transformers(encoder, CtcHead(head, surfaces, 4), tmp_path / "theirs")
    steps = [
        ("theirs", "fairseq/model.pt", "fairseq"),
        ("fairseq/model.pt", "again", "transformers"),
        ("again", "own.pt", "fairseq2"),
    ]
    for source, out, layout in steps:
        assert main(["convert", str(tmp_path / source), str(tmp_path / out), "--to", layout]) == 0
        assert "CTC layer's outputs on fixed audio" in capsys.readouterr().out
    dictionary = (tmp_path / "fairseq" / "dict.ltr.txt").read_text(encoding="utf-8")
    assert [line.split()[0] for line in dictionary.splitlines()] == ["a", "|", "ñ", "sh"]
    waves = batch(waveforms())
    expected = logits(tmp_path / "theirs", *waves)
    for path in ("fairseq/model.pt", "again"):
        found = logits(tmp_path / path, *waves)
        assert found.keys() == expected.keys() == {"a", " ", "ñ", "sh"}
        for surface, values in found.items():
            torch.testing.assert_close(values, expected[surface], atol=1e-4, rtol=0)
    assert load_fairseq(tmp_path / "own.pt").head is not None
    # A recogniser without its dictionary: the labels, or the encoder alone.
    (tmp_path / "fairseq" / "dict.ltr.txt").unlink()
    command = [
        "convert",
        str(tmp_path / "fairseq" / "model.pt"),
        str(tmp_path / "bare"),
        "--to",
        "transformers",
    ]
    assert main(command) == 1
    assert "Or give --encoder" in capsys.readouterr().err
    assert main([*command, "--encoder"]) == 0
    assert difference(encoder, load_pretrained(tmp_path / "bare")) < 1e-5


def test_pieces_go_to_fairseq_as_sentencepiece_writes_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder, head = tiny_encoder("wav2vec2 large", num_attention_heads=1), torch.nn.Linear(32, 6)
    surfaces = ("", " mana", " ", "n", "|", " ñu")
    export_transformers(encoder, CtcHead(head, surfaces, 0), tmp_path / "theirs")
    assert main(["convert", str(tmp_path / "theirs"), str(tmp_path / "own.pt"), "--to", "fairseq"]) == 0
    assert "post_process=sentencepiece" in capsys.readouterr().err
    symbols = [line.split(" ")[0] for line in (tmp_path / "dict.ltr.txt").read_text("utf-8").splitlines()]
    assert symbols == ["▁mana", "▁", "n", "|", "▁ñu"]
    # fairseq's own: labels joined by spaces, all spaces taken out, "▁" made one.
    said = " ".join(symbols[number] for number in (4, 0, 2, 1, 2))
    assert said.replace(" ", "").replace("▁", " ").strip() == "ñu manan n"
    assert set(load_published(tmp_path / "own.pt").surfaces) == set(surfaces)
    export_transformers(encoder, CtcHead(head, ("", " a", "▁", "n", "|", "b"), 0), tmp_path / "taken")
    assert main(["convert", str(tmp_path / "taken"), str(tmp_path / "no.pt"), "--to", "fairseq"]) == 1


@pytest.mark.parametrize(
    ("layout", "option"),
    [
        ("fairseq", []),
        ("fairseq", ["--encoder"]),
        ("fairseq2", ["--encoder"]),
        ("transformers", []),
        ("transformers", ["--encoder"]),
    ],
)
def test_the_weights_of_what_is_converted_are_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: Layout, option: list[str]
) -> None:
    encoder, head = tiny_encoder("wav2vec2 large", num_attention_heads=1), torch.nn.Linear(32, 6)
    encoder.preprocessor["do_normalize"] = True
    source = tmp_path / ("theirs" if layout == "transformers" else "theirs.pt")
    convert(encoder, CtcHead(head, ("", " ", "a", "b", "c", "d"), 0), source, layout)
    read: list[Path] = []

    def watching(load: Any) -> Any:
        def loading(path: Path, *words: Any, **named: Any) -> Any:
            read.append(path)
            return load(path, *words, **named)

        return loading

    monkeypatch.setattr("asr.encoder.fairseq.torch.load", watching(torch.load))
    monkeypatch.setattr("asr.encoder.hub.load_file", watching(load_file))
    assert main(["convert", str(source), str(tmp_path / "out.pt"), "--to", "fairseq2", *option]) == 0
    weights = source / "model.safetensors" if layout == "transformers" else source
    assert read == [weights, tmp_path / "out.pt"]  # the second, to compare


def test_our_own_models_are_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoder = tiny_encoder("wav2vec2 large", num_attention_heads=1)
    tokenizer = character_tokenizer(["ñuka wasi"], TextPolicy(), min_count=1)
    model = CTCModel(encoder, tokenizer)
    save_model(model.eval(), tmp_path / "exp" / "model")
    save_encoder(encoder, tmp_path / "pre", facts={}, objective={"quantizer.weight": torch.zeros(2)})
    assert main(["convert", str(tmp_path / "exp"), str(tmp_path / "out"), "--to", "transformers"]) == 0
    published = load_published(tmp_path / "out")
    assert torch.equal(published.head.weight, model.head.weight)
    assert published.surfaces == tuple(tokenizer.surfaces)
    capsys.readouterr()
    assert main(["convert", str(tmp_path / "pre"), str(tmp_path / "pre.pt"), "--to", "fairseq"]) == 0
    assert "left behind: the layers of the pretraining objective" in capsys.readouterr().err
    conformer = build_encoder({"kind": "conformer", "width": 32, "num_layers": 1, "num_heads": 2})
    save_encoder(conformer, tmp_path / "conformer", facts={}, objective={})
    assert main(["convert", str(tmp_path / "conformer"), str(tmp_path / "c.pt"), "--to", "fairseq"]) == 1
    assert "kind conformer has no other layout" in capsys.readouterr().err


@pytest.mark.parametrize("layout", ["transformers", "fairseq"])
def test_what_differs_or_cannot_be_read_is_refused_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: Layout
) -> None:
    def fail(out: Path, with_head: bool) -> None:
        assert out.exists()
        raise KeyboardInterrupt

    out = tmp_path / ("model" if layout == "transformers" else "model.pt")
    encoder = tiny_encoder("wav2vec2 base", num_attention_heads=1)
    with monkeypatch.context() as patch:
        patch.setattr("asr.encoder.convert.difference", lambda *words: float("nan"))
        with pytest.raises(InputError, match=r"outputs differ by nan .* nothing was kept"):
            convert(encoder, None, out, layout)
    monkeypatch.setattr("asr.encoder.convert._read_back", fail)
    with pytest.raises(KeyboardInterrupt):
        convert(encoder, None, out, layout)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("size", "other"), [("base", True), ("large", False)])
def test_a_normalisation_that_fairseq2_cannot_say_is_refused(tmp_path: Path, size: str, other: bool) -> None:
    encoder = tiny_encoder(f"wav2vec2 {size}", num_attention_heads=1)
    encoder.preprocessor["do_normalize"] = other
    with pytest.raises(
        InputError, match=rf"do_normalize is {str(other).lower()}, and fairseq2.* Write fairseq or"
    ):
        convert(encoder, None, tmp_path / "model.pt", "fairseq2")
    assert not list(tmp_path.iterdir())


def test_heads_that_fairseq2_cannot_say_are_refused(tmp_path: Path) -> None:
    encoder = tiny_encoder("wav2vec2 base", num_attention_heads=4)
    encoder.preprocessor["do_normalize"] = False
    with pytest.raises(
        InputError, match=r"has 4 attention heads, and fairseq2.* takes 1 for a width of 32\. Write"
    ):
        convert(encoder, None, tmp_path / "model.pt", "fairseq2")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("with_head", [False, True])
def test_a_normalisation_that_is_odd_on_purpose_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], with_head: bool
) -> None:
    encoder = tiny_encoder("wav2vec2 large", num_attention_heads=1)
    encoder.preprocessor["do_normalize"] = False
    head = CtcHead(torch.nn.Linear(32, 6), ("a", " ", "", "ñ", "", "sh"), 4) if with_head else None
    with pytest.raises(InputError, match="Write fairseq or transformers"):
        convert(encoder, head, tmp_path / "fairseq2.pt", "fairseq2")
    # From files, too, whose word is taken: there is no option to say it with.
    convert(encoder, head, tmp_path / "one", "transformers")
    for source, out, layout in (("one", "two.pt", "fairseq"), ("two.pt", "three", "transformers")):
        assert main(["convert", str(tmp_path / source), str(tmp_path / out), "--to", layout]) == 0, (
            capsys.readouterr().err
        )
        again = load_pretrained(tmp_path / out, preprocessor={"do_normalize": False})
        assert difference(encoder, again) < 1e-5
    assert json.loads((tmp_path / "three" / "preprocessor_config.json").read_text())["do_normalize"] is False


def test_names_and_encoders_that_do_not_fit_a_layout_are_refused(tmp_path: Path) -> None:
    encoder = tiny_encoder("wav2vec2 base", num_attention_heads=1)
    with pytest.raises(InputError, match=r"written as a file that ends in .pt"):
        convert(encoder, None, tmp_path / "folder", "fairseq")
    with pytest.raises(
        InputError, match=r"hubert cannot be written for fairseq. Write transformers, or give"
    ):
        convert(tiny_encoder("hubert base"), None, tmp_path / "f.pt", "fairseq")


def test_weights_that_a_layout_has_no_name_for_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no name for .*adapter_layer"):
        convert(tiny_encoder("mms"), None, tmp_path / "m.pt", "fairseq")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoder = tiny_encoder("wav2vec2 large", num_attention_heads=1)
    convert(encoder, None, tmp_path / "one.pt", "fairseq")
    assert main(["convert", str(tmp_path / "one.pt"), str(tmp_path / "two"), "--to", "transformers"]) == 0
    assert "largest difference of the encoder's outputs on fixed audio" in capsys.readouterr().out
    assert difference(encoder, load_pretrained(tmp_path / "two")) < 1e-5


def test_a_normalisation_that_does_not_fit_the_model_must_be_said(tmp_path: Path) -> None:
    encoder = tiny_encoder("wav2vec2 large", num_attention_heads=1)
    encoder.preprocessor["do_normalize"] = False
    write_fairseq(encoder, None, tmp_path / "w2v.pt", FAIRSEQ)
    with pytest.raises(InputError, match=r"files say do_normalize=false. Say which it is"):
        load_pretrained(tmp_path / "w2v.pt")
    for said in (True, False):
        loaded = build_encoder(
            {
                "kind": "pretrained",
                "source": str(tmp_path / "w2v.pt"),
                "preprocessor": {"do_normalize": said},
            }
        )
        assert isinstance(loaded, TransformersEncoder)
        assert loaded.preprocessor["do_normalize"] is said


def test_a_saved_encoder_takes_every_setting_of_its_kind_but_narrowband(tmp_path: Path) -> None:
    save_encoder(tiny_encoder("wav2vec2 large"), tmp_path / "exp", facts={}, objective={})
    saved = {"kind": "saved", "source": str(tmp_path / "exp")}
    changes = {"gradient_checkpointing": True, "config": {"layerdrop": 0.25}, "activation_dropout": 0.125}
    encoder = build_encoder({**saved, **changes, "preprocessor": {"do_normalize": False}})
    assert isinstance(encoder, TransformersEncoder)
    assert encoder.gradient_checkpointing
    assert encoder.layer_drop == 0.25
    assert encoder.model.config.activation_dropout == 0.125
    assert encoder.preprocessor == {"do_normalize": False}
    with pytest.raises(InputError, match="narrowband is False since its training began"):
        build_encoder({**saved, "narrowband": True})

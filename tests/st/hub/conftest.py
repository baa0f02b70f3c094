"""Tiny models of the published families, untrained, with tokenizers of a few lines; each in its folder."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

LINES = (
    "the house is red and the dog sleeps", "a big dog, a small house.", "la maison est rouge et le chien dort",
    "une grande maison, un petit chien.", "el perro duerme en la casa roja",
)  # fmt: skip
SIZES = {
    "d_model": 16, "encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "max_position_embeddings": 24,
    "init_std": 0.4, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2,
}  # fmt: skip


def pieces(kind: str, size: int) -> bytes:
    """A sentencepiece model of the lines."""
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(LINES * 3), model_writer=model, vocab_size=size, model_type=kind,
        character_coverage=1.0, unk_id=0, bos_id=1, eos_id=2, num_threads=1, minloglevel=2,
    )  # fmt: skip
    return model.getvalue()


def vocabulary(model: bytes, first: tuple[str, ...]) -> dict[str, int]:
    """Numbers of its pieces as fairseq gives them, behind those of ``first``."""
    from sentencepiece import SentencePieceProcessor

    processor = SentencePieceProcessor(model_proto=model)
    names = [*first, *(processor.id_to_piece(number) for number in range(3, len(processor)))]
    return {name: number for number, name in enumerate(names)}


def nllb_tokenizer(folder: Path) -> Any:
    from transformers import NllbTokenizer

    # transformers reads sentencepiece's file here, and forgets the languages over it.
    (folder / "sentencepiece.bpe.model").write_bytes(pieces("bpe", 80))
    inner = json.loads(NllbTokenizer.from_pretrained(folder).backend_tokenizer.to_str())["model"]
    (folder / "sentencepiece.bpe.model").unlink()
    return NllbTokenizer(vocab=inner["vocab"], merges=[tuple(merge) for merge in inner["merges"]])


def m2m_tokenizer(folder: Path) -> Any:
    from transformers import M2M100Tokenizer

    model = pieces("bpe", 80)
    (folder / "pieces.model").write_bytes(model)
    numbers = vocabulary(model, ("<s>", "<pad>", "</s>", "<unk>"))
    (folder / "numbers.json").write_text(json.dumps(numbers))
    return M2M100Tokenizer(str(folder / "numbers.json"), str(folder / "pieces.model"))


def mbart_tokenizer(folder: Path) -> Any:
    from transformers import MBart50Tokenizer

    (folder / "sentencepiece.bpe.model").write_bytes(pieces("unigram", 44))
    return MBart50Tokenizer.from_pretrained(folder)


def marian_tokenizer(folder: Path, *codes: str) -> Any:
    from transformers import MarianTokenizer

    model = pieces("unigram", 44)
    (folder / "pieces.model").write_bytes(model)
    numbers = vocabulary(model, ("</s>", "<unk>"))
    numbers |= {each: len(numbers) + place for place, each in enumerate((*codes, "<pad>"))}
    (folder / "numbers.json").write_text(json.dumps(numbers))
    file = str(folder / "pieces.model")
    languages = {"source_lang": "en", "target_lang": "ROMANCE" if codes else "fr"}
    return MarianTokenizer(file, file, str(folder / "numbers.json"), **languages)


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders of the families, made when they are first asked for."""
    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = tmp_path_factory.mktemp(family) / "model"
            _make(family, made[family], tmp_path_factory.mktemp("pieces"))
        return made[family]

    return folder


def _make(family: str, folder: Path, spare: Path) -> None:
    from transformers import (
        M2M100Config,
        M2M100ForConditionalGeneration,
        MarianConfig,
        MarianMTModel,
        MBartConfig,
        MBartForConditionalGeneration,
        T5Config,
        T5ForConditionalGeneration,
        T5Tokenizer,
    )

    torch.manual_seed(0)
    model: Any
    if family in ("nllb", "m2m"):
        tokenizer = nllb_tokenizer(spare) if family == "nllb" else m2m_tokenizer(spare)
        # M2M-100 has rows for its languages, and some for nothing, behind those of its pieces.
        size = len(tokenizer) if family == "nllb" else len(tokenizer) + 108
        model = M2M100ForConditionalGeneration(M2M100Config(vocab_size=size, **SIZES))
    elif family.startswith("mbart"):
        tokenizer = mbart_tokenizer(spare)
        sizes = dict(SIZES)
        if family == "mbart_pair":  # as mbart-large-en-ro, whose texts begin with their language
            sizes["decoder_start_token_id"] = tokenizer.lang_code_to_id["ro_RO"]
        model = MBartForConditionalGeneration(MBartConfig(vocab_size=len(tokenizer), **sizes))
        model.final_logits_bias.normal_()
    elif family == "t5":
        letters = [(letter, -3.0) for letter in "▁abcdefghijklmnopqrstuvwxyz"]
        tokenizer = T5Tokenizer(vocab=[("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *letters], extra_ids=0)
        model = T5ForConditionalGeneration(
            T5Config(
                vocab_size=len(tokenizer),
                d_model=16,
                d_kv=8,
                d_ff=32,
                num_layers=1,
                num_heads=2,
                decoder_start_token_id=0,
            )
        )
    else:
        tokenizer = marian_tokenizer(spare, *([">>fra<<", ">>spa<<"] if family == "marian_several" else []))
        pad = tokenizer.pad_token_id
        own = {
            "pad_token_id": pad,
            "decoder_start_token_id": pad,
            "eos_token_id": 0,
            "forced_eos_token_id": 0,
        }
        model = MarianMTModel(MarianConfig(vocab_size=len(tokenizer), **{**SIZES, **own}))
    # So that it writes pieces, and not languages alone.
    special = [piece for piece in range(model.config.vocab_size) if not _plain(tokenizer, piece)]
    model.get_input_embeddings().weight.data[special] *= 0.1
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)


def _plain(tokenizer: Any, piece: int) -> bool:
    name: str = tokenizer.convert_ids_to_tokens(piece)
    return name.removeprefix("▁").isalpha()

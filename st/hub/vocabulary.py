"""Tokenizers of published MT models: how they name languages, and how they are cut down to a corpus."""

from __future__ import annotations

import base64
import difflib
import json
import re
import string
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from asr.encoder.hub import ModelFiles
from asr.text import TextPolicy
from asr.tokenizer import Tokenizer
from lm.corpus import PIECE_SPACE
from lm.errors import InputError

MULTILINGUAL = {"m2m_100": "NLLB-200 or M2M-100", "mbart": "mBART-50"}
"""Types of transformers' whose texts begin with the code of their language."""
LANGUAGE_CODE = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}")
"""As NLLB writes it: ``quy_Latn``."""
ALWAYS = string.ascii_letters + string.digits + string.punctuation
"""Characters that a trimmed vocabulary keeps though the texts lack them, for names and numbers."""


def open_published(name: str) -> tuple[Any, Any]:
    """Configuration and tokenizer of a published MT model.

    Args:
        name: on the hub, or a folder of transformers'.
    Raises:
        InputError: it cannot be had or read, or is a multilingual model whose tokenizer names no languages.
    """
    try:
        files = ModelFiles(name)
    except InputError as error:  # transformers would speak of how names on the hub are written
        raise unreadable(name, FileNotFoundError("no such folder")) from error
    if files.folder and not files.find("config.json"):  # an experiment that was stopped early, for one
        raise unreadable(name, FileNotFoundError("it has no config.json"))
    # transformers takes seconds to import.
    from transformers import AutoConfig, AutoTokenizer

    try:
        config, tokenizer = AutoConfig.from_pretrained(name), AutoTokenizer.from_pretrained(name)
    except Exception as error:  # transformers', the hub's, tokenizers': none is ours to name
        raise unreadable(name, error) from error
    if config.model_type in MULTILINGUAL and not language_codes(tokenizer):
        # So are folders with sentencepiece's file alone: transformers makes a tokenizer without languages of it.
        raise InputError(
            f"MT model {name}: its tokenizer names no languages. Fetch tokenizer.json and "
            "tokenizer_config.json beside the weights."
        )
    return config, tokenizer


def unreadable(name: str, error: Exception) -> InputError:
    """What to say of a model that transformers cannot open."""
    reason = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
    return InputError(
        f"MT model {name}: {reason}. Give the folder of recipes.train_mt, a hub name, or a folder."
    )


def language_codes(tokenizer: Any) -> dict[str, int]:
    """The languages of a tokenizer by their codes, and the pieces that stand for them; empty where it has none."""
    table = getattr(tokenizer, "lang_code_to_id", None)  # M2M-100: "fr"; mBART-50: "fr_XX"
    if table is None:
        # NLLB's stand nowhere but among the tokens that were added to the pieces.
        added = {str(token): number for number, token in tokenizer.added_tokens_decoder.items()}
        table = {code: number for code, number in added.items() if LANGUAGE_CODE.fullmatch(code)}
    return {code: number for code, number in table.items() if number != tokenizer.unk_token_id}


def check_language(name: str, code: str, codes: Collection[str], argument: str) -> None:
    """Refuse a language that a model does not know.

    Raises:
        InputError: it does not; those with codes like it are named.
    """
    if not code:
        raise InputError(
            f"MT model {name} needs {argument}: a code such as {', '.join(list(codes)[:3])}. Give that of the language."
        )
    if code not in codes:
        near = difflib.get_close_matches(code, codes, n=3, cutoff=0.4)
        hint = (
            f"Near it: {', '.join(near)}." if near else f"It has, for example, {', '.join(list(codes)[:5])}."
        )
        raise InputError(f"MT model {name} knows no language {code!r} ({argument}). {hint}")


def trimmed_tokenizer(
    published: Any, texts: Sequence[str], policy: TextPolicy
) -> tuple[Tokenizer, list[int]]:
    """Labels for the pieces that occur in texts, and the number of each label in the published vocabulary.

    The texts are cut into the same pieces as before. BPE applies the merges that it would have applied,
    because all that lies on the way to a kept piece is kept; the best path of unigrams is among the paths
    that are left. Other words are written in what is left, at worst character by character.

    Label 0 is the closing piece.

    Raises:
        InputError: the texts hold no piece of the vocabulary.
    """
    pieces = _pieces_of(published)
    seen = {piece for text in texts for piece in published.tokenize(policy(text)) if piece in pieces.scores}
    if not seen:
        raise InputError("the translations hold no piece of the MT model's. Check the column and the model.")
    kept = {PIECE_SPACE, *ALWAYS, *(char for piece in seen for char in piece)} | seen
    if pieces.merged:
        kept |= {part for piece in seen for part in _on_the_way(piece, pieces.scores)}
    numbers = {piece: published.convert_tokens_to_ids(piece) for piece in kept if piece in pieces.scores}
    # A sentencepiece model may hold pieces that the vocabulary lacks.
    found = sorted((number, piece) for piece, number in numbers.items() if number != published.unk_token_id)
    names = [piece for _, piece in found]
    tokenizer = Tokenizer(
        surfaces=("", *(piece.replace(PIECE_SPACE, " ") for piece in names)),
        policy=policy,
        sentencepiece=pieces.model(names),
    )
    return tokenizer, [published.eos_token_id, *(number for number, _ in found)]


@dataclass(frozen=True)
class _Pieces:
    """What cuts a text into pieces."""

    scores: dict[str, float]
    """Pieces that are merged first, or are most probable, have the highest."""
    merged: bool
    """Byte-pair encoding (Sennrich et al. 2016); otherwise unigrams (Kudo 2018)."""
    characters: bytes
    """sentencepiece's compiled normalisation of characters."""

    def model(self, names: Sequence[str]) -> bytes:
        """A sentencepiece model of these pieces alone; piece 0 is the unknown one."""
        schema = _schema()
        model = schema.ModelProto()
        model.pieces.add(piece="<unk>", score=0.0, type=schema.ModelProto.SentencePiece.UNKNOWN)
        for name in names:
            model.pieces.add(piece=name, score=self.scores[name])
        spec = schema.TrainerSpec
        model.trainer_spec.model_type = spec.BPE if self.merged else spec.UNIGRAM
        model.trainer_spec.vocab_size = len(model.pieces)
        model.normalizer_spec.precompiled_charsmap = self.characters
        serialised: bytes = model.SerializeToString()
        return serialised


def _pieces_of(published: Any) -> _Pieces:
    """The pieces of a tokenizer of transformers', without special ones."""
    schema = _schema()
    if path := getattr(published, "spm_file", None):  # M2M-100
        model = schema.ModelProto()
        model.ParseFromString(Path(path).read_bytes())
        return _Pieces(
            {each.piece: each.score for each in model.pieces if each.type == each.NORMAL},
            model.trainer_spec.model_type == schema.TrainerSpec.BPE,
            model.normalizer_spec.precompiled_charsmap,
        )
    described = json.loads(published.backend_tokenizer.to_str())
    inner, special = described["model"], set(published.all_special_tokens)
    if inner["type"] == "BPE":
        # sentencepiece merges what gives the piece of the highest score: the earliest merge.
        scores = {piece: -float(len(inner["merges"])) for piece in inner["vocab"]}
        for rank, (left, right) in reversed(list(enumerate(inner["merges"]))):
            scores[left + right] = -float(rank)
    else:
        scores = dict(inner["vocab"])
    scores = {piece: score for piece, score in scores.items() if piece not in special}
    return _Pieces(scores, inner["type"] == "BPE", _characters(described["normalizer"]))


def _schema() -> Any:
    """What sentencepiece's files are made of; its classes are made at run time."""
    from sentencepiece import sentencepiece_model_pb2

    return sentencepiece_model_pb2


def _characters(normaliser: dict[str, Any] | None) -> bytes:
    for each in [normaliser or {}, *(normaliser or {}).get("normalizers", ())]:
        if each.get("type") == "Precompiled":
            return base64.b64decode(each["precompiled_charsmap"])
    return b""


def _on_the_way(piece: str, scores: dict[str, float]) -> set[str]:
    """What byte-pair encoding makes on its way from characters to a piece.

    Inside a text it goes the same way: no merge crosses the ends of a piece that is found in the end.
    """
    parts, passed = list(piece), set(piece)
    while len(parts) > 1:
        joined = [left + right for left, right in pairwise(parts)]
        place = max(range(len(joined)), key=lambda place: scores.get(joined[place], -float("inf")))
        if joined[place] not in scores:
            break
        parts[place : place + 2] = [joined[place]]
        passed.add(joined[place])
    return passed

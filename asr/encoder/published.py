"""Published CTC models, used for transcription as they are: encoder, head, vocabulary, language model."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from asr.encoder.fairseq import FairseqFile, load_fairseq
from asr.encoder.hub import ModelFiles
from asr.encoder.pretrained import Opened, checkpoint_weights, encoder_from_files, open_published
from asr.encoder.transformers_encoder import TransformersEncoder
from lm.corpus import PIECE_SPACE
from lm.errors import InputError
from lm.folder import MODEL_SUFFIXES

FAIRSEQ_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
"""First entries of every fairseq dictionary; its CTC blank is the first."""
PHONES = "Wav2Vec2PhonemeCTCTokenizer"
"""transformers' class for labels that are phones, which it writes with spaces between."""
UNUSED = re.compile(r"<unused\d+>")
"""Rows without an entry, as `asr.encoder.export` names them."""


@dataclass(frozen=True, kw_only=True)
class PublishedLanguageModel:
    """The language model that ships with a model, and the decoding values its authors chose."""

    model: Path
    """ARPA or kenlm binary. Its own words are the known ones: ``unigrams.txt`` repeats them for pyctcdecode."""
    alpha: float = 0.5
    """Weight of the language model (natural log), as pyctcdecode means it."""
    beta: float = 1.5
    """Bonus for each word."""
    unk_score_offset: float = -10.0
    """Added to the log10 score of a word that it does not know."""
    score_boundary: bool = True
    """Whether the beginning and the end of the text count."""


@dataclass(frozen=True, kw_only=True)
class PublishedCTC:
    """A published recogniser in parts."""

    encoder: TransformersEncoder
    head: nn.Linear
    """Hidden states (N, T, D) to logits (N, T, C)."""
    labels: tuple[str, ...]
    """Every label as the vocabulary names it; "" for a row without an entry."""
    surfaces: tuple[str, ...]
    """The text each label writes; " " is the word boundary, "" the blank and every special."""
    blank: int
    language: str = ""
    language_model: PublishedLanguageModel | None = None
    alphabet: tuple[str, ...] = ()
    """Symbols of the language model's ``alphabet.json``, where there is one."""

    @property
    def case(self) -> str:
        """Letter case of what it writes: ``upper``, ``lower``, ``mixed``; ``none`` in a script without."""
        text = "".join(self.surfaces)
        upper, lower = text != text.lower(), text != text.upper()
        if upper and lower:
            return "mixed"
        return "upper" if upper else "lower" if lower else "none"


def is_recogniser(files: Opened) -> bool:
    """Whether a published model has a CTC layer.

    Raises:
        InputError: the model cannot be had or read.
    """
    return files.is_recogniser if isinstance(files, FairseqFile) else "lm_head.weight" in files.weights()


def load_published(source: str | Path | Opened, *, language: str = "") -> PublishedCTC:
    """Read a CTC model: hub name, folder, asset name, or a ``.pt`` with its labels beside it.

    Args:
        source: such as ``facebook/mms-1b-all``, ``models/kichwa``, ``omniASR_CTC_300M_v2``, fairseq's ``.pt``
            with its dictionary or fairseq2's with its sentencepiece ``.model``.
        language: code of the language, for models with adapters or a vocabulary for each (MMS).
    Raises:
        InputError: the model cannot be had or read, has no CTC head, or needs a language.
    """
    files = open_published(source)
    if isinstance(files, FairseqFile):
        return _from_fairseq(files, language)
    settings = files.json("tokenizer_config.json", required=False, certain=True)
    vocabulary, added, language = _vocabulary(files, settings, language)
    encoder = encoder_from_files(files)
    state = checkpoint_weights(files, encoder, _adapter(files, encoder, language))
    encoder.load_weights(state, files.source)
    head = _head(files.source, state, encoder.width)

    # Added tokens past the end of the head are never written.
    vocabulary |= {token: number for token, number in added.items() if number < head.out_features}
    labels = _labels(files.source, vocabulary, head.out_features, _special_tokens(files, settings))
    # Of old releases, which named the blank there alone.
    pad = _token(settings.get("pad_token")) or _token(
        files.json("special_tokens_map.json", required=False, certain=True).get("pad_token")
    )
    blank = vocabulary.get(pad or "<pad>", encoder.model.config.pad_token_id)
    if not isinstance(blank, int) or not 0 <= blank < head.out_features:
        raise InputError(
            f"model {files.source!r}: its blank, the pad token {pad!r}, is not in vocab.json. "
            "Mend pad_token in tokenizer_config.json."
        )
    specials = _special_tokens(files, settings) | {labels[blank], *filter(UNUSED.fullmatch, labels)}
    phones = settings.get("tokenizer_class") == PHONES
    delimiter = _token(settings.get("word_delimiter_token", None if phones else "|")) or " "
    if phones:  # apart from each other, and words no more than that
        specials.add(delimiter)
        delimiter = " "
    lowered = bool(settings.get("do_lower_case", False))
    surfaces = [_surface(label, delimiter, specials, lowered) for label in labels]
    return PublishedCTC(
        encoder=encoder,
        head=head,
        labels=labels,
        surfaces=tuple(f" {surface}" if phones and surface else surface for surface in surfaces),
        blank=blank,
        language=language,
        language_model=_language_model(files),
        alphabet=tuple(files.json("alphabet.json", required=False).get("labels", ())),
    )


def _from_fairseq(file: FairseqFile, language: str) -> PublishedCTC:
    """A fine-tuned checkpoint of fairseq or fairseq2.

    ``dict.ltr.txt`` or ``dict.LANGUAGE.txt`` beside fairseq's has its labels; beside fairseq2's a
    sentencepiece ``.model``.
    """
    path, checkpoint = file.path, load_fairseq(file)
    if checkpoint.head is None:
        raise InputError(
            f"{path} is pre-trained only: it has no CTC layer. Fine-tune it, or give a fine-tuned checkpoint."
        )
    if checkpoint.fairseq2:
        return _with_pieces(path, checkpoint.encoder, checkpoint.head, file.tokenizer)
    names = ([f"dict.{language}.txt"] if language else []) + ["dict.ltr.txt"]
    dictionary = next((path.parent / name for name in names if (path.parent / name).is_file()), None)
    if dictionary is None:
        raise InputError(f"{path}: its labels are missing. Put {names[0]} of its training data beside it.")
    symbols = [
        line.rsplit(" ", 1)[0] for line in dictionary.read_text(encoding="utf-8").splitlines() if line.strip()
    ]
    labels = (*FAIRSEQ_SPECIALS, *symbols)
    # fairseq pads a dictionary to a round size with symbols of its own.
    labels += ("",) * (checkpoint.head.out_features - len(labels))
    if len(labels) != checkpoint.head.out_features:
        raise InputError(
            f"{dictionary} has {len(labels)} labels with the specials, but {path} has "
            f"{checkpoint.head.out_features}. Use the dictionary it was trained with."
        )
    specials = {*FAIRSEQ_SPECIALS, *(symbol for symbol in symbols if symbol.startswith("madeupword"))}
    delimiter = PIECE_SPACE if are_pieces(symbol.replace(PIECE_SPACE, " ") for symbol in symbols) else "|"
    surfaces = ("" if label in specials else label.replace(delimiter, " ") for label in labels)
    return PublishedCTC(
        encoder=checkpoint.encoder,
        head=checkpoint.head,
        labels=labels,
        surfaces=tuple(surfaces),
        blank=0,
        language=language,
    )


def _with_pieces(
    path: Path, encoder: TransformersEncoder, head: nn.Linear, tokenizer: Path | None
) -> PublishedCTC:
    """fairseq2's: labels are the pieces of a sentencepiece model, blank its first."""
    from sentencepiece import SentencePieceProcessor

    beside = sorted(path.parent.glob("*.model"))
    if tokenizer is None and len(beside) != 1:
        raise InputError(
            f"{path}: its labels are missing. Put the sentencepiece .model it was trained with beside it, "
            f"and no other; there are {len(beside)}."
        )
    model = tokenizer or beside[0]
    try:
        pieces = SentencePieceProcessor(model_file=str(model))
    except (OSError, RuntimeError) as error:
        raise InputError(f"{model} is no sentencepiece model. Fetch it again.") from error
    if len(pieces) != head.out_features:
        raise InputError(
            f"{model} has {len(pieces)} pieces, but {path} has {head.out_features} labels. "
            "Use the model it was trained with."
        )
    labels = tuple(pieces.id_to_piece(number) for number in range(len(pieces)))
    silent = [pieces.is_control(n) or pieces.is_unknown(n) or n == 0 for n in range(len(pieces))]
    return PublishedCTC(
        encoder=encoder,
        head=head,
        labels=labels,
        surfaces=tuple(
            "" if mute else label.replace(PIECE_SPACE, " ")
            for label, mute in zip(labels, silent, strict=True)
        ),
        blank=0,
    )


def _is_nested(vocabulary: dict[str, Any]) -> bool:
    """Whether a vocabulary holds one vocabulary for each language, as MMS does."""
    return bool(vocabulary) and all(isinstance(value, dict) for value in vocabulary.values())


def _vocabulary(
    files: ModelFiles, settings: dict[str, Any], language: str
) -> tuple[dict[str, int], dict[str, int], str]:
    """Labels and their numbers, those that were added to them, and the language they are of."""
    vocabulary = files.json("vocab.json")
    if _is_nested(vocabulary):
        if not language and len(vocabulary) == 1:
            language = next(iter(vocabulary))
        if language not in vocabulary:
            some = ", ".join(sorted(vocabulary)[:12])
            what = f"no language {language!r}" if language else "a vocabulary for each language"
            raise InputError(
                f"model {files.source!r} has {what}; name one of its {len(vocabulary)}: {some}..."
            )
        vocabulary = vocabulary[language]
    # Of old releases, and not `certain`: it holds specials, mostly of rows past the head, which write nothing anyhow.
    added = files.json("added_tokens.json", required=False)
    for number, token in settings.get("added_tokens_decoder", {}).items():
        added.setdefault(_token(token) or "", int(number))
    numbers = set(vocabulary.values())
    own = {
        token: number for token, number in added.items() if number not in numbers and token not in vocabulary
    }
    return vocabulary, own, language


def _adapter(files: ModelFiles, encoder: TransformersEncoder, language: str) -> str:
    """Language whose adapter file to read; "" where the main file holds all there is."""
    if getattr(encoder.model.config, "adapter_attn_dim", None) is None:
        return ""
    vocabulary = files.json("vocab.json")
    if _is_nested(vocabulary) and len(vocabulary) > 1:
        return language
    # Adapted to a single language: its adapter may lie beside the main file, which has it inside too.
    beside = language and files.find(f"adapter.{language}.safetensors", f"adapter.{language}.bin")
    return language if beside else ""


def _labels(source: str, vocabulary: dict[str, int], size: int, specials: set[str]) -> tuple[str, ...]:
    """Labels by number; rows of the head that no token claims are ""."""
    labels = [""] * size
    for token, number in vocabulary.items():
        if 0 <= number < size:
            labels[number] = token
        elif token not in specials:  # <s> and </s> are often added past the end of the head
            raise InputError(
                f"model {source!r}: label {token!r} is number {number} of vocab.json, but the head has "
                f"{size} rows. Use the vocabulary that belongs to these weights."
            )
    return tuple(labels)


def _special_tokens(files: ModelFiles, settings: dict[str, Any]) -> set[str]:
    """Tokens that stand for no text."""
    found = {"<pad>", "<s>", "</s>", "<unk>", "[PAD]", "[UNK]"}
    # Not `certain`: where tokenizer_config.json says nothing, the names are nearly always these.
    for source in (settings, files.json("special_tokens_map.json", required=False)):
        for name in ("pad_token", "unk_token", "bos_token", "eos_token"):
            found.add(_token(source.get(name)) or "<pad>")
    return found


def _token(value: Any) -> str | None:
    """A token's text, written plainly or as an object."""
    return value.get("content") if isinstance(value, dict) else value


def are_pieces(surfaces: Iterable[str]) -> bool:
    """Whether labels write words' beginnings, as sentencepiece's do, and not a space by itself."""
    return any(len(surface) > 1 and surface.startswith(" ") for surface in surfaces)


def _surface(label: str, delimiter: str, specials: set[str], lowered: bool) -> str:
    if label == delimiter:
        return " "
    if label in specials:
        return ""
    return label.lower() if lowered else label


def _head(source: str, state: dict[str, Tensor], width: int) -> nn.Linear:
    """The CTC layer of a checkpoint."""
    weight, bias = state.get("lm_head.weight"), state.get("lm_head.bias")
    if weight is None or bias is None or weight.ndim != 2 or weight.shape[1] != width:
        raise InputError(
            f"model {source!r} has no CTC head for width {width}: it is pre-trained only. Fine-tune it first."
        )
    head = nn.Linear(width, weight.shape[0])
    head.load_state_dict({"weight": weight, "bias": bias})
    return head


def _language_model(files: ModelFiles) -> PublishedLanguageModel | None:
    """The ``language_model`` folder that Wav2Vec2ProcessorWithLM writes, where there is one."""
    folder = files.find_folder("language_model", "attrs.json")
    if folder is None:
        return None
    there = [
        path for path in sorted(folder.iterdir()) if path.is_file() and path.suffix not in (".json", ".txt")
    ]
    named = [path for path in there if path.name.endswith(MODEL_SUFFIXES)]
    models = named or [path for path in there if not path.name.startswith(".")]
    if len(models) != 1:
        print(
            f"{files.source}: going on without its language model: {folder} has {len(models)} files of n-grams "
            "instead of one; give one with --lm",
            file=sys.stderr,
        )
        return None
    attributes = files.json("language_model/attrs.json", required=False)
    try:
        return PublishedLanguageModel(
            model=models[0],
            alpha=float(attributes.get("alpha", 0.5)),
            beta=float(attributes.get("beta", 1.5)),
            unk_score_offset=float(attributes.get("unk_score_offset", -10.0)),
            score_boundary=bool(attributes.get("score_boundary", True)),
        )
    except (TypeError, ValueError) as error:
        raise InputError(
            f"model {files.source!r}: language_model/attrs.json: {error}. Give alpha, beta and unk_score_offset as "
            "numbers."
        ) from error

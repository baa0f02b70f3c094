"""What a text translator teaches: its own translations, and its most probable labels at each place; kept once said."""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save
from torch import Tensor

from asr.batches import in_rows, padded
from asr.card import model_folder, read_card
from asr.ctc import encoded
from asr.formats.files import read_text, write_whole
from asr.manifest import Utterance
from asr.tokenizer import Tokenizer
from lm.errors import InputError
from st.languages import refuse_other_languages
from st.loss import framed
from st.model import TextTranslator, load_translator
from st.recipe import check_written
from st.search import TranslationSearchConfig
from st.texts import translate_labels

BATCH = 32
"""Texts that go through the teacher at once."""
CHUNK = 512
"""Translations after which what there is of them is kept."""
SEARCH = TranslationSearchConfig(beam=5)
"""How the teacher's own translations are found (Kim and Rush 2016, sec. 4.1)."""
SEARCHED = 2
"""Changes with the search itself, so that no text that another found is taken for its."""


@dataclass(frozen=True, kw_only=True)
class DistilConfig:
    """Learning from a text translator (Kim and Rush 2016)."""

    teacher: str = ""
    """Its folder; empty learns from the references alone."""
    level: Literal["word", "sequence", "both"] = "word"
    """`word`: at each place of the references, its shares of labels count by ``weight`` (sec. 3.1).
    `sequence`: its own translations of the training transcripts stand in for the references (sec. 3.2). `both`:
    they do, and its shares are those at their places. Dev is scored against the true references always."""
    weight: float = 0.5
    """Share of the decoder's loss that is learned from the teacher's shares, where it teaches words."""
    top_k: int = 8
    """Labels of the teacher that are kept for each place."""
    temperature: float = 1.0
    """Divides the logits of both before they become shares; above 1 the shares are more even, and what is unlikely
    counts for more."""

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise InputError(f"distil.weight is {self.weight}. Give a share, from 0 to 1.")
        if self.top_k < 1 or not 0 < self.temperature < math.inf:
            raise InputError(
                f"distil.top_k is {self.top_k} and distil.temperature {self.temperature}. "
                "Give a number from 1, and one above 0."
            )
        # What is given for nothing was meant for something.
        idle: tuple[str, ...] = ()
        why = ""
        if not self.teacher:
            idle, why = tuple(item.name for item in fields(self)), "there is no distil.teacher"
        elif self.level == "sequence":
            idle, why = (
                ("weight", "top_k", "temperature"),
                "distil.level=sequence asks for no shares of labels",
            )
        usual = {item.name: item.default for item in fields(self)}
        for name in idle:
            if (given := getattr(self, name)) != usual[name]:
                raise InputError(f"distil.{name} is {given}, and {why} that it would be for. Leave it out.")


@dataclass(frozen=True)
class Teaching:
    """What a text translator would have written at each place of each translation, where it was asked that."""

    name: str
    """Digest of the teacher's files and of what it was asked, wherever it lies."""
    weight: float = 0.0
    """Of what follows, beside the references."""
    temperature: float = 1.0
    """Divides the student's logits, as it divided the teacher's."""
    between: Sequence[int] = ()
    """Labels between the translations of utterances that are laid end to end."""
    labels: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    """Of each utterance, (L + 1, K): the last place is that of the closing label."""
    shares: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)

    def rows(self, rows: Sequence[Sequence[Utterance]]) -> tuple[Tensor, Tensor] | None:
        """Labels and shares of utterances that are laid end to end, (N, L, K) each; only the last closes."""
        if not self.labels:
            return None
        width = next(iter(self.labels.values())).shape[1]
        # Between two texts, nothing else can stand.
        labels = np.repeat(np.asarray(self.between, dtype=np.int64)[:, None], width, axis=1)
        shares = np.zeros(labels.shape, dtype=np.float32)
        shares[:, 0] = 1
        return (
            padded_rows([_end_to_end([self.labels[each.id] for each in row], labels) for row in rows]),
            padded_rows([_end_to_end([self.shares[each.id] for each in row], shares) for row in rows]),
        )


def padded_rows(rows: Sequence[NDArray[np.generic]]) -> Tensor:
    """(L, K) each -> (N, L, K), zeros behind."""
    width = rows[0].shape[1]
    flat, _ = padded([row.reshape(-1) for row in rows])
    return flat.view(len(rows), -1, width)


def teach(
    config: DistilConfig,
    tokenizer: Tokenizer,
    rows: Sequence[Utterance],
    dev: Sequence[Utterance],
    folder: Path,
) -> tuple[list[Utterance], Teaching]:
    """Ask the teacher about every utterance, or read from ``folder`` what the same question was answered with.

    Args:
        tokenizer: the student's, of translations.
        rows: to train on.
        folder: of the experiment.
    Returns:
        ``rows``, with the teacher's translations where ``config.level`` asks for them; and what it teaches.
    Raises:
        InputError: it translates speech or other languages, its labels differ from the student's or cannot write the
            transcripts, or transcripts are missing.
    """
    model = load_translator(config.teacher)
    if not isinstance(model, TextTranslator):
        raise InputError(
            f"distil.teacher {config.teacher} translates speech. Give a folder that recipes.train_mt wrote."
        )
    if config.level != "sequence" and model.tokenizer.surfaces != tokenizer.surfaces:
        raise InputError(
            f"distil.teacher {config.teacher}: it must write the student's labels. Give the text translator whose "
            "decoder and labels the student begins with (`decoder_from`), or set distil.level=sequence."
        )
    silent = [each.id for each in (*rows, *dev) if not each.text.strip()]
    if silent:
        raise InputError(
            f"distil.teacher {config.teacher}: it reads transcripts, and {len(silent)} utterances have none, as "
            f"{silent[0]}. Leave them out."
        )
    name = f"distil.teacher {config.teacher}"
    refuse_other_languages(name, model, rows)
    check_written(name, model.source, rows, dev)
    files = read_card(model_folder(config.teacher))["sha256"]
    sources = {each.id: encoded(model.source, each) for each in (*rows, *dev)}
    rows = list(rows)

    # An answer is kept under a digest of all that it depends on, so that no other is taken for it.
    if config.level != "word":
        keys = {row.id: _digest(files, SEARCH, SEARCHED, sources[row.id]) for row in rows}
        said = _translations(
            model, {key: sources[name] for name, key in keys.items()}, folder / "teacher.json"
        )
        unsaid = sum(not said[key] for key in keys.values())
        if unsaid:
            print(
                f"the teacher has no translation of {unsaid} transcripts; their references stay",
                file=sys.stderr,
            )
        rows = [replace(row, translation=said[keys[row.id]] or row.translation) for row in rows]
    if config.level == "sequence":
        return rows, Teaching(_digest(keys)[:12])
    pairs = {each.id: (sources[each.id], tokenizer.encode(each.translation)) for each in (*rows, *dev)}
    keys = {name: _digest(files, config.top_k, config.temperature, pair) for name, pair in pairs.items()}
    tables = _shares(
        model, {key: pairs[name] for name, key in keys.items()}, config, folder / "teacher.safetensors"
    )
    labels, shares = (
        {name: tables[f"{kind}.{key}"] for name, key in keys.items()} for kind in ("labels", "shares")
    )
    return rows, Teaching(
        _digest(keys)[:12], config.weight, config.temperature, tokenizer.between, labels, shares
    )


def _translations(model: TextTranslator, sources: Mapping[str, list[int]], path: Path) -> dict[str, str]:
    """The teacher's translation of each source, by the source's key; empty where it found no end."""
    kept = json.loads(read_text(path)) if path.is_file() else {}
    said = {key: kept[key] for key in sources if key in kept}
    missing = [key for key in sources if key not in said]
    if missing:
        print(f"the teacher translates {len(missing)} transcripts", file=sys.stderr)
    for first in range(0, len(missing), CHUNK):
        keys = missing[first : first + CHUNK]
        found = translate_labels(model, [sources[key] for key in keys], SEARCH)
        for key, (best, *_) in zip(keys, found, strict=True):
            said[key] = "" if best.cut else model.tokenizer.decode(best.labels)
        _keep(path, json.dumps(said, ensure_ascii=False, indent=1).encode())
    return said


@torch.inference_mode()
def _shares(
    model: TextTranslator,
    pairs: Mapping[str, tuple[list[int], list[int]]],
    config: DistilConfig,
    path: Path,
) -> dict[str, NDArray[np.generic]]:
    """``labels.KEY`` and ``shares.KEY`` of each source and target, (L + 1, K) each."""
    kept = load_file(path) if path.is_file() else {}
    tables = {
        name: kept[name] for key in pairs for name in (f"labels.{key}", f"shares.{key}") if name in kept
    }
    missing = [key for key in pairs if f"labels.{key}" not in tables]
    if missing:
        print(f"asking the teacher about {len(missing)} translations", file=sys.stderr)
    for keys in in_rows(missing, BATCH):
        sources = [np.asarray(pairs[key][0], dtype=np.int64) for key in keys]
        read, _, lengths = framed([pairs[key][1] for key in keys])
        logits, _ = model(*padded(sources), read)
        best = logits.topk(min(config.top_k, logits.shape[2]), dim=2)
        shares = (best.values / config.temperature).softmax(dim=2)
        for place, (key, length) in enumerate(zip(keys, lengths.tolist(), strict=True)):
            tables[f"labels.{key}"] = best.indices[place, :length].numpy()
            tables[f"shares.{key}"] = shares[place, :length].numpy()
    if missing:
        _keep(path, save(tables))
    return tables


def _end_to_end(parts: Sequence[NDArray[np.generic]], gap: NDArray[np.generic]) -> NDArray[np.generic]:
    """(L + 1, K) each -> one, with ``gap`` behind each that has labels; only the last keeps its closing place."""
    joined = parts[0]
    for part in parts[1:]:
        before = joined[:-1]
        joined = np.concatenate([before, gap, part] if len(before) else [part])
    return joined


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _keep(path: Path, content: bytes) -> None:
    """Write a file whole; of several processes, which all ask the same, the first does."""
    if os.environ.get("RANK", "0") == "0":
        write_whole(path, [content], overwrite=True)

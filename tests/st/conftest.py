"""A corpus of tones with translations, and models trained on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asr.config import from_mapping
from asr.manifest import read_manifest, write_manifest
from recipes import pretrain_siamese, train_mt, train_st

WORDS = {"a": "uno", "b": "dos", "c": "tres", "d": "cuatro", "e": "cinco", "f": "seis"}
ENCODER = {
    "kind": "conformer", "width": 48, "num_layers": 2, "num_heads": 2, "stem_channels": 8, "kernel": 7,
    "layer_drop": 0.0, "dropout": 0.0, "freq_width": 4, "time_masks_per_s": 0.2, "time_width": 8,
}  # fmt: skip
TRAINER = {"evaluate_every": 50, "lr": 3e-3, "ema_decay": 0.95, "precision": "float32", "threads": 1}
DECODER = {"width": 48, "layers": 1, "heads": 2, "inner": 64, "dropout": 0.1}
TEXT = {"width": 48, "layers": 1, "heads": 2, "inner": 64}
BATCHES = {"batch_s": 12, "cache_gb": 0.1}


def translated(text: str) -> str:
    """What a text of tones means."""
    return ". ".join(" ".join(WORDS[char] for char in word) for word in text.split()).capitalize() + "."


@pytest.fixture(scope="session")
def spoken_numbers(tone_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest of the tones with translations."""
    rows = [
        replace(row, translation=translated(row.text), language="tone", translation_language="es")
        for row in read_manifest(tone_corpus)
    ]
    path = tmp_path_factory.mktemp("numbers") / "manifest.tsv"
    write_manifest(rows, path)
    return path


def settings(manifest: Path, exp: Path, updates: int, **more: Any) -> dict[str, Any]:
    """Configuration of a small training."""
    return {"manifest": str(manifest), "exp": str(exp), "trainer": {**TRAINER, "updates": updates}, **more}


def mt_config(manifest: Path, exp: Path, updates: int, **more: Any) -> train_mt.TrainConfig:
    """A small text translator."""
    values = settings(
        manifest, exp, updates, encoder=TEXT, decoder=DECODER, mt={"batch_labels": 400},
        target_tokenizer={"unit": "piece", "num_pieces": 30}, **more,
    )  # fmt: skip
    return from_mapping(train_mt.TrainConfig, values)


def siamese_config(manifest: Path, exp: Path, updates: int, **more: Any) -> pretrain_siamese.PretrainConfig:
    """A small Siamese pre-training."""
    values = settings(manifest, exp, updates, encoder=ENCODER, ctc=BATCHES, **more)
    values["siamese"] = {"text": TEXT, **more.get("siamese", {})}
    return from_mapping(pretrain_siamese.PretrainConfig, values)


def st_config(manifest: Path, exp: Path, updates: int, **more: Any) -> train_st.TrainConfig:
    """A small speech translator."""
    values = settings(
        manifest, exp, updates, encoder=ENCODER, ctc=BATCHES, decoder=DECODER,
        target_tokenizer={"unit": "piece", "num_pieces": 30},
    )  # fmt: skip
    return from_mapping(train_st.TrainConfig, {**values, **more})


@pytest.fixture(scope="session")
def mt(spoken_numbers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The experiment folder of a text translator that knows most of the numbers."""
    exp = tmp_path_factory.mktemp("mt") / "exp"
    train_mt.train(mt_config(spoken_numbers, exp, 250))
    return exp


@pytest.fixture(scope="session")
def siamese(spoken_numbers: Path, mt: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The experiment folder of an encoder that was pre-trained beside the text translator's, kept as it was."""
    exp = tmp_path_factory.mktemp("siamese") / "exp"
    beside = {"text_from": str(mt), "freeze_text": True, "weight": 1.0}
    pretrain_siamese.pretrain(siamese_config(spoken_numbers, exp, 150, siamese=beside))
    return exp


@pytest.fixture(scope="session")
def st(spoken_numbers: Path, mt: Path, siamese: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The experiment folder of a speech translator that began with both."""
    exp = tmp_path_factory.mktemp("st") / "exp"
    more = {
        "recogniser": str(siamese), "decoder_from": str(mt), "distil": {"teacher": str(mt)},
        "st": {"target_ctc_weight": 0.3},
    }  # fmt: skip
    train_st.train(st_config(spoken_numbers, exp, 150, **more))
    return exp

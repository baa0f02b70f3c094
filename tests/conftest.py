"""Small generated fixtures: no audio, model or corpus is fetched."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from asr.config import load_config
from asr.encoder.conformer import ConformerConfig, ConformerEncoder
from asr.manifest import Utterance, write_manifest
from asr.model import CTCModel
from asr.text import TextPolicy
from asr.tokenizer import character_tokenizer
from recipes.finetune_ctc import FinetuneConfig, finetune

LETTERS = "abcdef"
TINY = ConformerConfig(width=32, num_layers=2, num_heads=2, stem_channels=8, kernel=5)


def spoken(text: str, seed: int, rate: int = 16_000) -> NDArray[np.float32]:
    """A "speech" of tones: each letter 0.16 s of its own pitch, the space silence, a little noise."""
    generator = np.random.default_rng(seed)
    clock = np.arange(int(0.16 * rate)) / rate
    parts = [
        np.zeros_like(clock) if c == " " else np.sin(2 * np.pi * (400 + 500 * LETTERS.index(c)) * clock)
        for c in text
    ]
    waveform = 0.3 * np.concatenate([np.zeros(rate // 10), *parts, np.zeros(rate // 10)])
    return (waveform + 0.003 * generator.standard_normal(len(waveform))).astype(np.float32)


def tone_texts(count: int, seed: int) -> list[str]:
    """Random two- and three-word texts."""
    generator = np.random.default_rng(seed)
    return [
        " ".join(
            "".join(generator.choice(list(LETTERS), generator.integers(2, 4)))
            for _ in range(generator.integers(2, 4))
        )
        for _ in range(count)
    ]


@pytest.fixture(scope="session")
def tone_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest of a corpus of tones: 48 training and 8 dev utterances."""
    folder = tmp_path_factory.mktemp("tones")
    rows = []
    for split, count, seed in (("train", 48, 1), ("dev", 8, 2)):
        for number, text in enumerate(tone_texts(count, seed)):
            waveform = spoken(text, seed * 1000 + number)
            path = folder / f"{split}{number:02d}.wav"
            soundfile.write(path, waveform, 16_000)
            rows.append(
                Utterance(id=path.stem, audio=path, duration_s=len(waveform) / 16_000, text=text, split=split)
            )
    write_manifest(rows, folder / "manifest.tsv")
    return folder / "manifest.tsv"


@pytest.fixture
def tiny_model() -> CTCModel:
    """An untrained two-layer model over the letters of the tone corpus."""
    torch.manual_seed(0)
    return CTCModel(ConformerEncoder(TINY), character_tokenizer([f"{LETTERS} "], TextPolicy())).eval()


class _HandedOnError(Exception):
    """Stops a command at the call that is looked at."""


def handed_on(target: object, name: str, command: Callable[[], object]) -> SimpleNamespace:
    """What a command calls ``target.name`` with, by the names of its parameters; the call itself is never made."""
    names = list(inspect.signature(getattr(target, name)).parameters)
    with patch.object(target, name, side_effect=_HandedOnError) as called, pytest.raises(_HandedOnError):
        command()
    given = called.call_args
    return SimpleNamespace(**dict(zip(names, given.args, strict=False)), **given.kwargs)


CONFIG = """
encoder:
  {kind: conformer, width: 48, num_layers: 2, num_heads: 2, stem_channels: 8, kernel: 7, layer_drop: 0.1,
   dropout: 0.0, freq_width: 4, time_masks_per_s: 0.2, time_width: 8}
ctc: {batch_s: 12, cache_gb: 0.1, augment: {noise_probability: 0.2, speeds: [0.95, 1.0, 1.05]}}
trainer:
  {updates: 12, lr: 3.0e-3, evaluate_every: 4, ema_decay: 0.9, keep_checkpoints: 9, precision: float32,
   threads: 1}
"""


def run_recipe(monkeypatch: pytest.MonkeyPatch, recipe: object, *words: object) -> int:
    """Run a recipe's command line in this process; returns its exit status."""
    monkeypatch.setattr(sys, "argv", ["recipe", *map(str, words)])
    status: int = recipe.main()  # type: ignore[attr-defined]
    return status


def configure(tmp_path: Path, manifest: Path, *overrides: str) -> FinetuneConfig:
    """The small configuration with changes; its experiment is ``exp`` in ``tmp_path``."""
    (tmp_path / "conf.yaml").write_text(CONFIG)
    return load_config(
        FinetuneConfig,
        tmp_path / "conf.yaml",
        [f"manifest={manifest}", f"exp={tmp_path / 'exp'}", *overrides],
    )


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, tone_corpus: Path) -> Path:
    """The experiment folder of a model that has learned the tones."""
    folder = tmp_path_factory.mktemp("trained")
    finetune(
        configure(
            folder, tone_corpus, "trainer.updates=260", "trainer.evaluate_every=65", "trainer.ema_decay=0.95"
        )
    )
    return folder / "exp"

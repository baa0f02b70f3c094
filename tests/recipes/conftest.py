"""One small model, trained once for all the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from asr.config import load_config
from recipes.finetune_ctc import FinetuneConfig, finetune

CONFIG = """
encoder:
  {kind: conformer, width: 48, num_layers: 2, num_heads: 2, stem_channels: 8, kernel: 7, layer_drop: 0.1,
   dropout: 0.0, freq_width: 4, time_masks_per_s: 0.2, time_width: 8}
ctc: {batch_s: 12, cache_gb: 0.1, augment: {noise_probability: 0.2, speeds: [0.95, 1.0, 1.05]}}
trainer:
  {updates: 12, lr: 3.0e-3, evaluate_every: 4, ema_decay: 0.9, keep_checkpoints: 9, precision: float32,
   threads: 1}
"""


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

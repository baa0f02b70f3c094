"""Several processes: the weights of one process with the same batches in each update, and a crash survived."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from asr.card import own_folder
from asr.checkpoint import whole_checkpoints
from asr.config import load_config
from asr.encoder.conformer import ConformerConfig, ConformerEncoder
from asr.manifest import read_manifest, write_manifest
from asr.model import load_model
from asr.recipe import save_config
from asr.sharding import shard
from lm.errors import InputError
from recipes import pretrain as on_audio
from recipes import train_st
from recipes.finetune_ctc import finetune
from recipes.pretrain_siamese import PretrainConfig, pretrain
from tests.conftest import configure
from tests.st.conftest import siamese_config, st_config

ROOT = Path(__file__).parents[2]
# Dropout, masks and speeds stay on: what is drawn for a batch follows from its number.
SETTINGS = ("ctc.batch_s=6", "encoder.dropout=0.1", "trainer.updates=8", "trainer.evaluate_every=4")
AUDIO = """
encoder: {kind: conformer, width: 32, num_layers: 3, num_heads: 2, stem_channels: 8, kernel: 7, dropout: 0.1}
objective: {num_codes: 16, code_width: 16, project_width: 16, num_negatives: 8, mask_span_s: 0.12}
data: {batch_s: 6}
trainer: {updates: 4, evaluate_every: 2, precision: float32, threads: 1}
"""


Folders = tuple[Path, Path]


@pytest.fixture
def apart(tmp_path: Path) -> Folders:
    """For the training of one process and that of two."""
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    alone.mkdir()
    shared.mkdir()
    return alone, shared


def launch(
    folder: Path, manifest: Path, *overrides: str, recipe: str = "finetune_ctc"
) -> subprocess.Popen[str]:
    """The small configuration in two processes."""
    configure(folder, manifest)
    words = (f"manifest={manifest}", f"exp={folder / 'exp'}", *SETTINGS, *overrides)
    return start(folder / "conf.yaml", *words, recipe=recipe)


def start(*words: object, recipe: str) -> subprocess.Popen[str]:
    """Two processes on the CPU, as `accelerate launch` and `torchrun` start them."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone",
        "-m", f"recipes.{recipe}", *map(str, words),
    ]  # fmt: skip
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finished(process: subprocess.Popen[str]) -> str:
    """What processes printed that came to a good end."""
    output: str = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output[-2000:]
    return output


def assert_reached(exp: Path, weights: dict[str, torch.Tensor]) -> None:
    """Gradients are summed in another order, and Adam's first steps enlarge what rounding leaves."""
    found = last_weights(exp)
    assert found.keys() == weights.keys()
    assert all(torch.allclose(value, weights[name], atol=2e-4) for name, value in found.items())


def last_weights(exp: Path) -> dict[str, torch.Tensor]:
    return load_file(whole_checkpoints(exp / "checkpoints")[-1] / "weights.safetensors")


@pytest.fixture(scope="module")
def one_process(tmp_path_factory: pytest.TempPathFactory, tone_corpus: Path) -> dict[str, torch.Tensor]:
    """Weights of one process that takes two batches for each update."""
    folder = tmp_path_factory.mktemp("one")
    finetune(configure(folder, tone_corpus, *SETTINGS, "trainer.accumulate=2"))
    return last_weights(folder / "exp")


def test_two_processes_reach_the_weights_of_one(
    tmp_path: Path, tone_corpus: Path, one_process: dict[str, torch.Tensor]
) -> None:
    finished(launch(tmp_path, tone_corpus))
    assert_reached(tmp_path / "exp", one_process)


def test_two_processes_follow_skill_it_as_one_does(tmp_path: Path, apart: Folders, tone_corpus: Path) -> None:
    rows = [
        replace(row, language="b" if number % 4 == 0 else "a")
        for number, row in enumerate(read_manifest(tone_corpus))
    ]
    write_manifest(rows, tmp_path / "manifest.tsv")
    alone, shared = apart
    settings = ("ctc.mix.levels=[language]", "ctc.mix.skill_eta=2.0", "trainer.evaluate_every=2")
    finetune(configure(alone, tmp_path / "manifest.tsv", *SETTINGS, *settings, "trainer.accumulate=2"))
    finished(launch(shared, tmp_path / "manifest.tsv", *settings))
    assert_reached(shared / "exp", last_weights(alone / "exp"))
    drawn = [(folder / "exp" / "drawn.tsv").read_text() for folder in (alone, shared)]
    assert drawn[0] == drawn[1]


def test_two_processes_pre_train_with_ctc_alone_as_one_does(tmp_path: Path, tone_corpus: Path) -> None:
    settings = (*SETTINGS, "siamese.weight=0", "siamese.text={width: 32, layers: 1, heads: 2, inner: 32}")
    finished(launch(tmp_path, tone_corpus, *settings, recipe="pretrain_siamese"))
    alone = [f"manifest={tone_corpus}", f"exp={tmp_path / 'one'}", *settings, "trainer.accumulate=2"]
    pretrain(load_config(PretrainConfig, tmp_path / "conf.yaml", alone))
    assert_reached(tmp_path / "exp", last_weights(tmp_path / "one"))


@pytest.mark.parametrize("kind", ["wav2vec2", "best-rq"])
def test_two_processes_pretrain_on_audio_as_one_does(tmp_path: Path, tone_corpus: Path, kind: str) -> None:
    config = tmp_path / "conf.yaml"
    config.write_text(AUDIO)
    words = [f"manifest={tone_corpus}", f"objective.kind={kind}"]
    finished(start(config, *words, f"exp={tmp_path / 'two'}", recipe="pretrain"))
    alone = [*words, f"exp={tmp_path / 'one'}", "trainer.accumulate=2"]
    on_audio.pretrain(load_config(on_audio.PretrainConfig, config, alone))
    assert_reached(tmp_path / "two", last_weights(tmp_path / "one"))


def test_a_killed_process_stops_the_rest_and_all_go_on(
    tmp_path: Path, tone_corpus: Path, one_process: dict[str, torch.Tensor]
) -> None:
    process = launch(tmp_path, tone_corpus)
    deadline = time.monotonic() + 90
    while not whole_checkpoints(tmp_path / "exp" / "checkpoints") and time.monotonic() < deadline:
        time.sleep(0.01)
    workers = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    if workers:  # it may have ended by itself
        os.kill(int(workers[-1]), signal.SIGKILL)
    process.communicate(timeout=120)
    finished(launch(tmp_path, tone_corpus))
    assert_reached(tmp_path / "exp", one_process)


def test_a_model_divided_between_processes_reaches_the_weights_of_one(
    apart: Folders, tone_corpus: Path
) -> None:
    alone, shared = apart
    settings = ("encoder.layer_drop=0",)
    finetune(configure(alone, tone_corpus, *SETTINGS, *settings, "trainer.accumulate=4"))
    one = last_weights(alone / "exp")
    settings += ("trainer.shard=true", "trainer.accumulate=2")
    finished(launch(shared, tone_corpus, *settings))
    assert_reached(shared / "exp", one)
    assert load_model(shared / "exp" / "model").state_dict().keys() == one.keys()
    # And from the middle: what is whole in the checkpoint is divided again.
    shutil.rmtree(whole_checkpoints(shared / "exp" / "checkpoints")[-1])
    launch(shared, tone_corpus, *settings).communicate(timeout=120)
    assert_reached(shared / "exp", one)


def test_running_statistics_are_those_of_one_process(apart: Folders, tone_corpus: Path) -> None:
    alone, shared = apart
    # Each process drops layers of its own.
    sizes = (
        "hidden_size: 32, num_hidden_layers: 3, num_attention_heads: 2, intermediate_size: 48, layerdrop: 0.4, "
        "conv_dim: [16, 16, 16, 16, 16, 16, 16], num_conv_pos_embeddings: 16, num_conv_pos_embedding_groups: 4, "
        "conv_depthwise_kernel_size: 7"
    )
    settings = (
        f"encoder={{kind: wav2vec2-conformer, config: {{{sizes}}}}}", "trainer.updates=4", "trainer.lr=1e-5",
    )  # fmt: skip
    finetune(configure(alone, tone_corpus, *SETTINGS, *settings, "trainer.accumulate=2"))
    output = finished(launch(shared, tone_corpus, *settings))
    assert "2 processes; an update takes 2 batches, 1 of each" in output
    weights = last_weights(alone / "exp")
    assert any(name.endswith("running_var") for name in weights)
    assert_reached(shared / "exp", weights)


def test_an_encoder_of_transformers_is_divided_beside_an_objective(apart: Folders, tone_corpus: Path) -> None:
    alone, shared = apart
    sizes = (
        "hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 48, layerdrop: 0.0, "
        "conv_dim: [16, 16, 16, 16, 16, 16, 16], num_conv_pos_embeddings: 16, num_conv_pos_embedding_groups: 4"
    )
    settings = (
        f"encoder={{kind: wav2vec2, config: {{{sizes}}}}}", "joint.weight=0.3", "joint.objective.kind=best-rq",
        "joint.objective.num_codes=16", "trainer.updates=2", "trainer.evaluate_every=2",
    )  # fmt: skip
    best = finetune(configure(alone, tone_corpus, *SETTINGS, *settings, "trainer.accumulate=2"))
    finished(launch(shared, tone_corpus, *settings, "trainer.shard=true"))
    assert_reached(shared / "exp", last_weights(alone / "exp"))
    row = json.loads((shared / "exp" / "history.jsonl").read_text().splitlines()[-1])
    assert row["objective"] == pytest.approx(best["objective"], rel=1e-3)


@pytest.mark.parametrize("recipe", ["train_st", "pretrain_siamese"])
def test_what_translates_is_evaluated_while_it_is_divided(
    apart: Folders, tmp_path: Path, tone_corpus: Path, recipe: str
) -> None:
    rows = [replace(row, translation=row.text[::-1]) for row in read_manifest(tone_corpus)]
    write_manifest(rows, tmp_path / "manifest.tsv")
    alone, shared = apart
    trainings: dict[str, tuple[Any, Any]] = {
        "train_st": (st_config, train_st.train),
        "pretrain_siamese": (siamese_config, pretrain),
    }
    configured, train = trainings[recipe]
    config = configured(tmp_path / "manifest.tsv", alone / "exp", 2)
    train(replace(config, trainer=replace(config.trainer, evaluate_every=1, accumulate=2)))
    save_config(config, shared / "conf.yaml")
    words = (f"exp={shared / 'exp'}", "trainer.evaluate_every=1", "trainer.shard=true")
    finished(start(shared / "conf.yaml", *words, recipe=recipe))
    one, two = (
        json.loads((folder / "exp" / "history.jsonl").read_text().splitlines()[-1]) for folder in apart
    )
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)
    assert two["score"] == pytest.approx(one["score"], rel=1e-4)
    assert own_folder(shared / "exp")


def test_what_cannot_be_divided_says_so(tmp_path: Path, tone_corpus: Path) -> None:
    with pytest.raises(InputError, match=r"divides a model among processes, and there is one"):
        finetune(configure(tmp_path, tone_corpus, *SETTINGS, "trainer.shard=true"))
    with pytest.raises(InputError, match=r"no whole matrices for Muon"):
        configure(tmp_path, tone_corpus, "trainer.shard=true", "trainer.optimizer=muon")
    model = torch.nn.Sequential(ConformerEncoder(ConformerConfig(layer_drop=0.1)))
    with pytest.raises(InputError, match=r"needs every layer in every process"):
        shard(model, 2, torch.device("cpu"))

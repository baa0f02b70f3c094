"""Pretraining: it learns, it resumes to the same bits, fine-tuning goes on from it, mistakes are named."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from asr.checkpoint import whole_checkpoints
from asr.config import load_config
from asr.encoder import build_encoder
from asr.manifest import Utterance, read_manifest, write_manifest
from asr.model import load_model
from asr.pretrain.alteration import AlterConfig
from asr.pretrain.objectives import ObjectiveConfig
from lm.errors import InputError
from recipes.finetune_ctc import finetune
from recipes.pretrain import PretrainConfig, pretrain
from tests.conftest import configure

CONFIG = """
encoder: {kind: conformer, width: 32, num_layers: 3, num_heads: 2, stem_channels: 8, kernel: 7, dropout: 0.0}
objective: {num_codes: 16, code_width: 16, project_width: 16, num_negatives: 8, mask_span_s: 0.12}
data: {batch_s: 12, cache_gb: 0.1}
trainer:
  {updates: 12, lr: 3.0e-3, evaluate_every: 4, ema_decay: 0.9, keep_checkpoints: 9, precision: float32,
   threads: 1}
"""


def settings(tmp_path: Path, manifest: Path, *overrides: str) -> PretrainConfig:
    (tmp_path / "pretrain.yaml").write_text(CONFIG)
    return load_config(
        PretrainConfig,
        tmp_path / "pretrain.yaml",
        [f"manifest={manifest}", f"exp={tmp_path / 'pre'}", *overrides],
    )


def rows_of(exp: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (exp / "history.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def two_languages(tmp_path_factory: pytest.TempPathFactory, tone_corpus: Path) -> Path:
    """The tone corpus as two languages, the second with a quarter of the utterances."""
    folder = tmp_path_factory.mktemp("two")
    rows = []
    for number, row in enumerate(read_manifest(tone_corpus)):
        rows.append(
            Utterance(
                id=row.id, audio=row.audio, duration_s=row.duration_s, split=row.split,
                language="b" if number % 4 == 0 else "a",
            )
        )  # fmt: skip
    write_manifest(rows, folder / "manifest.tsv")
    return folder / "manifest.tsv"


@pytest.mark.parametrize("kind", ["wav2vec2", "w2v-bert", "best-rq", "hubert", "tera"])
def test_the_loss_on_dev_falls(tmp_path: Path, tone_corpus: Path, kind: str) -> None:
    pretrain(
        settings(
            tmp_path, tone_corpus, f"objective.kind={kind}", "trainer.updates=32", "trainer.evaluate_every=8"
        )
    )
    scores = [row["score"] for row in rows_of(tmp_path / "pre")]
    # The targets of the contrastive losses move, and random tones are hard to foresee: it need not fall for ever.
    assert min(scores[1:]) < scores[0]
    assert json.loads((tmp_path / "pre" / "model" / "loquela.json").read_text())["holds"] == "encoder"


@pytest.mark.parametrize(
    "changes",
    [
        ("objective.kind=wav2vec2",),
        ("objective.kind=w2v-bert",),
        ("objective.kind=best-rq", "trainer.optimizer=muon"),
        ("objective.kind=hubert",),
        ("objective.kind=tera",),
        ("data.mix.levels=[language]", "data.mix.temperature=[0.3]"),
        ("data.mix.levels=[language]", "data.mix.skill_eta=0.5"),
    ],
)
def test_a_resumed_run_reaches_the_same_bits(
    tmp_path: Path, two_languages: Path, changes: tuple[str, ...]
) -> None:
    exps = []
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
        config = settings(tmp_path / name, two_languages, *changes)
        pretrain(config)
        exps.append(config.exp)
    # As if the process had died between update 8 and 12: the last checkpoint is gone.
    for path in whole_checkpoints(exps[1] / "checkpoints")[-1].iterdir():
        path.unlink()
    pretrain(config)
    first, second = (whole_checkpoints(exp / "checkpoints")[-1] for exp in exps)
    assert first.name == second.name == "update_0000012"
    for name in ("weights", "ema", "optimizer"):
        one, other = load_file(first / f"{name}.safetensors"), load_file(second / f"{name}.safetensors")
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
    states = [json.loads((each / "state.json").read_text())["task"] for each in (first, second)]
    assert states[0] == states[1]


def test_kill_and_resume(tmp_path: Path, two_languages: Path) -> None:
    changes = ("data.mix.levels=[language]", "data.mix.skill_eta=0.5", "trainer.evaluate_every=2")
    settings(tmp_path, two_languages)
    command = [
        sys.executable, "-m", "recipes.pretrain", str(tmp_path / "pretrain.yaml"),
        f"manifest={two_languages}", f"exp={tmp_path / 'pre'}", *changes,
    ]  # fmt: skip
    root = Path(__file__).parents[2]
    process = subprocess.Popen(command, cwd=root, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not whole_checkpoints(tmp_path / "pre" / "checkpoints") and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert "best on dev" in done.stdout
    (tmp_path / "whole").mkdir()
    whole = settings(tmp_path / "whole", two_languages, *changes)
    pretrain(whole)
    first, second = (
        whole_checkpoints(exp / "checkpoints")[-1] / "weights.safetensors"
        for exp in (whole.exp, tmp_path / "pre")
    )
    assert all(torch.equal(value, load_file(second)[name]) for name, value in load_file(first).items())


def test_fine_tuning_takes_the_pretrained_encoder(tmp_path: Path, tone_corpus: Path) -> None:
    pretrain(settings(tmp_path, tone_corpus))
    source = f"{{kind: saved, source: {tmp_path / 'pre'}, dropout: 0.2}}"
    built = build_encoder({"kind": "saved", "source": str(tmp_path / "pre"), "dropout": 0.2})
    saved = load_file(tmp_path / "pre" / "model" / "model.safetensors")
    assert all(torch.equal(value, saved[name]) for name, value in built.state_dict().items())
    assert built.config()["dropout"] == 0.2
    finetune(
        configure(tmp_path, tone_corpus, f"encoder={source}", "trainer.updates=1", "trainer.evaluate_every=1")
    )
    assert load_model(tmp_path / "exp" / "model").encoder.width == 32
    # A recogniser's encoder can be gone on with as well.
    again = build_encoder({"kind": "saved", "source": str(tmp_path / "exp")})
    assert again.width == 32


def test_shrinking_keeps_directions_and_whatever_is_no_matrix(tmp_path: Path, tone_corpus: Path) -> None:
    pretrain(settings(tmp_path, tone_corpus, "trainer.optimizer=muon", "trainer.lr=0.1"))
    source = {"kind": "saved", "source": str(tmp_path / "pre")}
    shrunk = build_encoder({**source, "shrink": True}).state_dict()
    new = build_encoder(build_encoder(source).config()).state_dict()
    grown = 0
    for name, value in build_encoder(source).state_dict().items():
        if value.ndim != 2:
            assert torch.equal(shrunk[name], value)
            continue
        factor = shrunk[name] / value
        assert torch.allclose(factor, factor.mean(), rtol=1e-4)
        assert float(shrunk[name].norm()) <= 1.1 * float(new[name].norm())
        grown += bool(factor.mean() < 0.9)
    assert grown  # else nothing was tested


def test_continued_pretraining_takes_encoder_and_quantiser(tmp_path: Path, tone_corpus: Path) -> None:
    pretrain(settings(tmp_path, tone_corpus))
    (tmp_path / "on").mkdir()
    source = f"encoder={{kind: saved, source: {tmp_path / 'pre'}}}"
    # The quantiser's sizes come from the source, whatever the settings say.
    config = settings(
        tmp_path / "on", tone_corpus, source, "trainer.updates=1", "trainer.lr=1e-9", "objective.num_codes=99"
    )
    pretrain(config)
    before, after = (
        load_file(exp / "model" / "objective.safetensors") for exp in (tmp_path / "pre", config.exp)
    )
    assert all(torch.allclose(value, after[name], atol=1e-4) for name, value in before.items())
    with pytest.raises(InputError, match=r"pretrained with another objective.*fresh_objective=true"):
        pretrain(settings(tmp_path / "on", tone_corpus, source, "objective.kind=best-rq"))


def test_the_table_of_what_was_drawn(tmp_path: Path, two_languages: Path) -> None:
    pretrain(
        settings(
            tmp_path, two_languages, "data.mix.levels=[language]", "data.mix.temperature=[0]",
            "trainer.updates=60", "trainer.evaluate_every=60",
        )
    )  # fmt: skip
    table = [line.split("\t") for line in (tmp_path / "pre" / "drawn.tsv").read_text().splitlines()]
    assert table[0] == ["language", "hours", "share", "drawn_hours", "drawn_share"]
    assert float(table[1][2]) > 0.7
    assert float(table[1][4]) == pytest.approx(0.5, abs=0.05)


def test_a_collapse_stops_the_training_and_names_the_knob(tmp_path: Path, tone_corpus: Path) -> None:
    from asr.pretrain.objectives import Wav2Vec2
    from asr.watchdog import Watch

    watch = Watch(
        value="code_perplexity", low=1e9, meaning="the quantiser uses next to none of its codes",
        remedy="Raise objective.diversity_weight.", grace=0, patience=2,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Wav2Vec2, "watches", lambda self: [watch])
        with pytest.raises(
            InputError,
            match=r"collapsed.*for 2 evaluations code_perplexity.*diversity_weight.* in another exp",
        ):
            pretrain(settings(tmp_path, tone_corpus))
        with pytest.raises(InputError, match="had collapsed, and no checkpoint from before"):
            pretrain(settings(tmp_path, tone_corpus, "trainer.lr=1e-4"))
    assert len(rows_of(tmp_path / "pre")) == 2


def test_a_collapsed_training_goes_on_from_before_it(
    tmp_path: Path, tone_corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from asr.pretrain.objectives import BestRq
    from asr.watchdog import Watch

    # Out of bounds from the third evaluation on, which only a run of another rate escapes.
    watch = Watch(value="update", high=5, meaning="it is late", remedy="Hurry.", grace=0, patience=2)
    changes = ("objective.kind=best-rq", "trainer.evaluate_every=2", "trainer.keep_checkpoints=1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BestRq, "watches", lambda self: [watch])
        with pytest.raises(
            InputError, match=r"for 2 evaluations .* Run again, it goes on from update 4, before"
        ):
            pretrain(settings(tmp_path, tone_corpus, *changes))
        kept = [folder.name for folder in whole_checkpoints(tmp_path / "pre" / "checkpoints")]
        assert kept == ["update_0000004", "update_0000008"]
        with pytest.raises(InputError, match="for 2 evaluations"):  # and not for three
            pretrain(settings(tmp_path, tone_corpus, *changes, "trainer.lr=1e-4"))
        printed = capsys.readouterr().err
        assert "going back to update 4, before the collapse" in printed
        assert "going on from update 4 with other settings: trainer.lr: 0.003 -> 0.0001" in printed
    assert [row["update"] for row in rows_of(tmp_path / "pre")] == [2, 4, 6, 8]


def test_an_adapter_after_the_layers_is_refused(tmp_path: Path, tone_corpus: Path) -> None:
    sizes = (
        "hidden_size: 32, num_hidden_layers: 3, num_attention_heads: 2, intermediate_size: 48, "
        "output_hidden_size: 32, add_adapter: true, num_adapter_layers: 1"
    )
    encoder = f"encoder={{kind: wav2vec2-bert, config: {{{sizes}}}}}"
    for kind in ("wav2vec2", "tera"):
        with pytest.raises(InputError, match=r"Pretrain without it: encoder.config=\{add_adapter: false\}"):
            pretrain(settings(tmp_path, tone_corpus, encoder, f"objective.kind={kind}"))


def test_collapsed_codes_are_seen(
    tmp_path: Path, tone_corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A quantiser whose codes are all one, as after a collapse."""
    from asr.pretrain.quantizer import GumbelQuantizer

    def collapse(self: GumbelQuantizer, in_width: int, **sizes: int) -> None:
        original(self, in_width, **sizes)
        with torch.no_grad():
            self.weight_proj.weight.zero_()
            self.weight_proj.bias[::16] = 100.0

    original = GumbelQuantizer.__init__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GumbelQuantizer, "__init__", collapse)
        with pytest.raises(InputError, match=r"training has collapsed.*code_perplexity on dev is 2"):
            pretrain(settings(tmp_path, tone_corpus, "trainer.evaluate_every=1", "trainer.lr=1e-6"))
    assert "warning: code_perplexity" in capsys.readouterr().err


def test_short_and_silent_utterances(
    tmp_path: Path, tone_corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = read_manifest(tone_corpus)
    for name, seconds in (("short", 0.2), ("silent", 3.0)):
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(int(16_000 * seconds), np.float32), 16_000)
        rows.append(Utterance(id=name, audio=tmp_path / f"{name}.wav", duration_s=seconds, split="train"))
    write_manifest(rows, tmp_path / "manifest.tsv")
    best = pretrain(settings(tmp_path, tmp_path / "manifest.tsv"))
    assert np.isfinite(best["score"])
    assert "left out 1 utterances too short" in capsys.readouterr().err
    write_manifest([row for row in rows if row.id == "short" or row.split == "dev"], tmp_path / "short.tsv")
    with pytest.raises(InputError, match="0 training and 8 dev utterances are long enough"):
        pretrain(settings(tmp_path, tmp_path / "short.tsv"))
    with pytest.raises(InputError, match=r"when cut to data.crop_s 0.2; .* raise data.crop_s"):
        pretrain(settings(tmp_path, tone_corpus, "data.crop_s=0.2"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("data.batch_s", -5.0), ("data.batch_s", math.nan), ("data.crop_s", math.nan), ("data.cache_gb", -1.0),
        ("objective.mask_span_s", 0.0), ("objective.penalty_weight", -1000.0), ("objective.prediction_weight", -1.0),
        ("objective.diversity_weight", math.nan), ("objective.contrastive_temperature", 0.0),
    ],
)  # fmt: skip
def test_settings_out_of_bounds_are_named(tmp_path: Path, tone_corpus: Path, name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name} is {value}. Give a number"):
        settings(tmp_path, tone_corpus, f"{name}={'.nan' if math.isnan(value) else value}")


def test_a_batch_of_one_bad_file_alone_does_not_stop_the_training(
    tmp_path: Path, tone_corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "manifest.tsv"
    manifest.write_text(tone_corpus.read_text().replace("train05.wav", "lost.wav"))
    words = (
        f"corpus={tone_corpus.parent}",
        "data.batch_s=0.1",
        "trainer.updates=48",
        "trainer.evaluate_every=48",
    )
    assert pretrain(settings(tmp_path, manifest, *words, "objective.kind=tera"))["update"] == 48
    assert "left out of this batch: " in capsys.readouterr().err


def test_a_share_of_no_training_and_no_deviation_are_refused() -> None:
    with pytest.raises(InputError, match=r"objective.gumbel_share is -1.0. Give a share"):
        ObjectiveConfig(gumbel_share=-1.0)
    with pytest.raises(InputError, match=r"alter.noise_level is -3.0"):
        AlterConfig(noise_level=-3.0)


@pytest.mark.parametrize("still", ["time_share: 0", "zero_share: 0, swap_share: 0"])
def test_tera_with_nothing_to_put_right_is_refused(tmp_path: Path, tone_corpus: Path, still: str) -> None:
    alter = f"objective.alter={{frequency_share: 0, noise_probability: 0, {still}}}"
    with pytest.raises(InputError, match="alters nothing"):
        pretrain(settings(tmp_path, tone_corpus, "objective.kind=tera", alter))


@pytest.mark.parametrize("part", ["dev", "training"])
@pytest.mark.parametrize("objective", ["wav2vec2", "tera"])
def test_nothing_but_silence(tmp_path: Path, objective: str, part: str) -> None:
    rows = []
    for number in range(12):
        path = tmp_path / f"silent{number}.wav"
        sound = 0.1 if number > 8 and part == "training" else 0.0
        soundfile.write(path, sound * np.sin(np.arange(32_000, dtype=np.float32)), 16_000)
        rows.append(
            Utterance(id=path.stem, audio=path, duration_s=2.0, split="dev" if number > 8 else "train")
        )
    write_manifest(rows, tmp_path / "manifest.tsv")
    with pytest.raises(InputError, match=rf"the audio of all \d {part} utterances is silence"):
        pretrain(settings(tmp_path, tmp_path / "manifest.tsv", f"objective.kind={objective}"))


def test_an_encoder_of_another_architecture_is_refused(tmp_path: Path, tone_corpus: Path) -> None:
    pretrain(settings(tmp_path, tone_corpus, "trainer.updates=1", "trainer.evaluate_every=1"))
    source = f"encoder={{kind: saved, source: {tmp_path / 'pre'}, width: 64}}"
    (tmp_path / "on").mkdir()
    with pytest.raises(InputError, match=r"of shape .*Leave out the settings of size"):
        pretrain(settings(tmp_path / "on", tone_corpus, source))
    with pytest.raises(InputError, match=r"encoder.shrink is 'no'. Give true or false"):
        build_encoder({"kind": "saved", "source": str(tmp_path / "pre"), "shrink": "no"})
    with pytest.raises(InputError, match="holds an encoder without an output layer"):
        load_model(tmp_path / "pre" / "model")


def test_a_language_of_zero_hours_is_named_and_the_others_go_on(
    tmp_path: Path, two_languages: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = read_manifest(two_languages)
    short = tmp_path / "short.wav"
    soundfile.write(short, np.zeros(1_600, np.float32), 16_000)
    rows.append(Utterance(id="short", audio=short, duration_s=0.1, split="train", language="c"))
    write_manifest(rows, tmp_path / "three.tsv")
    pretrain(
        settings(
            tmp_path, tmp_path / "three.tsv", "data.mix.levels=[language]", "data.mix.temperature=[0]",
            "trainer.updates=1",
        )
    )  # fmt: skip
    assert "language c: 0 hours to train on; its 0.1 s are in utterances too short" in capsys.readouterr().err
    assert len((tmp_path / "pre" / "drawn.tsv").read_text().splitlines()) == 3


def test_nothing_long_enough_is_said_once(
    tmp_path: Path, tone_corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [replace(row, duration_s=0.1) for row in read_manifest(tone_corpus)]
    write_manifest(rows, tmp_path / "short.tsv")
    with pytest.raises(InputError, match="0 training and 0 dev utterances are long enough"):
        pretrain(settings(tmp_path, tmp_path / "short.tsv"))
    assert "0 hours to train on" not in capsys.readouterr().err

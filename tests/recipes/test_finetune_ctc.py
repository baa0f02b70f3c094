"""Training: it learns, it resumes to the same bits, it says what is wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from asr.checkpoint import whole_checkpoints
from asr.config import load_config
from asr.ctc import CtcConfig, CtcTask
from asr.encoder import build_encoder
from asr.encoder.saved import save_encoder
from asr.fingerprint import differences
from asr.joint import JointConfig, JointTask
from asr.manifest import Utterance, read_manifest, write_manifest
from asr.model import CTCModel, load_model, save_model
from asr.optimizers import learning_rate
from asr.pretrain.objectives import ObjectiveConfig
from asr.recipe import defaults, save_config
from asr.recogniser import RecogniserConfig, TokenizerConfig, build_recogniser
from asr.text import WRITTEN, TextPolicy
from asr.tokenizer import character_tokenizer
from asr.trainer_config import TrainerConfig
from asr.training_rows import transcribed_rows
from lm.errors import InputError
from recipes.finetune_ctc import FinetuneConfig, finetune
from recipes.pretrain_siamese import PretrainConfig, pretrain
from tests.conftest import configure

ROOT = Path(__file__).parents[2]
CTC_SHARES = ("inter_weight", "mask_start", "consistency_start", "join_probability")


def test_a_small_model_learns_the_tones(trained: Path) -> None:
    rows = [json.loads(line) for line in (trained / "history.jsonl").read_text().splitlines()]
    assert min(row["cer"] for row in rows) < 0.15
    assert load_model(trained / "model").tokenizer.surfaces == ("", " ", *"abcdef")
    assert list((trained / "tensorboard").iterdir())


def test_training_goes_on_from_a_recogniser(tmp_path: Path, trained: Path, tone_corpus: Path) -> None:
    # Its labels and its output layer, whatever the configuration says of new ones; nothing learned is lost.
    best = finetune(
        configure(
            tmp_path, tone_corpus, f"recogniser={trained}", "tokenizer.unit=piece", "trainer.updates=1",
            "trainer.lr=1e-9", "trainer.evaluate_every=1",
        )
    )  # fmt: skip
    assert load_model(tmp_path / "exp" / "model").tokenizer.surfaces == ("", " ", *"abcdef")
    rows = [json.loads(line) for line in (trained / "history.jsonl").read_text().splitlines()]
    assert best["cer"] == pytest.approx(min(row["cer"] for row in rows), abs=0.02)


def test_settings_that_a_recogniser_replaces_are_told_and_not_written_down(
    tmp_path: Path, trained: Path, tone_corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = (f"recogniser={trained}", "trainer.updates=1", "trainer.evaluate_every=1", "head_dropout=0.7")
    finetune(configure(tmp_path, tone_corpus, *changes))
    # The encoder's settings in the file are the recogniser's as well, and the rest is as it always is.
    assert "brings its own" not in capsys.readouterr().err
    # That nothing of it counts can be seen by going on.
    others = ("policy.case=keep", "tokenizer.unit=piece", "encoder.width=99", "trainer.updates=2")
    finetune(configure(tmp_path, tone_corpus, *changes, *others))
    printed = capsys.readouterr().err
    assert "brings its own encoder, policy, tokenizer; the configuration's have no effect" in printed
    assert "with other settings: trainer.updates: 1 -> 2\n" in printed
    written = load_config(FinetuneConfig, tmp_path / "exp" / "config.yaml")
    assert (written.encoder["width"], written.policy.case, written.tokenizer.unit) == (
        48,
        "lower",
        "character",
    )
    rows = read_manifest(tone_corpus)
    assert build_recogniser(written, rows, rows).dropout.p == 0.7
    assert "brings its own" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("emissions_per_frame=2", "emissions_per_frame is 2 and recogniser .* emits 1 times for each frame"),
        ("tokenizer.language_labels=true", "no label for the language xx; it has none at all"),
    ],
)
def test_what_a_recogniser_cannot_give_is_refused(
    tmp_path: Path, trained: Path, tone_corpus: Path, change: str, message: str
) -> None:
    rows = [replace(row, language="xx") for row in read_manifest(tone_corpus)]
    write_manifest(rows, tmp_path / "manifest.tsv")
    with pytest.raises(InputError, match=message):
        finetune(configure(tmp_path, tmp_path / "manifest.tsv", f"recogniser={trained}", change))


def test_a_new_language_is_refused_where_languages_have_labels(
    tmp_path: Path, tiny_model: CTCModel, tone_corpus: Path
) -> None:
    tokenizer = tiny_model.tokenizer.with_languages(["aa"])
    save_model(CTCModel(tiny_model.encoder, tokenizer), tmp_path / "model")
    rows = [
        replace(row, language="bb" if place % 2 else "aa")
        for place, row in enumerate(read_manifest(tone_corpus))
    ]
    write_manifest(rows, tmp_path / "manifest.tsv")
    with pytest.raises(InputError, match=r"no label for the language bb; it has aa\."):
        finetune(configure(tmp_path, tmp_path / "manifest.tsv", f"recogniser={tmp_path / 'model'}"))


def test_a_new_output_layer_begins_with_the_labels_that_another_knows(
    tmp_path: Path, tiny_model: CTCModel, tone_corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Other labels in another order, two emissions a frame, and a language that both open texts with.
    known = CTCModel(
        tiny_model.encoder,
        character_tokenizer(["xf b"], TextPolicy()).with_languages(["yy", "zz"]),
        per_frame=2,
    )
    save_model(known, tmp_path / "known")
    rows = [replace(row, language="zz") for row in read_manifest(tone_corpus)]
    config = replace(
        configure(tmp_path, tone_corpus, "tokenizer.language_labels=true", "emissions_per_frame=2"),
        encoder={"kind": "saved", "source": str(tmp_path / "known")},
        head_from=str(tmp_path / "known"),
    )
    model = build_recogniser(config, rows, rows)
    assert "output layer: 5 of 9 labels begin as " in capsys.readouterr().err
    assert model.tokenizer.surfaces == ("", " ", *"abcdef", "")
    waveform, size = torch.randn(1, 16_000), torch.tensor([16_000])
    with torch.inference_mode():
        own, theirs = (each.eval()(waveform, size).values for each in (model, known))
    shared = [0, 1, 3, 7, 8], [0, 1, 2, 3, 6]  # blank, space, b, f, zz
    own, theirs = (values[..., places] for values, places in zip((own, theirs), shared, strict=True))
    # Their odds against each other are what they were; the new labels take their share of all.
    torch.testing.assert_close(own - own[..., :1], theirs - theirs[..., :1])


@pytest.mark.parametrize(
    ("labels", "changes", "message"),
    [
        ("xyz", ("encoder.width=32",), "it writes none of this model's letters"),
        ("abc", ("emissions_per_frame=2",), "emits 1 times for each frame; this model has .* and 2"),
        ("abc", (), "reads width 32 .* this model has 48 and 1"),
        ("abc", ("recogniser={known}",), "which brings its own output layer"),
    ],
)
def test_an_output_layer_that_does_not_fit_is_refused(
    tmp_path: Path,
    tiny_model: CTCModel,
    tone_corpus: Path,
    labels: str,
    changes: tuple[str, ...],
    message: str,
) -> None:
    known = tmp_path / "known"
    save_model(CTCModel(tiny_model.encoder, character_tokenizer([labels], TextPolicy())), known)
    changes = tuple(change.format(known=known) for change in changes)
    with pytest.raises(InputError, match=message):
        finetune(configure(tmp_path, tone_corpus, f"head_from={known}", *changes))


@pytest.mark.parametrize("come_from", ["scratch", "weights", "weights, narrowband"])
def test_only_features_that_were_learned_are_frozen(
    tmp_path: Path, tone_corpus: Path, come_from: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = {
        "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48,
        "conv_dim": [16] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
    }  # fmt: skip
    encoder = {"kind": "wav2vec2", "config": sizes, "narrowband": "narrowband" in come_from}
    config = replace(configure(tmp_path, tone_corpus), encoder=encoder)
    if come_from != "scratch":
        save_encoder(build_encoder(encoder), tmp_path / "saved", facts={}, objective={})
        config = replace(config, encoder={"kind": "saved", "source": str(tmp_path / "saved")})
    rows = read_manifest(tone_corpus)
    model = build_recogniser(config, rows, rows).train()
    out = model(torch.randn(1, 16_000), torch.tensor([16_000]))
    out.values.square().mean().backward()
    layers: Any = model.encoder.model.feature_extractor.conv_layers  # type: ignore[union-attr]
    learning = [layer.conv.weight.grad is not None for layer in layers]
    wanted = {"scratch": 7, "weights": 0, "weights, narrowband": 2}[come_from]
    assert learning == [number < wanted for number in range(7)]
    assert ("frozen (freeze_features): " in capsys.readouterr().err) == (come_from != "scratch")


def test_a_training_is_not_gone_on_with_as_another(
    tmp_path: Path, trained: Path, tone_corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = ("trainer.updates=2", "trainer.evaluate_every=1")
    finetune(configure(tmp_path, tone_corpus, *changes))
    asked = (tmp_path / "exp" / "config.yaml").read_text()
    with pytest.raises(InputError, match=r"of a training with other settings: .*recogniser"):
        finetune(configure(tmp_path, tone_corpus, *changes, f"recogniser={trained}"))
    with pytest.raises(InputError, match=r"other settings: policy\.unicode_form: 'NFC' -> 'NFD'\. Give"):
        finetune(configure(tmp_path, tone_corpus, *changes, "policy.unicode_form=NFD"))
    with pytest.raises(InputError, match="other settings: head_from"):
        finetune(configure(tmp_path, tone_corpus, *changes, f"head_from={tmp_path / 'exp'}"))
    # It is done: nothing is trained, and what it was trained with is kept.
    finetune(configure(tmp_path, tone_corpus, *changes, "trainer.lr=0.5"))
    assert (tmp_path / "exp" / "config.yaml").read_text() == asked
    finetune(configure(tmp_path, tone_corpus, "trainer.updates=3", "trainer.evaluate_every=1"))
    assert "going on from update 2 with other settings: trainer.updates: 2 -> 3" in capsys.readouterr().err
    assert "updates: 3" in (tmp_path / "exp" / "config.yaml").read_text()
    masks = ("ctc.batch_s=6", "encoder.time_masks_per_s=0.1")
    finetune(configure(tmp_path, tone_corpus, "trainer.updates=4", "trainer.evaluate_every=1", *masks))
    assert "going on from update 3 with other settings: ctc.batch_s: 12.0 -> 6.0" in capsys.readouterr().err
    last = (tmp_path / "exp" / "history.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["epoch"] == 1


def test_what_an_earlier_version_did_not_know_is_as_it_always_was(tmp_path: Path, tone_corpus: Path) -> None:
    usual = defaults(configure(tmp_path, tone_corpus))
    old = {"encoder": {"kind": "conformer"}, "ctc": {"batch_s": 60.0}, "settings of lora": {"rank": 4}}
    new = {
        "encoder": {"kind": "conformer", "width": 176, "layer_drop": 0.1},
        "ctc": {"batch_s": 60.0, "join_max_s": 20.0, "augment": {"gain_db": 6.0}},
        "settings of lora": {"rank": 4, "dropout": usual["lora"]["dropout"]},
    }
    assert differences(old, new, usual) == {"encoder.layer_drop": (0.0, 0.1)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("trainer.warmup=5000", "They are shares of the updates"),
        ("trainer.hold=0.95", "add up to at most 1"),
        ("trainer.loader_threads=0", "loader_threads is 0. Give a number from 1"),
        ("trainer.lr=0", "lr is 0.0. Give a number above 0"),
        ("trainer.clip_norm=-1", "clip_norm is -1.0. Give a number from 0"),
        ("languages=[xx]", "languages names 'xx', of which the split 'train' of .* has no row"),
    ],
)
def test_settings_that_would_train_nothing_are_refused(
    tmp_path: Path, tone_corpus: Path, change: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        finetune(configure(tmp_path, tone_corpus, change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *((f"ctc.{name}=1.5", f"ctc.{name} is 1.5. Give a share") for name in CTC_SHARES),
        *((f"ctc.{name}=-0.1", f"ctc.{name} is -0.1. Give a share") for name in CTC_SHARES),
        ("ctc.mask_start=2000", "a share of the training, not a number of updates, from 0 to 1"),
        ("ctc.batch_s=0", "ctc.batch_s is 0.0. Give a number of seconds above 0"),
        ("ctc.batch_s=.nan", "ctc.batch_s is nan"),
        ("ctc.dev_batch_s=0", "ctc.dev_batch_s is 0.0"),
        ("ctc.join_max_s=-1", "ctc.join_max_s is -1.0"),
        ("ctc.consistency_weight=-0.2", "ctc.consistency_weight is -0.2. Give a number from 0"),
        ("ctc.cache_gb=-1", "ctc.cache_gb is -1.0"),
        ("emissions_per_frame=0", "emissions_per_frame is 0. Give a number from 1"),
        ("head_dropout=1", "head_dropout is 1.0. Give a probability below 1"),
        ("head_dropout=-0.1", "head_dropout is -0.1"),
        ("trainer.beta1=1", "trainer.beta1 is 1.0. Give a number from 0 to below 1"),
        ("trainer.beta2=-0.5", "trainer.beta2 is -0.5"),
    ],
)
def test_settings_out_of_bounds_are_named(tmp_path: Path, change: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        configure(tmp_path, tmp_path / "manifest.tsv", change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("trainer.seed=20261201123456", "trainer.seed is 20261201123456. Give a number below 2**32"),
        *(
            (f"encoder.{name}=-1", f"encoder.{name} is -1")
            for name in ("range_db", "freq_masks", "freq_width", "time_masks_per_s", "time_width")
        ),
        (
            "tokenizer.min_count=999",
            "tokenizer.min_count is 999, and no letter of the training texts comes that",
        ),
    ],
)
def test_settings_out_of_bounds_are_named_before_training(
    tmp_path: Path, tone_corpus: Path, change: str, message: str
) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        finetune(configure(tmp_path, tone_corpus, change))


@pytest.mark.parametrize(
    ("train", "settings"),
    [(finetune, FinetuneConfig), (pretrain, PretrainConfig)],
    ids=["finetune", "pretrain"],
)
def test_a_recogniser_of_rows_without_a_language_claims_none(
    tmp_path: Path, tone_corpus: Path, monkeypatch: pytest.MonkeyPatch, train: Any, settings: Any
) -> None:
    rows = [replace(row, language="tone") for row in read_manifest(tone_corpus)]
    claimed = []

    def trained(task: CtcTask, *_: Any) -> dict[str, float]:
        claimed.append(task.recogniser.languages)
        return {}

    monkeypatch.setattr(f"{train.__module__}.train_task", trained)
    for first in (rows[0], replace(rows[0], language="")):
        write_manifest([first, *rows[1:]], tmp_path / "manifest.tsv")
        written = configure(tmp_path, tmp_path / "manifest.tsv")
        values = {
            name: getattr(written, name) for name in ("exp", "manifest", "encoder", "tokenizer", "trainer")
        }
        train(settings(**values))
    assert claimed == [("tone",), ()]


def test_rows_that_are_not_learned_from_are_counted(
    tmp_path: Path, tone_corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = read_manifest(tone_corpus)
    rows[0], rows[1] = replace(rows[0], duration_s=34.0), replace(rows[1], text="")
    write_manifest(rows, tmp_path / "manifest.tsv")
    config = configure(tmp_path, tmp_path / "manifest.tsv")
    train, dev = transcribed_rows(config)
    assert (len(train), len(dev)) == (46, 8)
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "train: left out 1 of 48 rows longer than 30 s",
        "train: left out 1 of 47 rows without text",
    ]
    wanted = (
        r"all 47 training rows with text are longer than max_duration_s=0\.1\. Cut them .*, or raise it\."
    )
    with pytest.raises(InputError, match=wanted):
        transcribed_rows(replace(config, max_duration_s=0.1))


def test_other_rows_of_dev_and_other_times_of_training_rows_are_noticed(
    tmp_path: Path, tone_corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, manifest = read_manifest(tone_corpus), tmp_path / "manifest.tsv"
    write_manifest(rows[:-1], manifest)
    finetune(configure(tmp_path, manifest, "trainer.updates=1"))
    write_manifest(rows, manifest)
    assert finetune(configure(tmp_path, manifest, "trainer.updates=2"))["update"] == 2
    assert "dev is another one than before: scores begin anew" in capsys.readouterr().err
    rows[0] = replace(rows[0], duration_s=0.9 * rows[0].duration_s)
    write_manifest(rows, manifest)
    with pytest.raises(InputError, match=r"of a training with other settings: recordings\. Give"):
        finetune(configure(tmp_path, manifest, "trainer.updates=3"))


def test_half_a_configuration_does_not_stop_a_training(
    tmp_path: Path, tone_corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finetune(configure(tmp_path, tone_corpus, "trainer.updates=1"))
    written = tmp_path / "exp" / "config.yaml"
    written.write_text("encoder:\n  kind: 'confor")
    finetune(configure(tmp_path, tone_corpus, "trainer.updates=2"))
    assert "config.yaml is not YAML" in capsys.readouterr().err
    assert "updates: 2\n" in written.read_text()


def test_a_configuration_is_written_whole_or_not_at_all(tmp_path: Path, tone_corpus: Path) -> None:
    config = configure(tmp_path, tone_corpus)
    saved = tmp_path / "saved.yaml"
    save_config(config, saved)
    before = saved.read_bytes()
    code = (
        "import resource, signal, sys; from pathlib import Path; from asr.config import load_config; "
        "from asr.recipe import save_config; from recipes.finetune_ctc import FinetuneConfig; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400)); "
        "path = Path(sys.argv[1]); save_config(load_config(FinetuneConfig, path, ['trainer.lr=0.5']), path)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, saved], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "cannot be written: File too large" in done.stderr
    assert saved.read_bytes() == before


def test_a_clip_norm_of_zero_is_none(tmp_path: Path, tone_corpus: Path) -> None:
    losses = []
    for name, norm in (("none", "0"), ("high", "1e9")):
        (tmp_path / name).mkdir()
        config = configure(
            tmp_path / name,
            tone_corpus,
            f"trainer.clip_norm={norm}",
            "trainer.updates=3",
            "trainer.evaluate_every=3",
        )
        losses.append(finetune(config)["loss"])
    assert losses[0] == losses[1]


def test_a_recogniser_without_the_letters_is_refused_and_they_are_listed(
    tmp_path: Path, trained: Path, tone_corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [replace(row, text=row.text.replace("a", "ɲ")) for row in read_manifest(tone_corpus)]
    write_manifest(rows, tmp_path / "other.tsv")
    with pytest.raises(InputError, match=r"no label for .* of the training texts' characters"):
        finetune(configure(tmp_path, tmp_path / "other.tsv", f"recogniser={trained}", "trainer.updates=1"))
    assert "x ɲ (U+0272 LATIN SMALL LETTER N WITH LEFT HOOK)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        "ctc.consistency_weight=0",
        "ctc.consistency_weight=0.2",
        "ctc.join_probability=0.5",
        "trainer.optimizer=muon",
    ],
)
def test_a_resumed_run_reaches_the_same_bits(tmp_path: Path, tone_corpus: Path, change: str) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    finetune(configure(whole, tone_corpus, change))
    # As if the process had died between update 8 and 12: later checkpoints are gone.
    finetune(configure(parts, tone_corpus, change))
    for checkpoint in whole_checkpoints(parts / "exp" / "checkpoints")[2:]:
        for path in checkpoint.iterdir():
            path.unlink()
    finetune(configure(parts, tone_corpus, change))
    first, second = (whole_checkpoints(folder / "exp" / "checkpoints")[-1] for folder in (whole, parts))
    assert first.name == second.name == "update_0000012"
    for name in ("weights", "ema", "optimizer"):
        one, other = load_file(first / f"{name}.safetensors"), load_file(second / f"{name}.safetensors")
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_kill_during_training_and_resume(tmp_path: Path, tone_corpus: Path) -> None:
    configure(tmp_path, tone_corpus)
    command = [
        sys.executable, "-m", "recipes.finetune_ctc", str(tmp_path / "conf.yaml"), f"manifest={tone_corpus}",
        f"exp={tmp_path / 'exp'}", "trainer.evaluate_every=2",
    ]  # fmt: skip
    root = Path(__file__).parents[2]
    process = subprocess.Popen(command, cwd=root, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not whole_checkpoints(tmp_path / "exp" / "checkpoints") and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert whole_checkpoints(tmp_path / "exp" / "checkpoints")
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert "best on dev" in done.stdout
    whole = tmp_path / "whole"
    whole.mkdir()
    finetune(configure(whole, tone_corpus, "trainer.evaluate_every=2"))
    first, second = (
        whole_checkpoints(folder / "exp" / "checkpoints")[-1] / "weights.safetensors"
        for folder in (whole, tmp_path)
    )
    assert all(torch.equal(value, load_file(second)[name]) for name, value in load_file(first).items())


def test_control_c_saves_what_is_done(tmp_path: Path, tone_corpus: Path) -> None:
    configure(tmp_path, tone_corpus)
    command = [
        sys.executable, "-m", "recipes.finetune_ctc", str(tmp_path / "conf.yaml"), f"manifest={tone_corpus}",
        f"exp={tmp_path / 'exp'}", "trainer.updates=100000", "trainer.evaluate_every=50000",
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    seen = ""
    while "epoch 1," not in seen:  # the progress bar has reached the second epoch
        seen += process.stderr.read(64)
    process.send_signal(signal.SIGINT)
    rest = process.communicate()[1]
    assert process.returncode == 130
    assert "Traceback" not in rest
    (saved,) = whole_checkpoints(tmp_path / "exp" / "checkpoints")
    assert f"loquela: stopped; update {int(saved.name.removeprefix('update_'))} is saved" in rest


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("trainer.seed=7", "seed"),
        ("encoder.width=32", "encoder"),
        ("policy.case=keep", "labels"),
        ("trainer.optimizer=muon", "trainer.optimizer"),
    ],
)
def test_another_training_is_not_gone_on_with(
    tmp_path: Path, tone_corpus: Path, change: str, named: str
) -> None:
    upper = tmp_path / "upper.tsv"
    text = tone_corpus.read_text()
    upper.write_text("\n".join(line.replace("\tab", "\tAB") for line in text.split("\n")))
    words = ("trainer.updates=1", "trainer.evaluate_every=1", f"corpus={tone_corpus.parent}")
    finetune(configure(tmp_path, upper, *words))
    before = (tmp_path / "exp" / "config.yaml").read_text()
    with pytest.raises(InputError, match=rf"training with other .*{named}"):
        finetune(configure(tmp_path, upper, *words, change))
    assert (tmp_path / "exp" / "config.yaml").read_text() == before


def test_audio_that_is_gone_does_not_stop_the_training(
    tmp_path: Path, tone_corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tone_corpus.read_text().replace("dev03.wav", "gone.wav").replace("train05.wav", "lost.wav")
    (tmp_path / "manifest.tsv").write_text(text)
    words = (f"corpus={tone_corpus.parent}", "trainer.updates=8", "trainer.evaluate_every=8")
    best = finetune(configure(tmp_path, tmp_path / "manifest.tsv", *words))
    assert best["update"] == 8
    printed = capsys.readouterr().err
    assert "left out of dev" in printed
    assert "gone.wav" in printed
    assert "lost.wav" in printed


def test_a_batch_of_one_bad_file_alone_does_not_stop_the_training(
    tmp_path: Path, tone_corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "manifest.tsv").write_text(tone_corpus.read_text().replace("train05.wav", "lost.wav"))
    words = (
        f"corpus={tone_corpus.parent}",
        "ctc.batch_s=0.1",
        "trainer.updates=48",
        "trainer.evaluate_every=48",
    )
    assert finetune(configure(tmp_path, tmp_path / "manifest.tsv", *words))["update"] == 48
    assert "left out of this batch: " in capsys.readouterr().err


def test_a_loss_that_is_not_a_number_names_the_utterances(
    tmp_path: Path, tone_corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asr.ctc.ctc_loss", lambda emissions, *rest: emissions.sum(dim=(1, 2)) * float("nan"))
    with pytest.raises(InputError, match=r"loss is nan on the utterances train\d\d.*Lower trainer.lr"):
        finetune(configure(tmp_path, tone_corpus))


def test_texts_too_long_for_their_audio_are_left_out_and_named(
    tmp_path: Path, tone_corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = read_manifest(tone_corpus)
    short = tmp_path / "short.wav"
    soundfile.write(short, np.zeros(4_000, np.float32), 16_000)
    broken = [type(rows[0])(id="short", audio=short, duration_s=0.25, text="abcdefabcdef", split="train")]
    write_manifest([*rows, *broken], tmp_path / "manifest.tsv")
    finetune(configure(tmp_path, tmp_path / "manifest.tsv", "trainer.updates=1", "trainer.evaluate_every=1"))
    assert "left out short: 4 frames of speech, its text needs 12" in capsys.readouterr().err


def test_dev_texts_too_long_for_their_audio_have_no_loss_and_are_named_once(
    tmp_path: Path, tone_corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        replace(row, text=row.text * 50) if row.split == "dev" else row for row in read_manifest(tone_corpus)
    ]
    write_manifest(rows, tmp_path / "manifest.tsv")
    config = configure(tmp_path, tmp_path / "manifest.tsv", "trainer.updates=2", "trainer.evaluate_every=1")
    assert np.isnan(finetune(config)["loss"])
    printed = capsys.readouterr().err
    assert printed.count("left out of the loss on dev: ") == 8
    assert re.search(r"left out of the loss on dev: dev00: \d+ frames of speech, its text needs \d+", printed)


def test_dev_texts_of_which_nothing_is_left_are_refused(tmp_path: Path, tone_corpus: Path) -> None:
    rows = [replace(row, text="...") if row.split == "dev" else row for row in read_manifest(tone_corpus)]
    write_manifest(rows, tmp_path / "manifest.tsv")
    with pytest.raises(InputError, match=r"leaves nothing of any of the 8 dev texts, .* is '\.\.\.'\. Look"):
        finetune(configure(tmp_path, tmp_path / "manifest.tsv"))


@pytest.mark.parametrize("weight", [0.3, 0.0])
def test_layers_cannot_emit_where_an_adapter_makes_frames_fewer(
    tmp_path: Path, tone_corpus: Path, weight: float
) -> None:
    sizes = {
        "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48,
        "add_adapter": True, "num_adapter_layers": 1, "output_hidden_size": 32,
    }  # fmt: skip
    config = configure(
        tmp_path, tone_corpus, f"ctc.inter_weight={weight}", "trainer.updates=1", "trainer.evaluate_every=1"
    )
    config = replace(config, encoder={"kind": "wav2vec2-bert", "config": sizes}, emissions_per_frame=2)
    if weight:
        with pytest.raises(InputError, match=r"adapter makes frames fewer .* Set ctc\.inter_weight=0"):
            finetune(config)
    else:
        finetune(config)


def test_an_all_blank_model_raises_an_alarm(
    tmp_path: Path, tone_corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = (
        "trainer.updates=2",
        "trainer.evaluate_every=1",
        "ctc.blank_alarm=-1",
        "ctc.blank_alarm_after=0",
    )
    with pytest.raises(InputError, match=r"exp/model was not written: .*see the warnings"):
        finetune(configure(tmp_path, tone_corpus, "trainer.lr=1e-9", *changes))
    assert "warning: blank_ratio on dev" in capsys.readouterr().err
    assert not (tmp_path / "exp" / "model").exists()


def test_pieces_can_be_labels(tmp_path: Path, tone_corpus: Path) -> None:
    finetune(
        configure(
            tmp_path,
            tone_corpus,
            "tokenizer.unit=piece",
            "tokenizer.num_pieces=16",
            "trainer.updates=1",
            "trainer.evaluate_every=1",
        )
    )
    assert len(load_model(tmp_path / "exp" / "model").tokenizer) == 16


def test_early_stopping(tmp_path: Path, tone_corpus: Path) -> None:
    finetune(
        configure(
            tmp_path,
            tone_corpus,
            "trainer.lr=1e-12",
            "trainer.patience=2",
            "trainer.evaluate_every=1",
            "trainer.ema_decay=0",
        )
    )
    assert len((tmp_path / "exp" / "history.jsonl").read_text().splitlines()) == 3


def test_the_schedule_has_three_stages() -> None:
    config = TrainerConfig(updates=100, lr=1.0, warmup=0.1, hold=0.4, final_lr_scale=0.05)
    rates = [learning_rate(config, update) for update in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:50] == [1.0] * 41
    assert rates[75] == pytest.approx(0.05**0.5)
    assert rates[99] == pytest.approx(0.05, rel=0.07)


def test_a_model_folder_with_a_missing_or_altered_file_is_refused(
    tmp_path: Path, tiny_model: CTCModel
) -> None:
    save_model(tiny_model, tmp_path / "model", half=True)
    again = load_model(tmp_path / "model")
    noise = np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    np.testing.assert_allclose(again.emissions([noise])[0], tiny_model.emissions([noise])[0], atol=0.02)
    weights = tmp_path / "model" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(InputError, match="not the one that was saved"):
        load_model(tmp_path / "model")
    weights.unlink()
    with pytest.raises(InputError, match="missing"):
        load_model(tmp_path / "model")
    with pytest.raises(InputError, match="no such folder"):
        load_model(tmp_path / "none")


def test_languages_share_an_alphabet_and_are_mixed(tmp_path: Path, tone_corpus: Path) -> None:
    rows = [
        replace(row, language="b" if number % 4 == 0 else "a")
        for number, row in enumerate(read_manifest(tone_corpus))
    ]
    write_manifest(rows, tmp_path / "two.tsv")
    changes = (
        "tokenizer.language_labels=true", "ctc.mix.levels=[language]", "ctc.mix.temperature=[0]",
        "ctc.join_probability=0.5",
    )  # fmt: skip
    best = finetune(configure(tmp_path, tmp_path / "two.tsv", *changes))
    assert {"cer/a", "cer/b"} <= best.keys()
    tokenizer = load_model(tmp_path / "exp" / "model").tokenizer
    assert tokenizer.languages == {"a": 8, "b": 9}
    assert tokenizer.encode("ab", "b") == [9, *tokenizer.encode("ab")]
    assert tokenizer.decode(tokenizer.encode("ab c", "a")) == "ab c"


def test_a_language_that_is_trained_alone_is_selected_on_alone(tmp_path: Path, tone_corpus: Path) -> None:
    rows = [
        replace(row, language="b" if number % 4 == 0 else "a")
        for number, row in enumerate(read_manifest(tone_corpus))
    ]
    write_manifest(rows, tmp_path / "two.tsv")
    config = configure(tmp_path, tmp_path / "two.tsv", "languages=[b]", "ctc.mix.levels=[language]")
    train, dev = transcribed_rows(config)
    assert {row.language for row in train} == {row.language for row in dev} == {"b"}
    best = finetune(config)
    assert best["loss/b"] == pytest.approx(best["loss"])  # by its name, for recipes.skill_graph
    write_manifest([row for row in rows if row.split == "train" or row.language == "a"], tmp_path / "two.tsv")
    with pytest.raises(InputError, match=r"the split 'dev' of .* has no row of b, to select on"):
        transcribed_rows(config)


def test_skill_it_resumes_in_fine_tuning(tmp_path: Path, tone_corpus: Path) -> None:
    rows = [
        replace(row, language="b" if number % 4 == 0 else "a")
        for number, row in enumerate(read_manifest(tone_corpus))
    ]
    write_manifest(rows, tmp_path / "two.tsv")
    weights = []
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
        config = configure(
            tmp_path / name, tmp_path / "two.tsv", "ctc.mix.levels=[language]", "ctc.mix.skill_eta=0.8"
        )
        finetune(config)
        if name == "parts":
            for path in whole_checkpoints(config.exp / "checkpoints")[-1].iterdir():
                path.unlink()
            finetune(config)
        weights.append(load_file(whole_checkpoints(config.exp / "checkpoints")[-1] / "weights.safetensors"))
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_skill_it_moves_what_is_drawn_at_once(tmp_path: Path, tone_corpus: Path) -> None:
    rows = [
        replace(row, language="b" if number % 4 == 0 else "a")
        for number, row in enumerate(read_manifest(tone_corpus))
    ]
    write_manifest(rows, tmp_path / "two.tsv")
    # Twelve updates of one batch each: less than one epoch, as none would end by itself.
    config = configure(
        tmp_path, tmp_path / "two.tsv", "ctc.mix.levels=[language]", "ctc.mix.skill_eta=5.0",
        "ctc.batch_s=2", "trainer.evaluate_every=2",
    )  # fmt: skip
    finetune(config)
    history = [json.loads(line) for line in (config.exp / "history.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in history] == list(range(6))
    saved = json.loads((whole_checkpoints(config.exp / "checkpoints")[-2] / "state.json").read_text())
    assert saved["task"]["in_force"] == [history[-3][f"share/{name}"] for name in "ab"]
    assert saved["task"]["shares"] == [history[-2][f"share/{name}"] for name in "ab"]


def test_a_self_supervised_loss_beside_ctc(tmp_path: Path, tone_corpus: Path) -> None:
    changes = (
        "joint.weight=0.3", "joint.objective.kind=best-rq", "joint.objective.num_codes=16",
        "joint.objective.mask_span_s=0.12",
    )  # fmt: skip
    exps = []
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
        config = configure(tmp_path / name, tone_corpus, *changes)
        finetune(config)
        exps.append(config.exp)
    for path in whole_checkpoints(exps[1] / "checkpoints")[-1].iterdir():
        path.unlink()
    finetune(config)
    first, second = (
        load_file(whole_checkpoints(exp / "checkpoints")[-1] / "weights.safetensors") for exp in exps
    )
    assert any(name.startswith("objective.") for name in first)
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    # What is saved is a plain recogniser; dev tells of both.
    assert load_model(exps[0] / "model").tokenizer.surfaces == ("", " ", *"abcdef")
    rows = [json.loads(line) for line in (exps[0] / "history.jsonl").read_text().splitlines()]
    assert {"cer", "objective", "accuracy"} <= rows[-1].keys()


@pytest.mark.parametrize("unit", ["character", "piece"])
def test_labels_are_made_of_pseudo_labels_as_they_are(
    unit: Literal["character", "piece"], tmp_path: Path
) -> None:
    policy = TextPolicy(replace={"j": "x", "y": "j"})  # no j is said, so nothing writes an x
    gold = [
        Utterance(id=f"u{place}", audio=Path("u.wav"), duration_s=2.0, text=text)
        for place, text in enumerate(["yaku kay", "maya pay wasi"] * 10)
    ]
    pseudo = [replace(row, text=policy(row.text), extra={WRITTEN: policy.key}) for row in gold]
    config = RecogniserConfig(
        policy=policy,
        tokenizer=TokenizerConfig(unit=unit, num_pieces=14),
        encoder={"kind": "conformer", "width": 16, "num_layers": 1, "num_heads": 2},
    )
    model = build_recogniser(config, [*gold, *pseudo], gold)
    letters = set("".join(model.tokenizer.surfaces))
    assert "j" in letters
    assert not letters & {"x", "y"}
    save_model(model, tmp_path / "model")
    again = build_recogniser(replace(config, recogniser=tmp_path / "model"), [*gold, *pseudo], gold)
    assert again.tokenizer == model.tokenizer


def test_a_contrastive_loss_beside_ctc_cools_and_bears_short_utterances(
    tmp_path: Path, tone_corpus: Path
) -> None:
    train, dev = (read_manifest(tone_corpus, split=split)[:4] for split in ("train", "dev"))
    model = CTCModel(
        build_encoder({"kind": "conformer", "width": 16, "num_layers": 2, "num_heads": 2}),
        character_tokenizer([row.text for row in train], TextPolicy(), min_count=1),
    )
    objective = ObjectiveConfig(kind="wav2vec2", gumbel=(1.0, 0.25), gumbel_share=0.5, mask_span_s=10.0)
    task = JointTask(model, train, dev, CtcConfig(), 1, JointConfig(weight=0.5, objective=objective), {})
    out = task.step(task.model, task.load(0, task.plan(0)[0]), 0.25)
    assert torch.isfinite(out.loss)  # no utterance is as long as a span
    assert task.model.objective.quantizer.temperature == pytest.approx(0.5)  # type: ignore[union-attr]
    assert "objective" not in task.evaluate(task.model)
    assert {watch.value for watch in task.watches()} > {"blank_ratio", "code_perplexity"}
    # What is new learns while the encoder is frozen, and is no hidden matrix for Muon.
    names = {id(parameter): name for name, parameter in task.model.named_parameters()}
    heads = [names[id(parameter)] for parameter in task.head_parameters()]
    assert sorted(heads) == sorted(name for name in names.values() if ".encoder." not in name)
    assert "objective.quantizer.weight_proj.weight" in heads


def test_dev_batches_without_a_masked_frame_say_nothing_of_the_objective(
    tmp_path: Path, tone_corpus: Path
) -> None:
    rows = read_manifest(tone_corpus)
    soundfile.write(tmp_path / "short.wav", 0.1 * np.random.default_rng(0).standard_normal(4_000), 16_000)
    rows.append(replace(rows[-1], id="short", audio=tmp_path / "short.wav", duration_s=0.25, text="ab"))
    write_manifest(rows, tmp_path / "manifest.tsv")
    finetune(
        configure(
            tmp_path, tmp_path / "manifest.tsv", "joint.weight=0.3", "joint.objective.mask_span_s=0.3",
            "joint.objective.num_codes=16", "ctc.dev_batch_s=0.4", "trainer.evaluate_every=1",
            "trainer.updates=6",
        )
    )  # fmt: skip
    for line in (tmp_path / "exp" / "history.jsonl").read_text().splitlines():
        assert all(np.isfinite(value) for value in json.loads(line).values())

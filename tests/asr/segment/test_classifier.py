"""The classifier of frames: its targets, its windows, its training, its folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from shutil import copytree, rmtree

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings, strategies
from safetensors.torch import load_file

from asr.arrays import FloatArray
from asr.checkpoint import whole_checkpoints
from asr.cli import main
from asr.config import load_config
from asr.encoder import build_encoder
from asr.encoder.conformer import ConformerConfig, ConformerEncoder
from asr.frames import FrameGrid
from asr.manifest import Utterance, read_manifest, write_manifest
from asr.model import load_model
from asr.segment import PdacConfig, build_segmenter
from asr.segment.classified import classified_track
from asr.segment.classifier import FrameClassifier, load_classifier, pack_classifier, save_classifier
from asr.segment.task import Recording, SegmenterTask, WindowConfig, frame_targets, recordings
from lm.errors import InputError
from recipes.train_segmenter import SegmenterRecipe, train_segmenter
from tests.asr.segment.sounds import RATE, check, lay, silence, speech

GRID = FrameGrid(hop_samples=1600, window_samples=1600)  # ten frames a second

CONFIG = """
encoder: {kind: conformer, width: 32, num_layers: 2, num_heads: 2, stem_channels: 8, kernel: 7, dropout: 0.0}
classifier: {frozen: false, num_layers: 0}
windows: {window_s: 4, jitter_s: 1, batch: 4, cache_gb: 0.1}
trainer:
  {updates: 60, lr: 3.0e-3, evaluate_every: 15, ema_decay: 0.9, keep_checkpoints: 9, precision: float32, threads: 1}
"""


def small(seed: int = 0, *, frozen: bool = True, num_layers: int = 1) -> FrameClassifier:
    torch.manual_seed(seed)
    encoder = ConformerEncoder(
        ConformerConfig(width=32, num_layers=2, num_heads=2, stem_channels=8, kernel=7)
    )
    return FrameClassifier(encoder, num_layers=num_layers, num_heads=2, frozen=frozen).eval()


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recordings of speech with pauses, as a manifest of their segments."""
    folder = tmp_path_factory.mktemp("talks")
    rows = []
    for number in range(3):
        rng = np.random.default_rng(number)
        parts, place = [], 0.0
        for turn in range(8):
            pause, length = (round(float(rng.uniform(*span)), 3) for span in ((0.5, 1.2), (0.8, 2.0)))
            parts += [silence(pause), speech(length, turn)]
            rows.append(
                Utterance(
                    id=f"{number}-{turn}",
                    audio=folder / f"{number}.wav",
                    offset_s=place + pause,
                    duration_s=length,
                    split="dev" if number == 2 else "train",
                )
            )
            place += pause + length
        soundfile.write(folder / f"{number}.wav", lay(*parts, silence(0.7)), RATE)
    write_manifest(rows, folder / "manifest.tsv")
    return folder / "manifest.tsv"


def recipe(tmp_path: Path, manifest: Path, *overrides: str) -> SegmenterRecipe:
    (tmp_path / "segmenter.yaml").write_text(CONFIG)
    return load_config(
        SegmenterRecipe,
        tmp_path / "segmenter.yaml",
        [f"manifest={manifest}", f"exp={tmp_path / 'exp'}", *overrides],
    )


@pytest.fixture(scope="module")
def trained(talks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment folder."""
    config = recipe(tmp_path_factory.mktemp("trained"), talks)
    best = train_segmenter(config)
    assert best["recall"] > 0.95
    assert best["precision"] > 0.9
    return config.exp


@pytest.mark.parametrize("other", ["dev", "test"])
def test_a_recording_of_two_splits_is_refused(tmp_path: Path, talks: Path, other: str) -> None:
    """What another split has of it would be taken for silence."""
    rows = read_manifest(talks)
    write_manifest([replace(rows[0], split=other), *rows[1:]], tmp_path / "manifest.tsv")
    wanted = (
        rf"0\.wav: its segments are in the splits {', '.join(sorted((other, 'train')))}, and .*--split-by"
    )
    with pytest.raises(InputError, match=wanted):
        train_segmenter(recipe(tmp_path, tmp_path / "manifest.tsv"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("num_heads=0", "num_heads is 0. Give a number from 1"),
        ("num_layers=-2", "num_layers is -2. Give a number from 0"),
        ("layer=-1", "layer is -1. Give a number from 0"),
        ("dropout=1.5", "dropout is 1.5. Give a probability below 1"),
    ],
)
def test_settings_out_of_bounds_are_named(tmp_path: Path, talks: Path, change: str, message: str) -> None:
    with pytest.raises(InputError, match=f"classifier.{message}"):
        recipe(tmp_path, talks, f"classifier.{change}")


def test_a_segmenter_is_no_recogniser(trained: Path) -> None:
    with pytest.raises(
        InputError, match=r"holds a segmenter, not a recogniser\. Give it as --segmenter-model"
    ):
        load_model(trained / "model")


def test_targets_are_1_inside_segments_and_0_where_two_touch() -> None:
    spans = np.array([[0.3, 1.0], [1.0, 1.5], [1.8, 2.4], [2.2, 2.6]])
    expected = [0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0]
    np.testing.assert_array_equal(frame_targets(spans, 0.0, 28, GRID), expected)
    # The same from a window that begins within the recording.
    np.testing.assert_array_equal(frame_targets(spans, 0.7, 21, GRID), expected[7:])


@pytest.mark.parametrize(("window_s", "count"), [(9.0, 2), (5.0, 3), (4.0, 3), (40.0, 1)])
def test_windows_leave_nothing_of_a_recording_out(window_s: float, count: int) -> None:
    row = Utterance(id="0", audio=Path("0.wav"), duration_s=12.0)
    found = [Recording(row, np.array([[1.0, 2.0]]))]
    windows = SegmenterTask(small(), found, found, WindowConfig(window_s=window_s), seed=1).windows
    assert len(windows) == count
    heard = 0.0
    for _, start, length in windows:
        assert start <= heard + 1e-9
        heard = start + length
    assert heard == pytest.approx(12.0)


def test_a_batch_of_a_bad_recording_alone_gives_way_to_another(
    talks: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = recordings(read_manifest(talks), 0.1)
    task = SegmenterTask(small(), found[:2], found[2:], WindowConfig(window_s=4), seed=1)
    stretch = task.cache.stretch

    def unlucky(utterance: Utterance, start_s: float, duration_s: float) -> FloatArray:
        if utterance.id == "0":
            raise InputError("0.wav: Input/output error.")
        return stretch(utterance, start_s, duration_s)

    item = [(place, index) for place, index in task.plan(0)[0] if task.windows[index][0] is found[0]]
    monkeypatch.setattr(task.cache, "stretch", unlucky)
    ids = task.load(0, item).ids
    assert len(ids) == 1
    assert ids[0].startswith("1 at ")
    assert ids == task.load(0, item).ids
    assert "left out of this batch: 0.wav" in capsys.readouterr().err


def test_a_manifest_becomes_recordings_without_the_shortest_rows(
    talks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = read_manifest(talks)
    short = Utterance(id="short", audio=rows[0].audio, offset_s=0.1, duration_s=0.05, split="train")
    missing = Utterance(id="missing", audio=talks.parent / "none.wav", duration_s=1.0, split="train")
    found = recordings([short, missing, *reversed(rows)], 0.1)
    assert [len(each.segments) for each in found] == [8, 8, 8]
    assert (np.diff(found[0].segments[:, 0]) > 0).all()
    assert found[0].whole.duration_s == pytest.approx(soundfile.info(str(found[0].whole.audio)).duration)
    assert "none.wav" in capsys.readouterr().err
    with pytest.raises(InputError, match="no recording of the manifest can be read"):
        recordings([missing], 0.1)


@pytest.mark.parametrize("kind", ["conformer", "wav2vec2", "wav2vec2-bert"])
def test_an_encoder_cut_short_gives_its_last_layer(kind: str) -> None:
    settings_of = {
        "conformer": {"width": 32, "num_layers": 3, "num_heads": 2, "stem_channels": 8},
        "wav2vec2": {
            "config": {
                "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64,
                "conv_dim": [16] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
                "do_stable_layer_norm": True, "feat_extract_norm": "layer",
            }
        },
        "wav2vec2-bert": {
            "config": {
                "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 64,
                "add_adapter": False,
            }
        },
    }  # fmt: skip
    torch.manual_seed(0)
    encoder = build_encoder({"kind": kind, **settings_of[kind]}).eval()
    waveform = 0.1 * torch.randn(1, RATE)
    wanted = encoder(waveform, torch.tensor([RATE]), (2,)).layers[2]
    encoder.keep_layers(2)
    again = build_encoder(encoder.config()).eval()
    again.load_state_dict(encoder.state_dict())
    for each in (encoder, again):
        assert (each.num_layers, len(each.blocks())) == (2, 2)
        torch.testing.assert_close(each(waveform, torch.tensor([RATE]), (2,)).layers[2], wanted)
    with pytest.raises(InputError, match="has 2 layers; got 3"):
        encoder.keep_layers(3)


def test_a_frozen_encoder_neither_learns_nor_drops() -> None:
    model = small()
    model.train()
    assert not any(module.training for module in model.encoder.modules())
    odds, _ = model(0.1 * torch.randn(2, RATE), torch.tensor([RATE, RATE]))
    odds.sum().backward()
    assert all(parameter.grad is None for parameter in model.encoder.parameters())
    assert model.head.weight.grad is not None


def test_padding_and_batch_change_nothing() -> None:
    model = small()
    waveforms = 0.1 * torch.randn(2, 2 * RATE)
    waveforms[1, RATE:] = 0
    together, frames = model(waveforms, torch.tensor([2 * RATE, RATE]))
    alone, _ = model(waveforms[1:, :RATE], torch.tensor([RATE]))
    torch.testing.assert_close(together[1, : frames[1]], alone[0], atol=1e-5, rtol=1e-5)


def probabilities(model: FrameClassifier, waveform: FloatArray, start: int, end: int) -> FloatArray:
    """What a window says of its frames, those at its end from zeros where the window has no more."""
    frames = -(-(end - start) // 640)
    held = np.zeros((frames - 1) * 640 + model.grid.window_samples, np.float32)
    held[: min(end - start, len(held))] = waveform[start:end][: len(held)]
    with torch.inference_mode():
        odds, _ = model(torch.from_numpy(held)[None], torch.tensor([len(held)]))
    return odds[0].sigmoid().numpy()


@settings(max_examples=12, deadline=None)
@given(
    samples=strategies.integers(1, 6 * RATE),
    step_s=strategies.sampled_from([0.6, 1.0, 2.0]),
    cuts=strategies.lists(strategies.integers(1, 3 * RATE), max_size=4),
)
def test_a_track_is_the_weighted_mean_of_its_windows_however_the_stream_is_cut(
    samples: int, step_s: float, cuts: list[int]
) -> None:
    model = small()
    waveform = (0.1 * np.random.default_rng(samples).standard_normal(samples)).astype(np.float32)
    track = classified_track(model, window_s=2.0, step_s=step_s)
    step, window = (round(seconds * RATE) // 640 * 640 for seconds in (step_s, 2.0))
    starts = [*range(0, max(0, samples - window), step), -(-max(0, samples - window) // 640) * 640]
    frames = -(-samples // 640)
    sums, weights = np.zeros(frames), np.zeros(frames)
    for start in starts:
        found = probabilities(model, waveform, start, min(samples, start + window))
        weight = np.minimum(np.arange(len(found)) + 0.5, len(found) - np.arange(len(found)) - 0.5)
        place = slice(start // 640, start // 640 + len(found))
        sums[place] += weight * found
        weights[place] += weight

    def chunks() -> Iterator[FloatArray]:
        rest = waveform
        for cut in cuts:
            yield rest[:cut]
            rest = rest[cut:]
        yield rest

    got = np.concatenate(list(track(chunks())))
    np.testing.assert_allclose(got, sums / weights, atol=1e-5)
    np.testing.assert_array_equal(got, np.concatenate(list(track([waveform]))))


def test_nothing_is_heard_in_an_empty_recording() -> None:
    assert list(classified_track(small())([np.zeros(0, np.float32)])) == []


def test_a_trained_classifier_finds_the_pauses(trained: Path, talks: Path) -> None:
    rows = read_manifest(talks, split="dev")
    waveform, _ = soundfile.read(rows[0].audio, dtype="float32")
    segmenter = build_segmenter(PdacConfig(max_segment_s=3.0), trained)
    found = list(segmenter([waveform]))
    check(waveform, found, 3.0)
    # Each segment of the manifest is in one that was found, to within two frames.
    for row in rows:
        assert any(
            segment.start - 0.08 <= row.offset_s and row.offset_s + row.duration_s <= segment.end + 0.08
            for segment, _ in found
        ), row.id
    assert len(found) >= len(rows) / 2


def test_a_run_that_was_stopped_reaches_the_same_weights(tmp_path: Path, talks: Path, trained: Path) -> None:
    config = recipe(tmp_path, talks)
    copytree(trained, config.exp)
    for checkpoint in whole_checkpoints(config.exp / "checkpoints"):
        if "30" not in checkpoint.name:
            rmtree(checkpoint)
    rmtree(config.exp / "model")
    train_segmenter(config)
    wanted = load_file(trained / "model" / "model.safetensors")
    for name, value in load_file(config.exp / "model" / "model.safetensors").items():
        torch.testing.assert_close(value, wanted[name], rtol=0, atol=0)


def test_a_packed_classifier_is_half_as_large_and_says_the_same(tmp_path: Path) -> None:
    model = small()
    save_classifier(model, tmp_path / "full", facts={"note": 1})
    pack_classifier(tmp_path / "full", tmp_path / "half")
    full, half = ((tmp_path / name / "model.safetensors").stat().st_size for name in ("full", "half"))
    assert half < 0.6 * full
    waveform = 0.1 * torch.randn(1, RATE)
    wanted, _ = model(waveform, torch.tensor([RATE]))
    got, _ = load_classifier(tmp_path / "half")(waveform, torch.tensor([RATE]))
    torch.testing.assert_close(got, wanted, atol=2e-2, rtol=1e-2)
    with pytest.raises(InputError, match=r"holds .*Give another folder"):
        pack_classifier(tmp_path / "full", tmp_path / "full")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(InputError, match="is no model folder, so it is kept"):
        pack_classifier(tmp_path / "full", tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_the_command_takes_a_trained_classifier(
    trained: Path, talks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = str(talks.parent / "2.wav")
    assert main(["segment", recording, "--segmenter", "pdac", "--segmenter-model", str(trained)]) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 1
    assert main(["segment", recording, "--segmenter-model", str(trained)]) == 1
    assert "--segmenter vad has none" in capsys.readouterr().err
    assert main(["segment", recording, "--segmenter", "pdac", "--segmenter-model", str(talks.parent)]) == 1
    assert "no loquela.json" in capsys.readouterr().err


def test_mistakes_are_named(tmp_path: Path, talks: Path) -> None:
    whole = [
        Utterance(id=f"whole{number}", audio=row.audio, duration_s=60.0, split=row.split)
        for number, row in enumerate(read_manifest(talks))
    ]
    write_manifest(whole, tmp_path / "whole.tsv")
    with pytest.raises(InputError, match="all of the training frames lie inside a segment"):
        train_segmenter(recipe(tmp_path, tmp_path / "whole.tsv"))
    with pytest.raises(InputError, match="a change of speed moves the segments"):
        recipe(tmp_path, talks, "windows.augment.speeds=[0.9,1.0]")
    with pytest.raises(InputError, match=r"windows\.mix\.skill_eta: a classifier has no losses by group"):
        recipe(tmp_path, talks, "windows.mix.levels=[language]", "windows.mix.skill_eta=0.5")
    with pytest.raises(InputError, match="num_heads is 5"):
        train_segmenter(recipe(tmp_path, talks, "classifier.num_layers=1", "classifier.num_heads=5"))
    with pytest.raises(InputError, match="has 2 layers; got 4"):
        train_segmenter(recipe(tmp_path, talks, "classifier.layer=4"))

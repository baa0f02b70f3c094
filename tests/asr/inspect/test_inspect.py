"""Reading an encoder: each measure against a case whose answer is known, and the command."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from asr.cli import main
from asr.encoder import EncoderOutput, build_encoder
from asr.encoder.saved import save_encoder
from asr.frames import FrameGrid
from asr.inspect.attention import attention_spans
from asr.inspect.codes import code_usage, perplexity, similarity
from asr.inspect.plots import heatmap
from asr.inspect.probes import chance, probe_accuracy
from asr.inspect.reading import Heard, frame_features, open_pretrained
from asr.manifest import read_manifest, write_manifest
from asr.model import Emissions
from lm.errors import InputError
from recipes.pretrain import pretrain
from tests.recipes.test_pretrain import settings

SMALL: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
}  # fmt: skip
WAVES = {**SMALL, "conv_dim": [16] * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
KINDS: dict[str, dict[str, Any]] = {
    "conformer": {"kind": "conformer", "width": 32, "num_layers": 2, "num_heads": 2, "stem_channels": 8},
    "wav2vec2": {"kind": "wav2vec2", "config": WAVES},
    "hubert": {"kind": "hubert", "config": WAVES},
    "wav2vec2-bert": {"kind": "wav2vec2-bert", "config": SMALL},
    # Their attention is at the layers' rate, and what they give at their adapter's.
    "wav2vec2, adapter": {
        "kind": "wav2vec2",
        "config": {**WAVES, "add_adapter": True, "num_adapter_layers": 2},
    },
    "wav2vec2-bert, adapter": {
        "kind": "wav2vec2-bert",
        "config": {**SMALL, "add_adapter": True, "output_hidden_size": 32},
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_attention_weights_sum_to_one_and_leave_padding_out(kind: str) -> None:
    encoder = build_encoder(KINDS[kind]).eval()
    waveforms, num_samples = torch.randn(2, 32_000), torch.tensor([32_000, 16_000])
    waveforms[1, 16_000:] = 0
    with torch.no_grad():
        weights, num_frames = encoder.attentions(waveforms, num_samples)
    assert len(weights) == encoder.num_layers
    frames = int(num_frames[1])
    for layer in weights:
        assert torch.allclose(layer[0].sum(dim=-1), torch.ones(()), atol=1e-4)
        assert float(layer[1, :, :frames, frames:].max()) < 1e-6
    spans = attention_spans(encoder, [(waveforms, num_samples)])
    # Of random weights attention is nearly uniform: a third of the length, 2 s and 1 s weighted by frames.
    assert spans.shape == (2, 2)
    assert float(spans.mean()) == pytest.approx((2 * 2 + 1 * 1) / 3 / 3, rel=0.25)


def test_a_probe_finds_what_is_there_and_nothing_where_nothing_is() -> None:
    generator = np.random.default_rng(0)
    labels, units = np.repeat([0, 1, 2], 40), np.arange(120)
    noise = generator.standard_normal((120, 8))
    told = noise.copy()
    told[:, 3] += 6 * (labels == 1)
    told[:, 5] += 6 * (labels == 2)
    assert probe_accuracy(told, labels, units) > 0.95
    assert probe_accuracy(noise, labels, units) < 0.5
    assert chance(labels) == pytest.approx(1 / 3)
    # Frames of one utterance are never on both sides: an utterance's own mark helps nobody.
    marks = np.eye(12)[np.repeat(np.arange(12), 10)]
    arbitrary = np.repeat(generator.permutation([0, 1] * 6), 10)
    assert probe_accuracy(marks, arbitrary, np.repeat(np.arange(12), 10)) < 0.7
    with pytest.raises(InputError, match="needs two classes"):
        probe_accuracy(noise, np.zeros(120, np.int64), units)


class Clock(torch.nn.Module):
    """An encoder whose only feature is the second in the middle of a frame, or a recogniser that writes its number."""

    num_layers = 1
    tokenizer = SimpleNamespace(surfaces=["a"] * 1000)

    def __init__(self, grid: FrameGrid, *, writes: bool = False, shortened: int = 1) -> None:
        super().__init__()
        self.layer_grid, self.writes = grid, writes
        self.grid = replace(grid, hop_samples=grid.hop_samples * shortened)

    def forward(
        self, waveforms: torch.Tensor, num_samples: torch.Tensor, layers: tuple[int, ...] = ()
    ) -> Any:
        num_frames = torch.tensor([self.layer_grid.num_frames(count) for count in num_samples.tolist()])
        numbers = torch.arange(int(num_frames.max())).expand(len(num_frames), -1)
        if self.writes:
            return Emissions(torch.nn.functional.one_hot(numbers, 1000), num_frames)
        grid = self.layer_grid
        middles = (grid.start_s(0) + (numbers + 0.5) * grid.frame_s).double()[..., None]
        left = torch.tensor([self.grid.num_frames(count) for count in num_samples.tolist()])
        return EncoderOutput(middles[:, : int(left.max())], left, dict.fromkeys(layers, middles))


@pytest.mark.parametrize(("window", "shortened"), [(400, 1), (560, 1), (400, 4)])
@pytest.mark.parametrize(
    "grid",
    [
        FrameGrid(hop_samples=320, window_samples=400),
        FrameGrid(hop_samples=640, window_samples=1360),
        FrameGrid(hop_samples=640, window_samples=1360).split(2),
    ],
)
def test_a_letter_is_read_where_the_recogniser_heard_it(
    grid: FrameGrid, window: int, shortened: int, tone_corpus: Path
) -> None:
    encoder: Any = Clock(FrameGrid(hop_samples=320, window_samples=window), shortened=shortened)
    recogniser: Any = Clock(grid, writes=True)
    heard = Heard(groups={"": read_manifest(tone_corpus, split="dev")[:4]}, grid=encoder.grid)
    (middles,), numbers, _ = frame_features(encoder, recogniser, heard)
    wanted = grid.start_s(0) + (numbers + 0.5) * grid.frame_s
    assert len(numbers) > 40
    assert np.abs(middles[:, 0] - wanted).max() <= 0.01 + 1e-6  # half a frame


def test_similarity_of_codes() -> None:
    one, other = np.array([[0.5, 0.5, 0, 0]]), np.array([[0, 0, 0.5, 0.5]])
    assert similarity(one, one) == pytest.approx(1)
    assert similarity(one, other) == pytest.approx(0)
    assert similarity(one, (one + other) / 2) == pytest.approx(1 - 0.311, abs=1e-3)
    assert perplexity(one) == pytest.approx(2)
    # Two codebooks, one of them collapsed: what they use is added, what they share is averaged.
    healthy, collapsed = np.full(320, 1 / 320), np.eye(320)[0]
    assert perplexity(np.stack([healthy, collapsed])) == pytest.approx(321)
    assert similarity(np.stack([healthy, np.eye(320)[1]]), np.stack([healthy, collapsed])) == pytest.approx(
        0.5
    )


def test_the_codes_of_a_published_wav2vec2(tmp_path: Path) -> None:
    sizes = {"codevector_dim": 16, "proj_codevector_dim": 16, "num_codevectors_per_group": 20}
    theirs: Any = transformers.Wav2Vec2ForPreTraining(transformers.Wav2Vec2Config(**WAVES, **sizes))
    theirs.save_pretrained(tmp_path / "pretrained")
    model = open_pretrained(tmp_path / "pretrained")
    assert torch.equal(model.objective.quantizer.codevectors, theirs.quantizer.codevectors)
    (usage,) = code_usage(model, [("a", torch.randn(1, 16_000), torch.tensor([16_000]))]).values()
    assert usage.shape == (2, 20)
    assert usage.sum(axis=1) == pytest.approx(1)
    theirs.wav2vec2.save_pretrained(tmp_path / "without")
    with pytest.raises(InputError, match=r"without holds no objective\. Give .* or a published wav2vec 2\.0"):
        open_pretrained(tmp_path / "without")


def test_the_command(
    tmp_path: Path, tone_corpus: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        replace(row, language="b" if number % 2 else "a")
        for number, row in enumerate(read_manifest(tone_corpus))
    ]
    write_manifest(rows, tmp_path / "two.tsv")
    pretrain(settings(tmp_path, tmp_path / "two.tsv", "trainer.updates=2", "trainer.evaluate_every=2"))
    out = tmp_path / "seen"
    words = ["--split", "train", "--out", str(out), "--recogniser", str(trained)]
    assert main(["inspect", str(tmp_path / "pre"), str(tmp_path / "two.tsv"), *words]) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "attention.png", "attention.tsv", "codes.png", "codes.tsv", "probes.png", "probes.tsv",
    ]  # fmt: skip
    assert capsys.readouterr().err.count("left out") == 0
    table = [line.split("\t") for line in (out / "probes.tsv").read_text().splitlines()]
    letters = [float(row[2]) for row in table if row[0] == "letters"]
    assert len(letters) == 3
    assert max(letters) > 2 * float(table[-1][3])  # tones are told apart by any filterbank
    # A recogniser has no codes, and one language cannot be told from another: said, the rest is done.
    assert main(["inspect", str(trained), str(tone_corpus), "--no-plots", "--out", str(tmp_path / "o")]) == 0
    said = capsys.readouterr().err
    assert "left out: codes: " in said
    assert "left out: probe of language: there is one group alone" in said


@pytest.fixture
def untrained(tmp_path: Path) -> Path:
    """The folder of a small encoder."""
    torch.manual_seed(0)
    save_encoder(build_encoder(KINDS["conformer"]), tmp_path / "encoder", facts={}, objective={})
    return tmp_path / "encoder"


def test_audio_that_gives_nothing_is_told_once_and_the_rest_is_heard(
    tmp_path: Path, tone_corpus: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        replace(row, language="ab"[number % 2])
        for number, row in enumerate(read_manifest(tone_corpus, split="dev"))
    ]
    rows[2:2] = [
        replace(rows[0], id="gone", audio=tmp_path / "gone.wav"),
        replace(rows[0], id="short", duration_s=0.001),
    ]
    write_manifest(rows, tmp_path / "some.tsv")
    out = tmp_path / "seen"
    words = ["inspect", str(untrained), str(tmp_path / "some.tsv"), "--out", str(out), "--no-plots"]
    assert main(words) == 1
    told = capsys.readouterr()
    assert told.out.splitlines() == [str(out / "attention.tsv"), str(out / "probes.tsv")]
    assert told.err.count("gone.wav") == 1
    assert told.err.count("short: 0.001 s is too short") == 1
    probes = (out / "probes.tsv").read_text()
    assert probes.count("language") == 2
    # The tables of an earlier run are not this one's.
    write_manifest([row for row in rows if row.id in ("gone", "short")], tmp_path / "none.tsv")
    assert main([*words[:2], str(tmp_path / "none.tsv"), *words[3:]]) == 1
    told = capsys.readouterr()
    assert not told.out
    assert "left out: attention: the audio of no utterance can be used" in told.err
    assert (out / "probes.tsv").read_text() == probes


def test_a_recogniser_that_was_named_and_is_none_is_an_error(
    tmp_path: Path, tone_corpus: Path, untrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--out", str(tmp_path / "seen"), "--no-plots", "--recogniser", str(untrained)]
    assert main(["inspect", str(untrained), str(tone_corpus), *words]) == 1
    assert "is no recogniser" in capsys.readouterr().err
    assert not (tmp_path / "seen").exists()


def test_plots_without_matplotlib_name_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"pip install 'loquela\[plots\]'"):
        heatmap(np.eye(2), ["a", "b"], ["a", "b"], "t", "l", tmp_path / "x.png")

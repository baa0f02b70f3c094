"""Against fairseq2's own classes, which live in an environment of their own: `make test-fairseq2`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import torch

from asr.encoder.convert import convert
from asr.encoder.export import CtcHead
from asr.encoder.fairseq import FairseqFile, load_fairseq
from asr.encoder.transformers_encoder import TransformersEncoder

PYTHON = os.environ.get("FAIRSEQ2_PYTHON", "")
KINDS = ("base", "large", "ctc")

pytestmark = pytest.mark.skipif(not PYTHON, reason="FAIRSEQ2_PYTHON is not set; run `make test-fairseq2`")


def peer(*arguments: str | Path) -> None:
    command = [PYTHON, str(Path(__file__).with_name("peer.py")), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr[-2000:]


def compare(
    encoder: TransformersEncoder, head: torch.nn.Linear | None, theirs: dict[str, torch.Tensor]
) -> None:
    """Our outputs, of both utterances in one padded batch, equal theirs of each alone."""
    audio = [theirs["audio0"], theirs["audio1"]]
    waveforms = torch.nn.utils.rnn.pad_sequence(audio, batch_first=True)
    with torch.inference_mode():
        out = encoder.eval()(waveforms, torch.tensor([len(each) for each in audio]))
        ours = head(out.hidden) if head else out.hidden
    for number, frames in enumerate(out.num_frames.tolist()):
        expected = theirs[f"{'logits' if head else 'hidden'}{number}"]
        assert len(expected) == frames
        torch.testing.assert_close(ours[number, :frames], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_of_fairseq2_says_the_same_here(kind: str, tmp_path: Path) -> None:
    peer("make", kind, tmp_path)
    loaded = load_fairseq(tmp_path / "model.pt")
    assert (loaded.head is not None) == (kind == "ctc")
    compare(loaded.encoder, loaded.head, torch.load(tmp_path / "outputs.pt", weights_only=True))
    if kind != "ctc":
        shapes = {
            name: tuple(value.shape) for name, value in FairseqFile(tmp_path / "model.pt").objective().items()
        }
        assert shapes["quantizer.codevectors"] == (1, 16, 8)
        assert shapes["project_hid.weight"] == (24, 128)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_converted_says_the_same_in_fairseq2(kind: str, tmp_path: Path) -> None:
    peer("make", kind, tmp_path)
    loaded = load_fairseq(tmp_path / "model.pt")
    with torch.no_grad():  # other weights than those that fairseq2 would make by itself
        for parameter in loaded.encoder.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    head = CtcHead(loaded.head) if loaded.head else None
    convert(loaded.encoder, head, tmp_path / "ours.pt", "fairseq2")
    peer("read", kind, tmp_path / "ours.pt", tmp_path / "again.pt")
    compare(loaded.encoder, loaded.head, torch.load(tmp_path / "again.pt", weights_only=True))

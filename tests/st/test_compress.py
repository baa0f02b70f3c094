"""Frames in which a recogniser writes, and the bridge from speech to text that a decoder begins with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from asr.model import Emissions, load_model, save_model
from lm.errors import InputError
from recipes import pretrain_siamese, train_st
from st.compress import written_frames
from st.decoder import DecoderConfig, TextDecoder
from st.model import SpeechTranslator, load_translator
from st.siamese import trained_bridge
from tests.st.conftest import siamese_config, st_config
from tests.st.test_training import history


def emissions(labels: list[list[int]], num_frames: list[int]) -> Emissions:
    """Of which each frame's label is the likeliest."""
    size = max(map(len, labels))
    padded = torch.tensor([row + [1] * (size - len(row)) for row in labels])  # padding writes, if it is asked
    values = nn.functional.one_hot(padded, 3).float().log_softmax(dim=-1)
    return Emissions(values, torch.tensor(num_frames))


def test_frames_that_write_are_kept_in_their_order() -> None:
    states = torch.arange(1, 11.0).view(2, 5, 1)
    out = emissions([[0, 1, 1, 0, 2], [0, 2, 0]], [5, 3])
    kept, counts = written_frames(states, torch.tensor([5, 3]), out, blank=0)
    assert counts.tolist() == [3, 1]
    assert kept[..., 0].tolist() == [[2, 3, 5], [7, 0, 0]]


def test_one_of_several_emissions_is_enough_and_silence_keeps_all() -> None:
    states = torch.arange(1, 7.0).view(2, 3, 1)
    out = emissions([[0, 0, 0, 1, 2, 2], [0, 0, 0, 0]], [6, 4])
    kept, counts = written_frames(states, torch.tensor([3, 2]), out, blank=0)
    assert counts.tolist() == [2, 2]
    assert kept[..., 0].tolist() == [[2, 3], [4, 5]]


@pytest.mark.parametrize("width", [8, 12])
def test_a_decoder_looks_through_a_bridge_as_at_what_it_carries_over(width: int) -> None:
    torch.manual_seed(0)
    config = DecoderConfig(width=8, layers=2, heads=2, inner=16, dropout=0.0)
    text, speech = (TextDecoder(5, size, config).eval() for size in (8, width))
    speech.load_state_dict({**speech.state_dict(), **text.state_dict()})
    bridge = nn.Linear(width, 8)
    labels, memory, num_frames = torch.tensor([[0, 3, 1]]), torch.randn(1, 6, width), torch.tensor([5])
    with torch.inference_mode():
        asked = text(labels, bridge(memory), num_frames)
    speech.look_through(bridge)
    with torch.inference_mode():
        assert torch.allclose(speech(labels, memory, num_frames), asked, atol=1e-5)


def test_a_translator_begins_where_pre_training_brought_speech_to_text(
    spoken_numbers: Path, mt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    beside = {
        "text_from": str(mt), "freeze_text": True, "weight": 5.0, "bridge": True, "compress": True,
        "transport": {"normalise": True, "position_weight": 3.0, "blur": 0.1},
    }  # fmt: skip
    pretrain_siamese.pretrain(siamese_config(spoken_numbers, tmp_path / "ot", 150, siamese=beside))
    bridge = trained_bridge(tmp_path / "ot", 2)
    assert bridge is not None
    save_model(load_model(tmp_path / "ot/model"), tmp_path / "alone")
    assert trained_bridge(tmp_path / "alone", 2) is None

    # One update that moves nothing: what the text's decoder makes of the speech that it is given.
    still = {"decoder_from": str(mt), "adaptor_layers": 0, "compress": True}
    scores = {}
    for name in ("alone", "ot"):
        config = st_config(
            spoken_numbers, tmp_path / f"st-{name}", 1, recogniser=str(tmp_path / name), **still
        )
        train_st.train(replace(config, trainer=replace(config.trainer, lr=1e-9)))
        scores[name] = history(config.exp)[-1]["chrf"]
    assert scores["ot"] > scores["alone"] + 4
    assert capsys.readouterr().err.count("begins with the bridge") == 1
    model = load_translator(config.exp)
    assert isinstance(model, SpeechTranslator)
    assert model.compress


def test_frames_that_write_need_a_recogniser_that_goes_on_learning(
    spoken_numbers: Path, tmp_path: Path
) -> None:
    config = st_config(spoken_numbers, tmp_path, 1, compress=True, st={"source_ctc_weight": 0.0})
    with pytest.raises(InputError, match="source_ctc_weight=0"):
        train_st.train(config)

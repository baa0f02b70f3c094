"""Emissions of many waveforms where memory is short: one by one, and what does not fit alone is named."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from asr.arrays import FloatArray
from asr.emissions import encode_groups, utterance_emissions
from asr.manifest import Utterance
from asr.model import CTCModel
from lm.errors import InputError


def test_a_group_that_is_too_much_goes_one_by_one_and_what_is_too_long_is_named(
    tiny_model: CTCModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = []
    for name, seconds in (("one", 1.0), ("two", 1.0), ("long", 3.0)):
        soundfile.write(tmp_path / f"{name}.wav", np.full(int(seconds * 16_000), 0.1), 16_000)
        rows.append(Utterance(id=name, audio=tmp_path / f"{name}.wav", duration_s=seconds, text="a"))
    whole = {row.id: made for row, made in utterance_emissions(tiny_model, rows)}
    original = CTCModel.emissions

    def narrow(self: CTCModel, waveforms: Sequence[FloatArray]) -> list[FloatArray]:
        if len(waveforms) * max(map(len, waveforms)) > 1.5 * 16_000:
            torch.empty(2**45)
        return original(self, waveforms)

    monkeypatch.setattr(CTCModel, "emissions", narrow)
    found = {row.id: made for row, made in utterance_emissions(tiny_model, rows, batch_s=100.0)}
    for row in rows[:2]:
        wanted, made = whole[row.id], found[row.id]
        assert isinstance(wanted, np.ndarray)
        assert isinstance(made, np.ndarray)
        np.testing.assert_allclose(made, wanted, atol=1e-5)
    assert isinstance(found["long"], InputError)
    assert "long: there is not enough memory for its 3.0 s. Cut it" in str(found["long"])


def test_what_fits_alone_is_not_refused_for_what_other_threads_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at once are too much; each is encoded in the end."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    running, lock = [0], threading.Lock()

    def encode(waveforms: Sequence[FloatArray]) -> list[int]:
        with lock:
            running[0] += 1
        try:
            for _ in range(5):
                time.sleep(0.002)
                if running[0] > 1:
                    raise MemoryError
            return [len(each) for each in waveforms]
        finally:
            with lock:
                running[0] -= 1

    groups = [(number, [np.zeros(number, np.float32)]) for number in range(1, 9)]
    assert list(encode_groups(encode, groups, on_cpu=True)) == [(number, [number]) for number in range(1, 9)]


def test_another_error_of_the_encoder_is_raised_as_it_is() -> None:
    def broken(waveforms: Sequence[FloatArray]) -> list[int]:
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="multiplied"):
        list(encode_groups(broken, [(0, [np.zeros(1, np.float32)])], on_cpu=True))

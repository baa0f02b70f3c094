"""Finding a model's folder by its card."""

from __future__ import annotations

from pathlib import Path

import pytest

from asr.card import CARD, model_folder, read_card
from lm.errors import InputError


def test_a_model_folder_is_found_from_its_experiment(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / CARD).touch()
    assert model_folder(tmp_path) == model_folder(tmp_path / "model") == tmp_path / "model"


def test_a_folder_that_is_not_there_is_told_from_one_without_a_model(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, said in (("none", "no such folder"), ("file", "no such folder"), (".", f"no {CARD} in it")):
        for find in (model_folder, read_card):
            with pytest.raises(InputError, match=said):
                find(tmp_path / name)

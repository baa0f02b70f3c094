"""Translating and comparing splits from the command line."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from asr.manifest import read_manifest
from lm.errors import InputError
from recipes import average, decode_st, retrieve, train_st
from st.cli import main as loquela
from st.model import load_translator
from st.retrieval import Retrieval
from st.retrieval import retrieve as compare
from tests.st.conftest import st_config


def run(monkeypatch: pytest.MonkeyPatch, module: object, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["recipe", *map(str, words)])
    status: int = module.main()  # type: ignore[attr-defined]
    return status


def test_a_split_is_translated_and_scored(
    st: Path,
    spoken_numbers: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "dev.tsv"
    assert run(monkeypatch, decode_st, st, spoken_numbers, "--split", "dev", "--nbest", 2, "--out", out) == 0
    header, *rows = [line.split("\t") for line in out.read_text().splitlines()]
    assert header == ["id", "text", "score", "alternatives"]
    assert [row[0] for row in rows] == [row.id for row in read_manifest(spoken_numbers, split="dev")]
    assert all(len(json.loads(row[3])) == 1 for row in rows)
    score = [
        "score",
        "--translation",
        "--reference",
        str(spoken_numbers),
        "--split",
        "dev",
        "--hypothesis",
        str(out),
    ]
    assert loquela(score) == 0
    assert "chrF++" in capsys.readouterr().out


def test_a_cascade_reads_the_table_of_a_recogniser(
    mt: Path, spoken_numbers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = read_manifest(spoken_numbers, split="dev")
    (tmp_path / "heard.tsv").write_text(
        "id\ttext\n" + "".join(f"{row.id}\t{row.text}\n" for row in rows[:-1])
    )
    out = [tmp_path / "gold.tsv", tmp_path / "heard.out.tsv"]
    assert run(monkeypatch, decode_st, mt, spoken_numbers, "--split", "dev", "--out", out[0]) == 0
    texts = ("--texts", tmp_path / "heard.tsv")
    assert run(monkeypatch, decode_st, mt, spoken_numbers, "--split", "dev", *texts, "--out", out[1]) == 0
    gold, heard = (path.read_text().splitlines() for path in out)
    assert gold[:-1] == heard[:-1]
    assert heard[-1].split("\t")[1] == ""  # nothing heard, nothing translated


def test_the_own_text_is_found_after_siamese_pre_training(
    siamese: Path, spoken_numbers: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, retrieve, siamese, spoken_numbers, "--split", "dev") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["utterances"] == 8
    assert found["first"] > 0.5
    assert found["own"] < found["other"]


def test_retrieval_by_its_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    texts = [torch.randn(size, 16, generator=generator) for size in (4, 6, 5)]
    speech = [text.repeat_interleave(3, dim=0) for text in texts]
    found = compare(speech, texts, batch=2)
    assert found.first == 1.0
    assert found.own < 0.05 < found.other
    shuffled = Retrieval(found.distances.roll(1, dims=1))
    assert shuffled.first == 0.0
    assert Retrieval(torch.zeros(3, 3)).first == 0.0  # a tie is no finding


def test_checkpoints_are_averaged(
    spoken_numbers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = st_config(spoken_numbers, tmp_path / "exp", 6)
    train_st.train(replace(config, trainer=replace(config.trainer, evaluate_every=2, keep_checkpoints=3)))
    assert run(monkeypatch, average, tmp_path / "exp", "--last", 2, "--out", tmp_path / "mean") == 0
    parts = [
        load_file(tmp_path / "exp/checkpoints" / name / "weights.safetensors")
        for name in ("update_0000004", "update_0000006")
    ]
    for name, value in load_translator(tmp_path / "mean").state_dict().items():
        assert torch.allclose(
            value.double(), (parts[0][name].double() + parts[1][name].double()) / 2, atol=1e-6
        )
    with pytest.raises(InputError, match="has 3 whole checkpoints; --last is 9"):
        run(monkeypatch, average, tmp_path / "exp", "--last", 9, "--out", tmp_path / "other")

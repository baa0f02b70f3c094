"""Translating and comparing splits from the command line."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from asr.manifest import read_manifest, write_manifest
from asr.text import TextPolicy
from asr.tokenizer import character_tokenizer
from lm.errors import InputError
from recipes import average, decode_st, retrieve, train_st
from st.cli import main as loquela
from st.decoder import DecoderConfig
from st.model import END, Memory, TextTranslator, load_translator, save_translator
from st.retrieval import SHARED, Retrieval
from st.retrieval import retrieve as compare
from st.text_encoder import TextEncoderConfig
from st.texts import text_memories
from st.transport import sinkhorn_divergence
from tests.conftest import handed_on, run_recipe
from tests.st.conftest import st_config


def test_a_split_is_translated_and_scored(
    st: Path,
    spoken_numbers: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "dev.tsv"
    assert (
        run_recipe(monkeypatch, decode_st, st, spoken_numbers, "--split", "dev", "--nbest", 2, "--out", out)
        == 0
    )
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
    mt: Path,
    spoken_numbers: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = read_manifest(spoken_numbers, split="dev")
    (tmp_path / "heard.tsv").write_text(
        "id\ttext\n" + "".join(f"{row.id}\t{row.text}\n" for row in rows[:-1])
    )
    out = [tmp_path / "gold.tsv", tmp_path / "heard.out.tsv"]
    assert run_recipe(monkeypatch, decode_st, mt, spoken_numbers, "--split", "dev", "--out", out[0]) == 0
    texts = ("--texts", tmp_path / "heard.tsv")
    assert (
        run_recipe(monkeypatch, decode_st, mt, spoken_numbers, "--split", "dev", *texts, "--out", out[1]) == 0
    )
    gold, heard = (path.read_text().splitlines() for path in out)
    assert gold[:-1] == heard[:-1]
    assert heard[-1].split("\t")[1] == ""  # nothing heard, nothing translated
    said = f"heard.tsv: 1 without a text to translate, left empty: {rows[-1].id}\n"
    assert capsys.readouterr().err.count(said) == 1


def test_a_table_of_the_policy_that_the_translator_reads_by_is_normalised_once(
    spoken_numbers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = TextPolicy(replace={"hu": "w", "j": "h"})
    source = character_tokenizer([policy("jua huasi")], policy)
    sizes = {"width": 16, "layers": 1, "heads": 2, "inner": 16}
    model = TextTranslator(source, source, TextEncoderConfig(**sizes), DecoderConfig(**sizes))  # type: ignore[arg-type]
    save_translator(model, tmp_path / "mt")
    rows = read_manifest(spoken_numbers, split="dev")
    read: list[list[int]] = []

    def reading(model: TextTranslator, labels: Any) -> list[Memory]:
        read.append(labels[0])
        return text_memories(model, labels)

    monkeypatch.setattr(decode_st, "text_memories", reading)
    for text, key in ((policy("jua huasi"), policy.key), ("jua huasi", "")):
        table = tmp_path / "heard.tsv"
        table.write_text("id\ttext\twritten\n" + "".join(f"{row.id}\t{text}\t{key}\n" for row in rows))
        words = (spoken_numbers, "--split", "dev", "--texts", table, "--out", tmp_path / "out.tsv")
        assert run_recipe(monkeypatch, decode_st, tmp_path / "mt", *words) == 0
    assert read == [source.encode("jua huasi")] * 2


def test_translators_of_speech_and_of_text_write_together(
    st: Path, mt: Path, spoken_numbers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def table(model: Path, *others: object) -> str:
        out = tmp_path / "out.tsv"
        assert (
            run_recipe(monkeypatch, decode_st, model, spoken_numbers, "--split", "dev", *others, "--out", out)
            == 0
        )
        return out.read_text()

    alone = table(mt)
    assert table(mt, "--with", mt) == alone
    both = table(mt, "--with", st)
    assert both not in (alone, table(st))
    assert len(both.splitlines()) == len(alone.splitlines())
    source, target = load_translator(mt).source, character_tokenizer(["other labels"], TextPolicy())  # type: ignore[union-attr]
    sizes = {"width": 16, "layers": 1, "heads": 2, "inner": 16}
    model = TextTranslator(source, target, TextEncoderConfig(**sizes), DecoderConfig(**sizes))  # type: ignore[arg-type]
    save_translator(model, tmp_path / "other")
    words = (
        mt,
        spoken_numbers,
        "--split",
        "dev",
        "--with",
        tmp_path / "other",
        "--out",
        tmp_path / "out.tsv",
    )
    with pytest.raises(InputError, match=r"--with .*other writes other labels than .*mt"):
        run_recipe(monkeypatch, decode_st, *words)


@pytest.mark.parametrize("out", ["m.tsv", "texts.tsv"])
def test_the_table_never_replaces_an_input(
    tmp_path: Path, spoken_numbers: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    (tmp_path / "m.tsv").write_bytes(spoken_numbers.read_bytes())
    (tmp_path / "texts.tsv").write_text("id\ttext\n")
    before = (tmp_path / out).read_bytes()
    words = ("no model", tmp_path / "m.tsv", "--texts", tmp_path / "texts.tsv", "--out", tmp_path / out)
    with pytest.raises(InputError, match="is one of the inputs"):
        run_recipe(monkeypatch, decode_st, *words)
    assert (tmp_path / out).read_bytes() == before


def test_texts_of_another_split_and_none_at_all_are_refused(
    mt: Path, spoken_numbers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, silent, out = tmp_path / "other.tsv", tmp_path / "silent.tsv", tmp_path / "out.tsv"
    other.write_text("id\ttext\nelsewhere\tab\n")
    write_manifest([replace(row, text="") for row in read_manifest(spoken_numbers, split="dev")], silent)
    with pytest.raises(InputError, match=r"other\.tsv: none of the 8 utterances has a text"):
        run_recipe(
            monkeypatch, decode_st, mt, spoken_numbers, "--split", "dev", "--texts", other, "--out", out
        )
    with pytest.raises(InputError, match=r"silent\.tsv: none of the 8 utterances has a text"):
        run_recipe(monkeypatch, decode_st, mt, silent, "--out", out)
    with pytest.raises(InputError, match="translates text, which has no CTC layer"):
        run_recipe(monkeypatch, decode_st, mt, spoken_numbers, "--ctc-weight", 0.3, "--out", out)
    with pytest.raises(
        InputError, match=r"--source-language is quy, and .*exp knows its languages\. Leave it out"
    ):
        run_recipe(monkeypatch, decode_st, mt, spoken_numbers, "--source-language", "quy", "--out", out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        ("--beam 7", "beam", 7),
        ("--length-penalty 0.5", "length_penalty", 0.5),
        ("--ctc-weight 0.25", "ctc_weight", 0.25),
        ("--nbest 3", "num_hypotheses", 3),
        ("--max-labels 90", "max_labels", 90),
        ("--max-ratio 3", "max_ratio", 3),
    ],
)
def test_what_an_option_of_decoding_says_reaches_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, name: str, value: float
) -> None:
    command = ["m", "manifest.tsv", "--out", tmp_path / "out.tsv", *words.split()]
    given = handed_on(
        decode_st, "TranslationSearchConfig", lambda: run_recipe(monkeypatch, decode_st, *command)
    )
    assert getattr(given, name) == value


@pytest.mark.parametrize("kind", ["st", "mt"])
def test_limits_of_a_translation_are_options_and_what_they_cut_is_counted(
    st: Path, mt: Path, spoken_numbers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], kind: str,
) -> None:  # fmt: skip
    model, out = {"st": st, "mt": mt}[kind], tmp_path / "out.tsv"
    for labels, says in ((1, True), (300, False)):
        limits = ("--max-labels", labels, "--max-ratio", 1.5)
        assert (
            run_recipe(monkeypatch, decode_st, model, spoken_numbers, "--split", "dev", *limits, "--out", out)
            == 0
        )
        said = (
            r"^[1-8] translation\(s\) cut off at 200 labels and 1\.5 for each frame or source label, at 1, at"
        )
        assert bool(re.search(said, capsys.readouterr().err, re.MULTILINE)) is says


def test_the_own_text_is_found_after_siamese_pre_training(
    siamese: Path, spoken_numbers: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_recipe(monkeypatch, retrieve, siamese, spoken_numbers, "--split", "dev") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["utterances"] == 8
    assert found["texts"] == len({row.text for row in read_manifest(spoken_numbers, split="dev")})
    assert found["chance"] == 1 / found["texts"]
    assert found["first"] > 0.5
    assert found["own"] < found["other"]


def test_one_utterance_with_a_text_is_nothing_to_compare(
    siamese: Path, spoken_numbers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = read_manifest(spoken_numbers, split="dev")
    for kept in (0, 1):
        texts = [row if number < kept else replace(row, text="") for number, row in enumerate(rows)]
        write_manifest(texts, tmp_path / f"{kept}.tsv")
        with pytest.raises(InputError, match=rf"{kept}\.tsv: {kept} utterance\(s\) with speech and text"):
            run_recipe(monkeypatch, retrieve, siamese, tmp_path / f"{kept}.tsv")


def test_retrieval_by_its_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    texts = [torch.randn(size, 16, generator=generator) for size in (4, 6, 5)]
    speech = [text.repeat_interleave(3, dim=0) for text in texts]
    found = compare(speech, texts, batch=2)
    assert found.first == 1.0
    assert found.own < 0.05 < found.other
    for n, states in enumerate(speech):
        for m, text in enumerate(texts):
            lengths = torch.tensor([len(states)]), torch.tensor([len(text)])
            pair = sinkhorn_divergence(states[None], text[None], *lengths, SHARED)[0]
            assert found.distances[n, m] == pytest.approx(float(pair), abs=1e-5)
    shuffled = Retrieval(found.distances.roll(1, dims=1))
    assert shuffled.first == 0.0
    assert Retrieval(torch.zeros(3, 3)).first == 0.0  # a tie is no finding


def test_a_text_that_several_utterances_share_is_no_other_text_of_theirs() -> None:
    generator = torch.Generator().manual_seed(0)
    one, two = torch.randn(6, 8, generator=generator), torch.randn(9, 8, generator=generator)
    found = compare([one, one, two], [one, one, two], labels=[[1, 2], [1, 2], [3]])
    assert found.first == 1.0
    assert (found.num_texts, found.chance) == (2, 0.5)
    between = found.distances[[0, 1, 2, 2], [2, 2, 0, 1]]
    assert found.other == pytest.approx(float(between.mean()))
    assert compare([one, one, two], [one, one, two]).first < 1.0  # as three different texts


@pytest.mark.parametrize("rank", [0, 2])
def test_checkpoints_are_averaged(
    spoken_numbers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    config = st_config(spoken_numbers, tmp_path / "exp", 6, lora={"rank": rank})
    train_st.train(replace(config, trainer=replace(config.trainer, evaluate_every=2, keep_checkpoints=3)))
    assert run_recipe(monkeypatch, average, tmp_path / "exp", "--last", 2, "--out", tmp_path / "mean") == 0
    parts = [
        load_file(tmp_path / "exp/checkpoints" / name / "weights.safetensors")
        for name in ("update_0000004", "update_0000006")
    ]
    found = load_translator(tmp_path / "mean").state_dict()
    assert any("base_layer" in name for name in parts[0]) is bool(rank)
    # What has an adapter is measured in tests/st/hub: here, all the others.
    plain = [name for name in found if name in parts[0]]
    assert len(plain) > len(found) // 2
    for name in plain:
        mean = (parts[0][name].double() + parts[1][name].double()) / 2
        assert torch.allclose(found[name].double(), mean, atol=1e-6)
    with pytest.raises(InputError, match="has 3 whole checkpoints; --last is 9"):
        run_recipe(monkeypatch, average, tmp_path / "exp", "--last", 9, "--out", tmp_path / "other")


def test_a_manifest_of_other_languages_or_letters_is_not_translated(
    tmp_path: Path, spoken_numbers: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = character_tokenizer(["abcdef "], TextPolicy())
    sizes = {"width": 16, "layers": 1, "heads": 2, "inner": 16}
    model = TextTranslator(labels, labels, TextEncoderConfig(**sizes), DecoderConfig(**sizes))  # type: ignore[arg-type]
    model.languages = ("tone", "es")
    with torch.no_grad():  # it closes every text at once
        model.decoder.norm.weight.zero_()
        model.decoder.norm.bias.fill_(1.0)
        model.decoder.embedding.labels.weight.zero_()[END] = 1.0
    save_translator(model, tmp_path / "mt")
    rows = read_manifest(spoken_numbers, split="dev")
    changed = {
        "other": ([replace(row, language="beep") for row in rows], "reads tone, .*`language` says beep"),
        "into": ([replace(row, translation_language="fr") for row in rows], "writes es, .*says fr"),
        "letters": (
            [replace(row, text="xyz" + row.text[:4]) for row in rows],
            "mt cannot read .* of the transcripts",
        ),
    }
    for name, (others, says) in changed.items():
        write_manifest(others, tmp_path / f"{name}.tsv")
        with pytest.raises(InputError, match=says):
            run_recipe(
                monkeypatch,
                decode_st,
                tmp_path / "mt",
                tmp_path / f"{name}.tsv",
                "--out",
                tmp_path / "out.tsv",
            )
    # One text in other letters is no reason to lose the rest.
    one = [replace(rows[0], text="ab это другой язык и письмо"), *rows[1:]]
    write_manifest([*one, *(replace(row, id=f"{row.id}-2") for row in rows)], tmp_path / "one.tsv")
    assert (
        run_recipe(
            monkeypatch, decode_st, tmp_path / "mt", tmp_path / "one.tsv", "--out", tmp_path / "out.tsv"
        )
        == 0
    )
    said = capsys.readouterr().err
    assert f"one.tsv: 1 with a text that {tmp_path / 'mt'} cannot read, left empty: {rows[0].id}\n" in said
    assert f"{2 * len(rows)} of {2 * len(rows)} utterances have no translation" in said

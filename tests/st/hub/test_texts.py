"""Published MT models translate texts: into the language that is asked for, each as it would alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from asr.manifest import read_manifest
from asr.text import TextPolicy
from lm.errors import InputError
from recipes import decode_st
from st.hub.decoder import HubDecoderSource, read_hub_decoder
from st.hub.texts import HubTranslator, _closing
from st.open_texts import open_text_translator
from st.search import TranslationSearchConfig
from tests.conftest import run_recipe
from tests.st.hub.conftest import LINES

Published = Callable[[str], Path]
LANGUAGES = {
    "nllb": ("quy_Latn", "fra_Latn"), "m2m": ("en", "fr"), "mbart": ("en_XX", "fr_XX"), "marian": ("", ""),
}  # fmt: skip
CODES = {"nllb": ("quy_Latn", "fra_Latn"), "m2m": ("__en__", "__fr__"), "mbart": ("en_XX", "fr_XX")}


def opened(published: Published, family: str, **search: float) -> HubTranslator:
    config = TranslationSearchConfig(**search)  # type: ignore[arg-type]
    return HubTranslator(str(published(family)), *LANGUAGES[family], "cpu", config)


def watched(translator: HubTranslator, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """What the model reads and writes from now on."""
    seen: list[tuple[Any, Any]] = []
    generate = translator.model.generate

    def watching(**settings: Any) -> Any:
        written = generate(**settings)
        seen.append((settings["input_ids"], written))
        return written

    monkeypatch.setattr(translator.model, "generate", watching)
    return seen


@pytest.mark.parametrize("family", CODES)
def test_the_language_is_written_first_and_left_out_of_the_text(
    published: Published, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    translator = opened(published, family, beam=2)
    seen = watched(translator, monkeypatch)
    found = translator.translate([LINES[0]])
    read, written = seen[0]
    tokenizer = translator.tokenizer
    first = tokenizer.convert_ids_to_tokens([int(read[0, 0]), int(written[0, 1])])
    assert tuple(first) == CODES[family]
    assert found[0].text
    assert CODES[family][1] not in found[0].text


@pytest.mark.parametrize("beam", [1, 3])
@pytest.mark.parametrize("family", LANGUAGES)
def test_texts_are_translated_together_as_alone(published: Published, family: str, beam: int) -> None:
    translator = opened(published, family, beam=beam)
    texts = [LINES[0], "", "le chien", " ", LINES[3]]
    together = translator.translate(texts)
    assert [each.text == "" for each in together] == [False, True, False, True, False]
    for text, found in zip(texts, together, strict=True):
        alone = translator.translate([text])[0]
        assert alone.text == found.text
        assert alone.score == pytest.approx(found.score, abs=1e-4)


def test_the_score_is_the_mean_log_probability_of_what_was_free(published: Published) -> None:
    translator = opened(published, "m2m", beam=3)
    inputs = translator.tokenizer(LINES[0], return_tensors="pt")
    # The search's limit is more than the model has places for.
    out = translator.model.generate(
        **inputs, num_beams=3, forced_bos_token_id=translator.forced, max_new_tokens=24,
        logits_processor=[_closing(torch.full((3,), 23), eos=2)], return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    # transformers divides by the number of pieces, the forced one among them, which costs nothing.
    written = out.sequences.shape[1] - 1
    expected = out.sequences_scores[0] * written / (written - 1)
    found = translator.translate([LINES[0]])[0]
    assert found.score == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize(
    ("family", "languages", "message"),
    [
        ("nllb", ("quz_Latn", "fra_Latn"), r"no language 'quz_Latn' \(--source-language\). Near it: .*quy_Latn"),
        ("nllb", ("quy_Latn", "fr"), r"no language 'fr' \(--target-language\). Near it: .*fra_Latn"),
        ("m2m", ("en", "fra_Latn"), r"no language 'fra_Latn' \(--target-language\). Near it: .*fr"),
        ("mbart", ("en_XX", "fr"), r"no language 'fr' \(--target-language\). Near it: .*fr_XX"),
        ("mbart", ("", "fr_XX"), r"needs --source-language: a code such as ar_AR"),
        ("marian_several", ("", "fre"), r"no language 'fre' \(--target-language\). Near it: fra"),
    ],
)  # fmt: skip
def test_an_unknown_language_gives_the_nearest_codes(
    published: Published, family: str, languages: tuple[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        HubTranslator(str(published(family)), *languages, "cpu")


def test_a_marian_model_of_several_targets_reads_the_one_that_is_asked_for(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    translator = open_text_translator(published("marian_several"), target_language="spa")
    assert isinstance(translator, HubTranslator)
    assert translator.languages == ("en", "")
    seen = watched(translator, monkeypatch)
    translator.translate(["a dog"])
    assert translator.tokenizer.convert_ids_to_tokens(int(seen[0][0][0, 0])) == ">>spa<<"


def test_texts_that_begin_with_their_language_do_so_once(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TranslationSearchConfig(beam=1, max_labels=8)
    translator = HubTranslator(str(published("mbart_pair")), "en_XX", "ro_RO", "cpu", config)
    seen = watched(translator, monkeypatch)
    (found,) = translator.translate([LINES[0]])
    inputs = translator.tokenizer(LINES[0], return_tensors="pt")
    theirs = translator.model.generate(**inputs, max_new_tokens=8)
    names = translator.tokenizer.convert_ids_to_tokens(seen[0][1][0])
    assert names[0] == "ro_RO"
    assert names.count("ro_RO") == 1
    assert seen[0][1][0, :8].tolist() == theirs[0, :8].tolist()
    assert "ro_RO" not in found.text
    source = HubDecoderSource(source=str(published("mbart_pair")), language="ro_RO")
    with pytest.raises(InputError, match="begin with their language alone"):
        read_hub_decoder(source, LINES, TextPolicy())


def test_the_language_of_the_recogniser_is_taken_where_it_is_the_models_code(published: Published) -> None:
    name = published("nllb")
    translator = open_text_translator(name, language="quy_Latn", target_language="fra_Latn")
    assert isinstance(translator, HubTranslator)
    assert translator.tokenizer.src_lang == "quy_Latn"
    with pytest.raises(InputError, match="needs --source-language"):
        open_text_translator(name, language="quy", target_language="fra_Latn")


def test_a_model_that_names_no_languages_says_so(
    published: Published, capsys: pytest.CaptureFixture[str]
) -> None:
    open_text_translator(published("t5"), target_language="klingon")
    assert "names no languages: it translates as it was trained to" in capsys.readouterr().err


def test_a_marian_model_of_one_pair_refuses_another(published: Published) -> None:
    assert open_text_translator(published("marian"), target_language="fr").languages == ("en", "fr")
    with pytest.raises(InputError, match="translates en to fr; --target-language is es"):
        open_text_translator(published("marian"), target_language="es")


@pytest.mark.parametrize("family", LANGUAGES)
def test_a_long_text_is_cut_and_said_so(
    published: Published, family: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    translator = opened(published, family, beam=1)
    seen = watched(translator, monkeypatch)
    long = " ".join(LINES)
    assert [bool(each.text) for each in translator.translate([long, LINES[0][:9]])] == [True, True]
    assert seen[0][0].shape[1] == 24
    assert int(seen[0][0][1, -1]) == translator.tokenizer.eos_token_id
    lines = [line for line in capsys.readouterr().err.splitlines() if "reads 24 pieces of a text" in line]
    assert len(lines) == 1
    assert long[:40] in lines[0]


@pytest.mark.parametrize("family", LANGUAGES)
def test_unknown_are_the_pieces_without_an_entry(published: Published, family: str) -> None:
    translator = opened(published, family)
    assert [translator.unknown(line)[0] for line in LINES] == [0] * len(LINES)
    unknown, pieces = translator.unknown("ቤት ቤት ቤት")
    assert unknown > 0.3 * pieces
    assert translator.unknown("") == (0, 0)


def test_what_is_no_model_is_one_clear_error(published: Published, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    for file in published("nllb").iterdir():
        (tmp_path / "broken" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"no tensors")
    for folder in ("empty", "broken", "none"):
        with pytest.raises(
            InputError, match=rf"MT model .*{folder}: .*\. Give the folder of recipes\.train_mt"
        ):
            HubTranslator(str(tmp_path / folder), "quy_Latn", "fra_Latn", "cpu")


@pytest.mark.parametrize("folder", ["exp/killkan/mt", "/nope", "./mt"])
def test_a_folder_that_is_not_there_is_no_name_on_the_hub(folder: str) -> None:
    with pytest.raises(InputError, match=rf"MT model {folder}: no such folder\. Give"):
        open_text_translator(folder)


def test_a_tokenizer_that_lost_its_languages_is_refused(published: Published, tmp_path: Path) -> None:
    from transformers import NllbTokenizer

    from tests.st.hub.conftest import pieces

    (tmp_path / "sentencepiece.bpe.model").write_bytes(pieces("bpe", 80))
    NllbTokenizer.from_pretrained(tmp_path).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_bytes((published("nllb") / "config.json").read_bytes())
    with pytest.raises(InputError, match=r"its tokenizer names no languages\. Fetch tokenizer\.json"):
        HubTranslator(str(tmp_path), "quy_Latn", "fra_Latn", "cpu")


def test_the_search_is_as_it_was_asked_for(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    search = TranslationSearchConfig(beam=4, length_penalty=0.0)
    translator = open_text_translator(published("marian"), search=search)
    assert isinstance(translator, HubTranslator)
    given: dict[str, Any] = {}
    generate = translator.model.generate

    def watching(**settings: Any) -> Any:
        given.update(settings)
        return generate(**settings)

    monkeypatch.setattr(translator.model, "generate", watching)
    translator.translate([LINES[0]])
    assert (given["num_beams"], given["length_penalty"]) == (4, 0.0)
    with pytest.raises(InputError, match="which has no CTC layer"):
        open_text_translator(published("marian"), search=TranslationSearchConfig(ctc_weight=0.3))


@pytest.mark.parametrize("family", ["nllb", "marian"])
def test_a_text_that_its_limit_closed_is_marked(
    published: Published, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    translator = opened(published, family, beam=1, max_labels=3)
    seen = watched(translator, monkeypatch)
    eos = translator.tokenizer.eos_token_id
    found = translator.translate(LINES)
    (_, written), *others = seen
    assert not others
    # What opens a text: the decoder's start, and a language.
    lengths = [row[1:].tolist().index(eos) - (translator.forced is not None) for row in written]
    assert max(lengths) == 3
    assert sorted(each.cut for each in found) == sorted(length == 3 for length in lengths)


def test_a_text_at_its_limit_can_only_close() -> None:
    close = _closing(torch.tensor([3, 4]), eos=1)
    scores = torch.zeros(2, 3)
    assert torch.equal(close(torch.zeros(2, 2), scores), scores)
    closed = close(torch.zeros(2, 3), scores)
    assert closed[0].tolist() == [-torch.inf, 0.0, -torch.inf]
    assert torch.equal(closed[1], scores[1])


def test_a_split_is_translated_by_a_published_model(
    published: Published,
    spoken_numbers: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = read_manifest(spoken_numbers, split="dev")
    heard, out = tmp_path / "heard.tsv", tmp_path / "out.tsv"
    texts = [LINES[place % len(LINES)] if place else "" for place in range(len(rows))]
    heard.write_text(
        "id\ttext\n" + "".join(f"{row.id}\t{text}\n" for row, text in zip(rows, texts, strict=True))
    )

    def run(*words: object) -> int:
        options = ("--split", "dev", "--texts", heard, "--beam", 2, "--out", out)
        return run_recipe(monkeypatch, decode_st, *words, *options)

    codes = ("--source-language", "quy_Latn", "--target-language", "fra_Latn")
    model = published("nllb")
    assert run(model, spoken_numbers, *codes) == 0
    assert "heard.tsv: 1 without a text to translate, left empty: " in capsys.readouterr().err
    found = [line.split("\t")[:2] for line in out.read_text().splitlines()[1:]]
    alone = opened(published, "nllb", beam=2).translate(texts)
    assert found == [[row.id, each.text] for row, each in zip(rows, alone, strict=True)]
    assert any(text for _, text in found)
    out.unlink()
    (tmp_path / "empty").mkdir()
    for words, says in (
        ((model, *codes, "--nbest", 2), "--nbest is for translators of ours"),
        ((model, *codes, "--with", "other"), "--with is for translators of ours"),
        ((model, *codes[:2]), "--target-language"),
        ((model, *codes, "--ctc-weight", 0.2), "has no CTC layer"),
        ((tmp_path / "nowhere",), "nowhere: no such folder"),
        ((tmp_path / "empty",), "empty: it has no config.json. Give the folder of recipes.train_mt"),
    ):
        with pytest.raises(InputError, match=says):
            run(words[0], spoken_numbers, *words[1:])
    assert not out.exists()

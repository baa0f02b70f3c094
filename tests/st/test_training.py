"""The trainings of translation: they learn, they resume exactly, they refuse what cannot be learned from."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from asr.audio import load
from asr.batches import padded
from asr.checkpoint import whole_checkpoints
from asr.config import from_mapping
from asr.fingerprint import differences
from asr.manifest import read_manifest, write_manifest
from asr.mixing import MixConfig
from asr.model import CTCModel, load_model, save_model
from asr.recogniser import TokenizerConfig
from asr.text import TextPolicy
from asr.tokenizer import Tokenizer, character_tokenizer
from lm.errors import InputError
from recipes import pretrain_siamese, train_mt, train_st
from st.decoder import DecoderConfig
from st.distil import DistilConfig
from st.model import SpeechTranslator, TextTranslator, load_translator, save_translator
from st.mt import MtConfig
from st.recipe import check_written, translated_rows
from st.siamese import SiameseConfig, SiameseModel
from st.text_encoder import TextEncoderConfig
from tests.st.conftest import TEXT, mt_config, siamese_config, st_config


def history(exp: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (exp / "history.jsonl").read_text().splitlines()]


def assert_alike(one: Path, other: Path) -> None:
    """Two trainings end with the same weights; their models may be of an earlier, better evaluation."""
    last = [whole_checkpoints(exp / "checkpoints")[-1] for exp in (one, other)]
    assert last[0].name == last[1].name
    whole, parts = (load_file(folder / "weights.safetensors") for folder in last)
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], value) for name, value in parts.items())


def test_text_is_learned_to_be_translated(mt: Path) -> None:
    assert history(mt)[-1]["chrf"] > 45


def test_what_pre_training_and_text_bring_speech_translation_takes(st: Path) -> None:
    assert history(st)[-1]["chrf"] > 40
    card = load_translator(st)
    assert isinstance(card, SpeechTranslator)
    assert card.languages == ("tone", "es")


def test_siamese_pre_training_brings_speech_and_text_together(
    spoken_numbers: Path, siamese: Path, mt: Path
) -> None:
    recogniser = load_model(siamese / "model")
    assert history(siamese)[-1]["cer"] < 0.2
    rows = read_manifest(spoken_numbers, split="dev")
    waveforms, num_samples = padded([load(row.audio) for row in rows])
    labels, num_labels = padded([np.asarray(recogniser.tokenizer.encode(row.text)) for row in rows])
    torch.manual_seed(0)
    model = SiameseModel(recogniser, SiameseConfig(text_from=str(mt))).eval()
    with torch.inference_mode():
        _, distance = model(waveforms, num_samples, labels, num_labels, ())
        _, shuffled = model(waveforms, num_samples, labels.roll(1, 0), num_labels.roll(1, 0), ())
    assert float(distance.mean()) < 0.8 * float(shuffled.mean())


@pytest.mark.parametrize("siamese", [{"layer": 0}, {"layer": 1}, {"freeze_text": True}], ids=str)
def test_a_resumed_siamese_training_is_the_whole_one(
    spoken_numbers: Path, tmp_path: Path, siamese: dict[str, Any]
) -> None:
    text = {**TEXT, "dropout": 0.5}
    config = siamese_config(
        spoken_numbers, tmp_path / "parts", 6, siamese={"weight": 1.0, "text": text, **siamese}
    )
    config = replace(config, trainer=replace(config.trainer, evaluate_every=3))
    pretrain_siamese.pretrain(replace(config, exp=tmp_path / "whole"))
    pretrain_siamese.pretrain(config)
    shutil.rmtree(tmp_path / "parts/checkpoints/update_0000006")
    pretrain_siamese.pretrain(config)
    assert_alike(tmp_path / "whole", tmp_path / "parts")


def test_a_resumed_speech_translation_is_the_whole_one(spoken_numbers: Path, tmp_path: Path) -> None:
    config = st_config(spoken_numbers, tmp_path / "parts", 6, st={"target_ctc_weight": 0.2})
    config = replace(config, trainer=replace(config.trainer, evaluate_every=3))
    train_st.train(replace(config, exp=tmp_path / "whole"))
    train_st.train(config)
    shutil.rmtree(tmp_path / "parts/checkpoints/update_0000006")
    train_st.train(config)
    assert_alike(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize(
    ("configure", "train"),
    [(st_config, train_st.train), (siamese_config, pretrain_siamese.pretrain)],
    ids=["speech translation", "siamese"],
)
def test_skill_it_follows_the_losses_on_dev_and_resumes(
    spoken_numbers: Path, tmp_path: Path, configure: Any, train: Any
) -> None:
    rows = read_manifest(spoken_numbers)
    write_manifest(
        [replace(row, gender="ab"[number % 2]) for number, row in enumerate(rows)], tmp_path / "two.tsv"
    )
    config = configure(tmp_path / "two.tsv", tmp_path / "parts", 16)
    config = replace(
        config,
        ctc=replace(config.ctc, mix=MixConfig(levels=("gender",), skill_eta=0.8)),
        trainer=replace(config.trainer, evaluate_every=4),
    )
    train(replace(config, exp=tmp_path / "whole"))
    whole = history(tmp_path / "whole")
    assert len({row["epoch"] for row in whole}) > 1
    # The first evaluation's losses alone, and no graph: the shares are their softmax.
    weights = [math.exp(0.8 * whole[0][f"loss/{group}"]) for group in "ab"]
    assert whole[0]["share/a"] == pytest.approx(weights[0] / sum(weights))
    train(config)
    shutil.rmtree(tmp_path / "parts/checkpoints/update_0000016")
    train(config)
    first, second = (
        load_file(tmp_path / exp / "checkpoints/update_0000016/weights.safetensors")
        for exp in ("whole", "parts")
    )
    assert all(torch.equal(first[name], value) for name, value in second.items())


def test_cross_entropy_pre_training_writes_the_transcript(spoken_numbers: Path, tmp_path: Path) -> None:
    config = st_config(
        spoken_numbers, tmp_path / "exp", 4, target="text", target_tokenizer={"unit": "character"}
    )
    train_st.train(config)
    model = load_translator(tmp_path / "exp")
    assert set(model.tokenizer.surfaces) == {"", " ", *"abcdef"}


def test_a_student_of_a_teachers_translations_is_scored_against_the_references(
    spoken_numbers: Path, mt: Path, tmp_path: Path
) -> None:
    config = st_config(spoken_numbers, tmp_path / "plain", 1, decoder_from=str(mt))
    # Nothing is learned, so that the loss on dev tells what it was compared with.
    config = replace(config, trainer=replace(config.trainer, lr=1e-12))
    plain = train_st.train(config)
    distil = DistilConfig(teacher=str(mt), level="both")
    taught = train_st.train(replace(config, exp=tmp_path / "taught", distil=distil))
    said = json.loads((tmp_path / "taught/teacher.json").read_text())
    assert len(said) == len({row.text for row in read_manifest(spoken_numbers, split="train")})
    assert taught["loss"] == pytest.approx(plain["loss"], rel=1e-5)


@pytest.mark.parametrize("change", [{"level": "sequence"}, {"top_k": 4}, {"temperature": 2.0}])
def test_a_student_does_not_go_on_with_another_lesson(
    spoken_numbers: Path, mt: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    more = {"decoder_from": str(mt), "distil": {"teacher": str(mt)}}
    config = st_config(spoken_numbers, tmp_path / "exp", 2, **more)
    train_st.train(config)
    with pytest.raises(InputError, match="a training with other settings: teacher"):
        train_st.train(replace(config, distil=replace(config.distil, **change)))


def test_a_student_goes_on_with_its_teacher_wherever_that_lies(
    spoken_numbers: Path, mt: Path, tmp_path: Path
) -> None:
    shutil.copytree(mt / "model", tmp_path / "a teacher")
    config = st_config(spoken_numbers, tmp_path / "exp", 1, distil={"teacher": str(mt), "level": "sequence"})
    train_st.train(config)
    distil = replace(config.distil, teacher=str(tmp_path / "a teacher"))
    assert train_st.train(replace(config, distil=distil))["update"] == 1
    # An earlier version wrote where it lies before the digest.
    new, old = {"teacher": ["0123", 0.5]}, {"teacher": ["exp/a mt 0123", 0.5]}
    assert not differences(old, new)
    assert differences(old, {"teacher": ["4567", 0.5]})


def test_rows_without_translation_are_left_out_and_counted(
    spoken_numbers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        replace(row, translation="" if n % 10 == 0 else row.translation)
        for n, row in enumerate(read_manifest(spoken_numbers))
    ]
    write_manifest(rows, tmp_path / "manifest.tsv")
    train_mt.train(mt_config(tmp_path / "manifest.tsv", tmp_path / "exp", 2))
    assert "train: left out 5 of 48 rows without translation" in capsys.readouterr().err


def test_translations_into_several_languages_are_refused(spoken_numbers: Path, tmp_path: Path) -> None:
    def manifest(*languages: str) -> Path:
        rows = [
            replace(row, translation_language=languages[number % len(languages)])
            for number, row in enumerate(read_manifest(spoken_numbers))
        ]
        write_manifest(rows, tmp_path / "manifest.tsv")
        return tmp_path / "manifest.tsv"

    translated_rows(st_config(manifest("es", ""), tmp_path / "exp", 1))
    config = st_config(manifest("es", "fr", "es"), tmp_path / "exp", 1)
    with pytest.raises(InputError, match=r"`translation_language` says es in \d+ rows, fr in \d+ rows"):
        translated_rows(config)
    translated_rows(config, "text")  # writes no translation


def test_texts_of_any_length_are_learned_from_and_what_is_left_out_is_counted(
    spoken_numbers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes: list[dict[str, Any]] = [{"translation": ""}, {"text": ""}, {"text": "?!"}, {"duration_s": 45.0}]
    rows = [
        replace(row, **changes[number]) if number < 4 else row
        for number, row in enumerate(read_manifest(spoken_numbers, split="train"))
    ]
    write_manifest([*rows, *read_manifest(spoken_numbers, split="dev")], tmp_path / "manifest.tsv")
    config = mt_config(tmp_path / "manifest.tsv", tmp_path / "exp", 1)
    train_mt.train(config)
    said = capsys.readouterr().err
    assert "train: left out 1 of 48 rows without translation\n" in said
    assert "train: left out 1 of 47 rows without text\n" in said
    assert "train: left out 1 of 46 rows whose text no label writes\n" in said
    assert "45 training utterances" in said
    kept, _ = translated_rows(st_config(tmp_path / "manifest.tsv", tmp_path / "exp", 1))
    assert len(kept) == 46
    assert "train: left out 1 of 48 rows longer than 30 s\n" in capsys.readouterr().err
    train_mt.train(replace(config, max_duration_s=30.0, exp=tmp_path / "short"))
    assert "train: left out 1 of 48 rows longer than 30 s\n" in capsys.readouterr().err


def test_labels_that_cannot_write_the_texts_are_refused(
    spoken_numbers: Path, tmp_path: Path, tiny_model: CTCModel, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(tiny_model, tmp_path / "ctc")
    write_manifest(
        [replace(row, text=row.text + "x") for row in read_manifest(spoken_numbers)], tmp_path / "x.tsv"
    )
    config = mt_config(tmp_path / "x.tsv", tmp_path / "exp", 1, source_from=str(tmp_path / "ctc"))
    with pytest.raises(
        InputError, match=r"source_from .*ctc has no label for \d+\.\d% of the training texts'"
    ):
        train_mt.train(config)
    assert "no label writes 48 characters" in capsys.readouterr().err


def test_a_model_of_other_languages_or_letters_is_nothing_to_begin_with(
    spoken_numbers: Path, tmp_path: Path
) -> None:
    letters = character_tokenizer(["abcdef "], TextPolicy())
    keep = TextPolicy(case="keep", punctuation="keep")
    sizes = {"width": 16, "layers": 1, "heads": 2, "inner": 16}

    def made(name: str, languages: tuple[str, str], target: Tokenizer) -> str:
        model = TextTranslator(letters, target, TextEncoderConfig(**sizes), DecoderConfig(**sizes))  # type: ignore[arg-type]
        model.languages = languages
        save_translator(model, tmp_path / name)
        return str(tmp_path / name)

    writes = character_tokenizer([row.translation for row in read_manifest(spoken_numbers)], keep)
    exp, other, into = (
        tmp_path / "exp",
        made("other", ("beep", "es"), letters),
        made("into", ("tone", "fr"), writes),
    )
    with pytest.raises(InputError, match=r"decoder_from .*into writes fr, .*`translation_language` says es"):
        train_st.train(st_config(spoken_numbers, exp, 1, decoder_from=into))
    with pytest.raises(InputError, match=r"decoder_from .*other has no label for .* of the training texts'"):
        train_st.train(st_config(spoken_numbers, exp, 1, decoder_from=other))
    with pytest.raises(InputError, match=r"text_from .*other reads beep, .*`language` says tone"):
        pretrain_siamese.pretrain(siamese_config(spoken_numbers, exp, 1, siamese={"text_from": other}))
    # Its target is of no matter to an encoder of transcripts, nor its source to a decoder.
    pretrain_siamese.pretrain(siamese_config(spoken_numbers, exp, 1, siamese={"text_from": into}))
    begin = made("begin", ("beep", "es"), writes)
    train_st.train(st_config(spoken_numbers, tmp_path / "st", 1, decoder_from=begin))


def test_swapped_columns_are_told_where_a_text_translator_knows_one(
    spoken_numbers: Path, mt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = load_translator(mt).tokenizer
    other = str.maketrans("abcdef", "uuuuuu")
    rows = [
        replace(row, text=row.text.translate(other)) for row in read_manifest(spoken_numbers, split="train")
    ]
    check_written("decoder_from mt", written, rows, rows, translations=True)
    assert "swapped" not in capsys.readouterr().err
    swapped = [replace(row, text=row.translation, translation=row.text) for row in rows]
    check_written("decoder_from mt", written, swapped, swapped, translations=True)
    assert "Check whether the two columns are swapped" in capsys.readouterr().err
    # Nor do transcripts without anything to write break it.
    empty = [replace(row, text="\u200b") for row in rows]
    check_written("decoder_from mt", written, empty, empty, translations=True)
    # A script that the model cannot write needs no labels, and is no sign of the right column.
    script = [replace(row, text="щ" * len(row.translation)) for row in rows]
    check_written("decoder_from mt", written, script, script, translations=True)
    assert "swapped" not in capsys.readouterr().err


@pytest.mark.parametrize(("name", "value"), [("batch_labels", 0), ("batch_labels", -5), ("subword_nbest", 0)])
def test_batches_without_labels_are_refused(name: str, value: int) -> None:
    with pytest.raises(InputError, match=rf"mt\.{name} is {value}\. Give a number from 1"):
        MtConfig(**{name: value})


def test_letters_have_no_other_segmentations(spoken_numbers: Path, tmp_path: Path) -> None:
    config = replace(
        mt_config(spoken_numbers, tmp_path / "mt", 1),
        target_tokenizer=TokenizerConfig(unit="character"),
        mt=MtConfig(subword_nbest=64),
    )
    with pytest.raises(InputError, match=r"mt\.subword_nbest is 64.*target_tokenizer\.unit=piece"):
        train_mt.train(config)


def test_one_setting_of_the_targets_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    values = {
        "manifest": "m.tsv", "exp": str(tmp_path), "target_tokenizer": {"num_pieces": 300},
        "target_policy": {"replace": {"[UNK]": ""}},
        "hub_decoder": {"source": "hub", "language": "spa_Latn", "lora": {"alpha": 32}},
    }  # fmt: skip
    config = from_mapping(train_st.TrainConfig, values)
    assert (config.target_tokenizer.unit, config.target_tokenizer.num_pieces) == ("piece", 300)
    assert (config.target_policy.case, config.target_policy.punctuation) == ("keep", "keep")
    assert (config.hub_decoder.lora.rank, config.hub_decoder.lora.alpha) == (16, 32)


def test_a_manifest_without_translations_is_refused(tone_corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no row of train has `translation`"):
        train_st.train(st_config(tone_corpus, tmp_path / "exp", 2))


def test_a_text_encoder_for_other_labels_is_refused(spoken_numbers: Path, st: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="translates speech"):
        pretrain_siamese.pretrain(
            siamese_config(spoken_numbers, tmp_path / "exp", 2, siamese={"text_from": str(st)})
        )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"inter_layers": (1,)}, r"ctc\.inter_layers is \[1\]"),
        ({"consistency_weight": 0.2}, r"ctc\.consistency_weight is 0\.2"),
        ({"blank_alarm": 0.5}, r"ctc\.blank_alarm is 0\.5"),
    ],
)
def test_settings_of_losses_that_speech_translation_lacks_are_refused(
    spoken_numbers: Path, tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    config = st_config(spoken_numbers, tmp_path / "exp", 2)
    with pytest.raises(InputError, match=f"{says}, and speech translation"):
        train_st.train(replace(config, ctc=replace(config.ctc, **change)))


def test_a_control_with_nothing_to_compare_is_refused(spoken_numbers: Path, tmp_path: Path) -> None:
    alone = {"weight": 0.0, "shuffled": True}
    with pytest.raises(InputError, match=r"siamese\.shuffled .* siamese\.weight is 0"):
        pretrain_siamese.pretrain(siamese_config(spoken_numbers, tmp_path / "exp", 2, siamese=alone))


def test_a_text_translator_tells_languages_apart_where_that_is_asked_for(
    spoken_numbers: Path, tmp_path: Path
) -> None:
    labels = {"unit": "character", "language_labels": True}
    train_mt.train(mt_config(spoken_numbers, tmp_path / "exp", 2, tokenizer=labels))
    model = load_translator(tmp_path / "exp")
    assert isinstance(model, TextTranslator)
    assert model.source.languages.keys() == {"tone"}
    with pytest.raises(InputError, match=r"target_tokenizer\.language_labels"):
        st_config(spoken_numbers, tmp_path / "st", 2, target_tokenizer=labels)


def test_a_layer_that_the_encoder_lacks_is_refused(spoken_numbers: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"siamese\.layer is 7; the encoder has layers 1 to 2"):
        pretrain_siamese.pretrain(siamese_config(spoken_numbers, tmp_path / "exp", 2, siamese={"layer": 7}))


def test_a_text_translator_reads_a_recognisers_labels(
    spoken_numbers: Path, siamese: Path, tmp_path: Path
) -> None:
    train_mt.train(mt_config(spoken_numbers, tmp_path / "exp", 2, source_from=str(siamese)))
    model = load_translator(tmp_path / "exp")
    assert isinstance(model, TextTranslator)
    assert model.source == load_model(siamese / "model").tokenizer


def test_states_that_are_no_numbers_stop_a_siamese_training_with_a_reason(
    spoken_numbers: Path, siamese: Path
) -> None:
    recogniser = load_model(siamese / "model")
    model = SiameseModel(recogniser, SiameseConfig())
    for parameter in recogniser.encoder.parameters():
        parameter.data *= torch.nan
    with pytest.raises(InputError, match="The encoder has diverged: lower the learning rate"):
        model(torch.zeros(1, 8000), torch.tensor([8000]), torch.tensor([[1]]), torch.tensor([1]), ())

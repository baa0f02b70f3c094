"""A published MT model's decoder in a speech translator: what it says, how it learns, how it is kept."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from asr.card import read_card
from asr.config import from_mapping, to_mapping
from asr.encoder.lora import LoraSettings, add_adapters, plain_state
from asr.manifest import read_manifest, write_manifest
from asr.model import CTCModel
from asr.text import TextPolicy
from lm.errors import InputError
from recipes import average, train_st
from st.hub.decoder import HubDecoder, HubDecoderSource, HubParts, begin_with, read_hub_decoder
from st.hub.vocabulary import open_published, trimmed_tokenizer
from st.model import END, Memory, SpeechTranslator, load_translator, save_translator
from st.search import TranslationSearchConfig, translate
from tests.st.conftest import ENCODER, st_config
from tests.st.hub.conftest import LINES

Published = Callable[[str], Path]
POLICY = TextPolicy(case="keep", punctuation="keep")
LANGUAGES = {"nllb": "fra_Latn", "m2m": "fr", "mbart": "fr_XX"}
WHOLE = LoraSettings()


def parts_of(published: Published, family: str) -> HubParts:
    settings = HubDecoderSource(source=str(published(family)), language=LANGUAGES[family])
    return read_hub_decoder(settings, LINES, POLICY)


def decoder_of(parts: HubParts, width: int = 16, lora: LoraSettings = WHOLE) -> HubDecoder:
    torch.manual_seed(0)
    decoder = HubDecoder(len(parts.tokenizer), width, parts.config)
    begin_with(decoder, parts, lora)
    return decoder.eval()


def looked_at() -> tuple[Tensor, Tensor]:
    return torch.randn(2, 7, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([7, 4])


@pytest.mark.parametrize("family", LANGUAGES)
def test_logits_are_those_of_the_published_model(published: Published, family: str) -> None:
    from transformers import AutoModelForSeq2SeqLM

    parts = parts_of(published, family)
    decoder = decoder_of(parts)
    with torch.no_grad():
        decoder.bridge.weight.copy_(torch.eye(16))
        decoder.bridge.bias.zero_()
    model = AutoModelForSeq2SeqLM.from_pretrained(published(family)).eval()
    _, tokenizer = open_published(str(published(family)))
    _, numbers = trimmed_tokenizer(tokenizer, LINES, POLICY)
    memory, num_frames = looked_at()
    labels = torch.tensor([[END, *parts.tokenizer.encode(text)[:5]] for text in LINES[:2]])
    language = tokenizer.convert_tokens_to_ids("__fr__" if family == "m2m" else LANGUAGES[family])
    read = torch.tensor([[2, language, *(numbers[label] for label in row[1:])] for row in labels.tolist()])
    with torch.inference_mode():
        theirs = model(
            encoder_outputs=(memory,),
            attention_mask=(torch.arange(7) < num_frames[:, None]).long(),
            decoder_input_ids=read,
        ).logits[:, 1:, numbers]
        ours = decoder(labels, memory, num_frames)
    assert float(theirs.std()) > 0.1
    assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("family", LANGUAGES)
def test_writing_label_by_label_is_the_forward_pass(published: Published, family: str) -> None:
    parts = parts_of(published, family)
    decoder = decoder_of(parts)
    memory, num_frames = looked_at()
    labels = torch.randint(1, len(parts.tokenizer), (6, 5), generator=torch.Generator().manual_seed(1))
    labels[:, 0] = END
    with torch.inference_mode():
        # Three texts of each utterance; after three labels, each utterance goes on with its last text.
        cache = decoder.begin(memory, num_frames, beams=3)
        steps = [decoder.step(labels[:, place], cache) for place in range(3)]
        rows = torch.tensor([2, 2, 2, 5, 5, 5])
        cache.reorder(rows)
        labels = torch.cat([labels[rows, :3], labels[:, 3:]], dim=1)
        steps += [decoder.step(labels[:, place], cache) for place in (3, 4)]
        whole = decoder(labels, memory.repeat_interleave(3, dim=0), num_frames.repeat_interleave(3))
    assert cache.length == 5
    found = torch.stack(steps[3:], dim=1)
    assert torch.allclose(found, whole[:, 3:].log_softmax(dim=-1), atol=1e-5)
    assert torch.allclose(steps[2][rows], whole[:, 2].log_softmax(dim=-1), atol=1e-5)
    with torch.inference_mode():
        cache.reorder(torch.tensor([2, 4]))
        alone = decoder.step(torch.tensor([1, 2]), cache)
        longer = torch.cat([labels[[2, 4]], torch.tensor([[1], [2]])], dim=1)
        whole = decoder(longer, memory, num_frames)
    assert torch.allclose(alone, whole[:, -1].log_softmax(dim=-1), atol=1e-5)


@pytest.mark.parametrize("family", LANGUAGES)
def test_padding_changes_nothing(published: Published, family: str) -> None:
    decoder = decoder_of(parts_of(published, family))
    memory, num_frames = looked_at()
    labels = torch.tensor([[END, 3, 4, 5, 6], [END, 7, 8, END, END]])
    with torch.inference_mode():
        together = decoder(labels, memory, num_frames)
        alone = decoder(labels[1:, :3], memory[1:, :4], num_frames[1:])
        search = TranslationSearchConfig(beam=3, max_labels=8)
        found = translate(_ours(decoder), Memory(memory, num_frames), search)
        one = translate(_ours(decoder), Memory(memory[1:, :4], num_frames[1:]), search)
    assert torch.allclose(together[1, :3], alone[0], atol=1e-5)
    assert found[1][0].labels == one[0][0].labels
    assert found[1][0].score == pytest.approx(one[0][0].score, abs=1e-5)
    with torch.inference_mode():
        empty = translate(_ours(decoder), Memory(memory, torch.tensor([7, 0])), search)
    assert empty[1][0].labels == ()


def _ours(decoder: HubDecoder) -> Any:
    """The search is written for a `TextDecoder`, whose methods it has."""
    return decoder


def test_a_text_that_learned_places_end_before_is_refused(published: Published) -> None:
    decoder = decoder_of(parts_of(published, "mbart"))
    memory, num_frames = looked_at()
    decoder(torch.zeros(2, 23, dtype=torch.long), memory, num_frames)
    with pytest.raises(InputError, match="a translation of 25 pieces: the decoder has 24 places"):
        decoder(torch.zeros(2, 24, dtype=torch.long), memory, num_frames)
    # The search stops there, even where the decoder would never close.
    decoder.bias[END] = -1e4
    ((best, *_), _) = translate(_ours(decoder), Memory(memory, num_frames), TranslationSearchConfig(beam=2))
    assert len(best.labels) == 22
    assert best.cut
    # Sinusoids never end.
    decoder_of(parts_of(published, "m2m"))(torch.zeros(2, 40, dtype=torch.long), memory, num_frames)


def test_adapters_bridge_and_the_norms_before_speech_learn(published: Published) -> None:
    decoder = decoder_of(parts_of(published, "nllb"), width=20, lora=LoraSettings(rank=2))
    learning = {name for name, value in decoder.named_parameters() if value.requires_grad}
    full = {name for name in learning if ".lora_" not in name}
    norms = {
        f"model.layers.{n}.encoder_attn_layer_norm.{part}" for n in (0, 1) for part in ("weight", "bias")
    }
    assert full == {"bridge.weight", "bridge.bias"} | norms
    assert len(learning - full) == 2 * 2 * 4 * 2  # layers, attentions, projections, matrices
    whole = decoder_of(parts_of(published, "nllb"))
    assert all(value.requires_grad for value in whole.parameters())


@pytest.mark.parametrize("family", LANGUAGES)
def test_a_translator_is_saved_whole_and_read_back_without_the_published_model(
    published: Published, family: str, tiny_model: CTCModel, tmp_path: Path
) -> None:
    parts = parts_of(published, family)
    torch.manual_seed(0)
    model = SpeechTranslator(tiny_model, parts.tokenizer, parts.config, target_ctc=True).eval()
    begin_with(model.decoder, parts, LoraSettings(rank=2, dropout=0.0))
    for name, value in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.1)  # they begin at zero
    save_translator(model, tmp_path / "model")
    assert str(published(family)) not in (tmp_path / "model" / "loquela.json").read_text()
    assert (tmp_path / "model" / "target.json").stat().st_size < 500_000
    loaded = load_translator(tmp_path / "model")
    assert isinstance(loaded, SpeechTranslator)
    assert loaded.tokenizer == parts.tokenizer
    assert not any("lora" in name for name in loaded.state_dict())
    waveforms, num_samples = 0.1 * torch.randn(1, 8_000), torch.tensor([8_000])
    written = torch.tensor([[END, 3, 4]])
    with torch.inference_mode():
        again, before = loaded(waveforms, num_samples, written)[0], model(waveforms, num_samples, written)[0]
    assert torch.allclose(again, before, atol=1e-5)
    save_translator(loaded, tmp_path / "half", half=True)
    assert read_card(tmp_path / "half")["decoder"] == json.loads(json.dumps(to_mapping(parts.config)))


def test_a_decoder_that_is_no_multilingual_one_is_refused(published: Published) -> None:
    with pytest.raises(InputError, match=r"of type 'marian'\. Give a model of NLLB-200 or M2M-100, mBART-50"):
        read_hub_decoder(HubDecoderSource(source=str(published("marian"))), LINES, POLICY)
    with pytest.raises(
        InputError, match=r"no language 'fra' \(hub_decoder\.language\)\. Near it: .*fra_Latn"
    ):
        read_hub_decoder(HubDecoderSource(source=str(published("nllb")), language="fra"), LINES, POLICY)


def test_weights_of_every_file_are_read(published: Published, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = published("mbart")
    for file in folder.iterdir():
        if file.suffix == ".json":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(folder / "model.safetensors")
    expected = parts_of(published, "mbart").state
    torch.save(weights, tmp_path / "pytorch_model.bin")
    settings = HubDecoderSource(source=str(tmp_path), language="fr_XX")
    assert _same(read_hub_decoder(settings, LINES, POLICY).state, expected)
    (tmp_path / "pytorch_model.bin").unlink()
    names = sorted(weights)
    table = {name: f"part-{place % 2}.safetensors" for place, name in enumerate(names)}
    for part in set(table.values()):
        save_file({name: weights[name] for name in names if table[name] == part}, tmp_path / part)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))
    assert _same(read_hub_decoder(settings, LINES, POLICY).state, expected)
    save_file({"other": torch.zeros(1)}, tmp_path / "part-0.safetensors")
    parts = read_hub_decoder(settings, LINES, POLICY)
    with pytest.raises(InputError, match="is missing among its weights"):
        decoder_of(parts)


def _same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], value) for name, value in other.items())


def hub_config(published: Published, manifest: Path, exp: Path, **more: Any) -> train_st.TrainConfig:
    hub = {"source": str(published("nllb")), "language": "spa_Latn", "lora": {"rank": 2}}
    return st_config(manifest, exp, 4, **{"hub_decoder": hub, "encoder": ENCODER, **more})


def test_a_training_with_adapters_resumes_and_leaves_a_plain_model(
    published: Published, spoken_numbers: Path, tmp_path: Path
) -> None:
    config = hub_config(published, spoken_numbers, tmp_path / "exp")
    config = replace(config, trainer=replace(config.trainer, updates=2, evaluate_every=2))
    assert np.isfinite(train_st.train(config)["loss"])
    train_st.train(replace(config, trainer=replace(config.trainer, updates=4)))
    model = load_translator(tmp_path / "exp")
    assert isinstance(model.decoder, HubDecoder)
    assert model.languages == ("tone", "es")
    assert not any("lora" in name for name in model.state_dict())


def test_checkpoints_with_adapters_are_averaged(
    published: Published, tmp_path: Path, tiny_model: CTCModel
) -> None:
    parts = parts_of(published, "nllb")
    lora = {"rank": 2, "alpha": 6}
    model = SpeechTranslator(tiny_model, parts.tokenizer, parts.config)
    begin_with(model.decoder, parts, from_mapping(LoraSettings, lora))
    add_adapters(model.recogniser.encoder, from_mapping(LoraSettings, {"rank": 3}))
    merged, paths = [], []
    for seed in range(2):
        torch.manual_seed(seed)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter)
        merged.append({name: value.clone() for name, value in plain_state(model).items()})
        paths.append(tmp_path / f"{seed}.safetensors")
        save_file(model.state_dict(), paths[-1])
    save_translator(model, tmp_path / "model")
    plain = load_translator(tmp_path / "model")
    names = set(plain.state_dict())
    settings = {"lora": {"rank": 3}, "hub_decoder": {"source": "hub", "language": "fra_Latn", "lora": lora}}
    mean = average.mean(average.as_trained(plain, settings), paths)
    assert set(mean) == names
    for name, value in mean.items():
        expected = (merged[0][name].double() + merged[1][name].double()) / 2
        torch.testing.assert_close(value.double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("more", [{"language": "spa_Latn"}, {"lora": {"alpha": 32}}])
def test_settings_of_no_published_decoder_are_refused(more: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"hub_decoder\.{next(iter(more))} is .*no hub_decoder\.source"):
        from_mapping(HubDecoderSource, more)


def test_two_decoders_are_refused(published: Published, spoken_numbers: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is one decoder"):
        train_st.train(hub_config(published, spoken_numbers, tmp_path / "exp", decoder_from="mt"))


def test_another_language_than_the_translations_is_refused(
    published: Published, spoken_numbers: Path, tmp_path: Path
) -> None:
    hub = {"source": str(published("m2m")), "language": "fr"}
    with pytest.raises(InputError, match=r"hub_decoder.language is fr, .*`translation_language` says es"):
        train_st.train(hub_config(published, spoken_numbers, tmp_path / "exp", hub_decoder=hub))


def test_translations_without_a_place_in_the_decoder_are_left_out(
    published: Published, spoken_numbers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = read_manifest(spoken_numbers)
    long = {next(row.id for row in rows if row.split == split) for split in ("train", "dev")}
    rows = [
        replace(row, translation_language="fr", translation="oui" if row.id not in long else "oui" * 99)
        for row in rows
    ]
    write_manifest(rows, tmp_path / "manifest.tsv")
    hub = {"source": str(published("mbart")), "language": "fr_XX"}
    config = hub_config(published, tmp_path / "manifest.tsv", tmp_path / "exp", hub_decoder=hub)
    assert np.isfinite(train_st.train(config)["loss"])
    told = re.findall(
        r"(\w+): left out 1 of \d+ rows with a translation of more than \d+ labels", capsys.readouterr().err
    )
    assert told == ["train", "dev"]

"""Published CTC folders as transformers writes them: the same emissions and text through both."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoFeatureExtractor, AutoModelForCTC, AutoTokenizer

from asr.decode import build_decoder
from asr.encoder.export import CtcHead, export_transformers
from asr.encoder.hub import ModelFiles
from asr.encoder.pretrained import load_pretrained
from asr.encoder.published import load_published
from asr.encoder.transformers_encoder import FAMILIES
from asr.model import published_model
from asr.opened import open_model, tuned_search
from asr.transcribe import Transcriber
from lm.errors import InputError
from lm.folder import LanguageModel
from tests.asr.encoder.tiny import TINY, batch, tiny_encoder, waveforms

SURFACES = ("", " ", "a", "k", "ñ", "sh", "'", "")
EXPORTED = ["wav2vec2 base", "wav2vec2 large", "hubert large", "wavlm base", "wav2vec2-bert adapter",
            "wav2vec2-conformer rotary", "unispeech-sat", "data2vec-audio"]  # fmt: skip


def write_json(folder: Path, **files: Any) -> None:
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")


def published_folder(folder: Path, name: str = "wav2vec2 base", **options: Any) -> Any:
    """A model saved by transformers with a vocabulary of eight; returns transformers' model."""
    torch.manual_seed(3)
    kind, config = TINY[name]
    settings = getattr(transformers, f"{FAMILIES[kind]}Config")(**{**config, "vocab_size": 8, **options})
    model = getattr(transformers, f"{FAMILIES[kind]}ForCTC")(settings).eval()
    model.save_pretrained(folder)
    write_json(
        folder,
        vocab={"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "A": 5, "Ñ": 6, "'": 7},
        tokenizer_config={
            "tokenizer_class": "Wav2Vec2CTCTokenizer",
            "pad_token": "<pad>",
            "word_delimiter_token": "|",
        },
        preprocessor_config={"feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": True},
    )
    return model


def logits_of(parts: Any, wave: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        out = parts.encoder.eval()(*batch([wave]))
        logits: torch.Tensor = parts.head(out.hidden)[0]
        return logits


@pytest.mark.parametrize("name", EXPORTED)
def test_an_exported_folder_gives_the_same_emissions_through_transformers_and_back(
    name: str, tmp_path: Path
) -> None:
    encoder, head = tiny_encoder(name), torch.nn.Linear(32, len(SURFACES))
    folder = export_transformers(encoder, CtcHead(head, SURFACES), tmp_path / "exported")
    wave = waveforms()[6]
    with torch.no_grad():
        expected = head(encoder(*batch([wave])).hidden)[0]

        tokenizer, extractor = (
            AutoTokenizer.from_pretrained(folder),
            AutoFeatureExtractor.from_pretrained(folder),
        )
        model = AutoModelForCTC.from_pretrained(folder).eval()
        inputs = extractor(wave.numpy(), sampling_rate=16000, return_tensors="pt")
        theirs = model(**{key: value for key, value in inputs.items() if key != "attention_mask"}).logits[0]
    torch.testing.assert_close(theirs, expected, atol=1e-4, rtol=0)
    assert tokenizer.decode([2, 2, 0, 2, 1, 1, 4, 5]) == "aa ñsh"

    again = load_published(folder)
    torch.testing.assert_close(logits_of(again, wave), expected, atol=1e-5, rtol=0)
    assert (again.surfaces, again.blank, again.case) == (SURFACES, 0, "lower")


def test_the_asr_pipeline_of_transformers_opens_an_exported_folder(tmp_path: Path) -> None:
    encoder, head = tiny_encoder("wav2vec2 large"), torch.nn.Linear(32, len(SURFACES))
    folder = export_transformers(encoder, CtcHead(head, SURFACES), tmp_path / "exported")
    wave = waveforms()[4]
    text = transformers.pipeline("automatic-speech-recognition", model=str(folder))(wave.numpy())["text"]
    with torch.no_grad():
        path = head(encoder(*batch([wave])).hidden)[0].argmax(dim=-1).unique_consecutive().tolist()
    assert text == "".join(SURFACES[label] for label in path if label != 7).strip()
    assert text


def test_labels_of_languages_are_never_the_likeliest_elsewhere(tmp_path: Path) -> None:
    encoder, layer = tiny_encoder("wav2vec2 large"), torch.nn.Linear(32, len(SURFACES))
    with torch.no_grad():
        layer.bias[7] = 100.0  # a language's, the likeliest here, which writes nothing
    head = CtcHead(layer, SURFACES).without([7])
    assert layer.bias[7] == 100
    folder = export_transformers(encoder, head, tmp_path / "exported")
    wave = waveforms()[4]
    text = transformers.pipeline("automatic-speech-recognition", model=str(folder))(wave.numpy())["text"]
    with torch.no_grad():
        logits = layer(encoder(*batch([wave])).hidden)[0]
    logits[:, 7] = -torch.inf
    path = logits.argmax(dim=-1).unique_consecutive().tolist()
    assert text == "".join(SURFACES[label] for label in path).strip()
    assert text


def test_exporting_refuses_what_transformers_cannot_hold(tmp_path: Path) -> None:
    encoder, head = tiny_encoder("hubert base"), torch.nn.Linear(32, 3)
    with pytest.raises(InputError, match=r"'a'.*twice"):
        export_transformers(encoder, CtcHead(head, ("", "a", "a")), tmp_path / "new")
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="exists"):
        export_transformers(encoder, CtcHead(head, ("", "a", "b")), tmp_path)


@pytest.mark.parametrize("pickled", [False, True])
def test_a_published_model_is_used_as_it_is(pickled: bool, tmp_path: Path) -> None:
    model = published_folder(tmp_path)
    if pickled:  # with weight normalisation by its older name, as on the hub
        state = load_file(tmp_path / "model.safetensors")
        names = {
            "parametrizations.weight.original0": "weight_g",
            "parametrizations.weight.original1": "weight_v",
        }
        for new, old in names.items():
            state = {name.replace(new, old): value for name, value in state.items()}
        torch.save(state, tmp_path / "pytorch_model.bin")
        (tmp_path / "model.safetensors").unlink()
    published, wave = load_published(tmp_path), waveforms()[2]
    normal = (wave - wave.mean()) / wave.std(correction=0)
    torch.testing.assert_close(logits_of(published, wave), model(normal[None]).logits[0], atol=1e-4, rtol=0)
    assert published.surfaces == ("", "", "", "", " ", "A", "Ñ", "'")
    assert published.labels[6] == "Ñ"
    assert (published.blank, published.case, published.language_model) == (0, "upper", None)
    with torch.no_grad():
        assert torch.equal(
            load_pretrained(tmp_path).eval()(*batch([wave])).hidden, published.encoder(*batch([wave])).hidden
        )


def test_a_tokenizer_that_lowers_and_pads_by_another_name_is_followed(tmp_path: Path) -> None:
    published_folder(tmp_path)
    write_json(
        tmp_path,
        vocab={"A": 0, "B": 1, "_": 2, "[UNK]": 6, "[PAD]": 7},
        tokenizer_config={"word_delimiter_token": "_", "do_lower_case": True, "unk_token": "[UNK]"},
        special_tokens_map={"pad_token": {"content": "[PAD]"}},
        added_tokens={"<s>": 8, "</s>": 9},
    )
    published = load_published(tmp_path)
    assert published.surfaces == ("a", "b", " ", "", "", "", "", "")
    assert published.blank == 7


@pytest.mark.parametrize("key", ["feature_extractor", "audio_processor"])
def test_preprocessing_is_read_where_transformers_5_writes_it(key: str, tmp_path: Path) -> None:
    published_folder(tmp_path, "wavlm large")
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=False)
    tokenizer = transformers.Wav2Vec2CTCTokenizer(str(tmp_path / "vocab.json"))
    transformers.Wav2Vec2Processor(feature_extractor=extractor, tokenizer=tokenizer).save_pretrained(tmp_path)
    # Of the same model as an older release wrote it: transformers lets the newer file win.
    assert json.loads((tmp_path / "preprocessor_config.json").read_text())["do_normalize"] is True
    written = json.loads((tmp_path / "processor_config.json").read_text())
    write_json(tmp_path, processor_config={key: written["feature_extractor"]})
    assert load_published(tmp_path).encoder.preprocessor == {"do_normalize": False}
    (tmp_path / "preprocessor_config.json").unlink()
    assert load_published(tmp_path).encoder.preprocessor == {"do_normalize": False}
    with pytest.raises(InputError, match=r"files say do_normalize=false. Say which it is"):
        load_pretrained(tmp_path)


def test_mel_bins_are_read_where_transformers_5_writes_them(tmp_path: Path) -> None:
    published_folder(tmp_path, "wav2vec2-bert", feature_projection_input_dim=80)
    (tmp_path / "preprocessor_config.json").unlink()
    extractor = transformers.SeamlessM4TFeatureExtractor(feature_size=40, num_mel_bins=40)
    tokenizer = transformers.Wav2Vec2CTCTokenizer(str(tmp_path / "vocab.json"))
    transformers.Wav2Vec2BertProcessor(extractor, tokenizer).save_pretrained(tmp_path)
    assert load_published(tmp_path).encoder.num_bins == 40


@pytest.mark.parametrize("delimiter", [None, "|"])
def test_phones_are_written_with_spaces_between(delimiter: str | None, tmp_path: Path) -> None:
    published_folder(tmp_path)
    write_json(
        tmp_path,
        vocab={"<s>": 0, "<pad>": 1, "|": 2, "<unk>": 3, "t": 4, "ʃ": 5, "tʃ": 6, "a": 7},
        tokenizer_config={
            "tokenizer_class": "Wav2Vec2PhonemeCTCTokenizer",
            "phone_delimiter_token": " ",
            "word_delimiter_token": delimiter,
        },
    )
    theirs = transformers.Wav2Vec2PhonemeCTCTokenizer(
        str(tmp_path / "vocab.json"), do_phonemize=False, word_delimiter_token=delimiter
    )
    ours = published_model(tmp_path)[0].tokenizer
    for labels, text in (([4, 5, 7], "t ʃ a"), ([6, 7], "tʃ a")):
        assert ours.decode(labels) == theirs.decode(labels) == text
    text = "tʃ a" if delimiter else "tʃ | a"
    assert ours.decode([6, 2, 7]) == theirs.decode([6, 2, 7]) == text


def test_the_language_model_folder_comes_along(tmp_path: Path) -> None:
    published_folder(tmp_path)
    folder = tmp_path / "language_model"
    folder.mkdir()
    (folder / "5gram.bin").write_bytes(b"")
    (folder / "unigrams.txt").write_text("wasi\n")
    write_json(folder, attrs={"alpha": 0.7, "beta": 2.0, "unk_score_offset": -5.0, "score_boundary": False})
    write_json(tmp_path, alphabet={"labels": ["", " ", "a"], "is_bpe": False})
    published = load_published(tmp_path)
    found = published.language_model
    assert found is not None
    assert found.model == folder / "5gram.bin"
    for name in ("5gram.arpa.gz", "5gram"):
        (folder / "5gram.bin").rename(folder / name)
        renamed = load_published(tmp_path).language_model
        assert renamed is not None
        assert renamed.model == folder / name
        (folder / name).rename(folder / "5gram.bin")
    assert (found.alpha, found.beta, found.unk_score_offset) == (0.7, 2.0, -5.0)
    assert not found.score_boundary
    assert published.alphabet == ("", " ", "a")


def test_a_language_model_folder_without_its_model_or_with_two_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published_folder(tmp_path)
    folder = tmp_path / "language_model"
    folder.mkdir()
    write_json(folder, attrs={"alpha": None})
    for number in (0, 1, 2):
        assert number == 1 or load_published(tmp_path).language_model is None
        assert number == 1 or f"{number} files of n-grams instead of one" in capsys.readouterr().err
        if number == 1:
            with pytest.raises(InputError, match=r"attrs\.json: .* Give alpha, beta"):
                load_published(tmp_path)
        (folder / f"{number}gram.arpa").touch()


ARPA = """\\data\\
ngram 1=7
ngram 2=1

\\1-grams:
-1.0\t<s>\t0
-1.0\t</s>
-2.0\t<unk>\t0
-0.8\tkaka\t0
-0.8\taki\t0
-0.8\tkiki\t0
-0.8\tkai\t0

\\2-grams:
-0.8\t<s> kaka

\\end\\
"""


def test_what_came_with_a_language_model_weighs_as_in_pyctcdecode(tmp_path: Path) -> None:
    """pyctcdecode 0.5.0 writes the known word too, with the same model, weights and thresholds."""
    published_folder(tmp_path)
    labels = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "a": 5, "k": 6, "i": 7}
    folder = tmp_path / "language_model"
    folder.mkdir()
    (folder / "lm.arpa").write_text(ARPA)
    write_json(folder, attrs={"alpha": 0.5, "beta": 1.5, "unk_score_offset": -10.0, "score_boundary": False})
    write_json(tmp_path, vocab=labels)
    opened = open_model(tmp_path, device="cpu")
    assert opened.decoding["unknown_offset"] == pytest.approx(-10 * np.log(10))
    assert opened.decoding["score_end"] is False
    assert opened.language_model is not None
    emissions = np.full((15, 8), -12.0, np.float32)
    for frame, label in enumerate("k_a_k_k_|_a_k_i"):
        emissions[frame, labels.get(label, 0)] = 0.0
    emissions[6, labels["a"]] = -9.9  # heard: kakk aki
    emissions -= np.log(np.exp(emissions).sum(axis=1, keepdims=True))
    decoding = {**opened.decoding, "score_end": True, "label_threshold": 20.0, "beam_threshold": 30.0}
    search = tuned_search(LanguageModel.load(opened.language_model), decoding)
    decoder = build_decoder(opened.model.tokenizer.surfaces, 0, *search, device="cpu")
    assert decoder.decode(emissions)[0].text == "kaka aki"


def test_a_language_model_that_came_along_and_does_not_fit_can_be_left_out(tmp_path: Path) -> None:
    published_folder(tmp_path)
    (tmp_path / "language_model").mkdir()
    (tmp_path / "language_model" / "lm.arpa").write_text(ARPA.replace("kaka", "2019"))
    write_json(tmp_path / "language_model", attrs={})
    with pytest.raises(InputError, match=r"cannot be written.*leave out .*--lm none"):
        Transcriber.load(tmp_path, device="cpu")
    Transcriber.load(tmp_path, lm="none", device="cpu")


def test_each_language_of_mms_has_its_adapter_head_and_vocabulary(tmp_path: Path) -> None:
    model = published_folder(tmp_path, "mms")
    write_json(
        tmp_path,
        vocab={"eng": {"<pad>": 0, "a": 1}, "que": {"<pad>": 0, "|": 1, "ñ": 2}},
        tokenizer_config={"target_lang": "eng"},
    )
    model.lm_head = torch.nn.Linear(32, 3)
    model.init_adapter_layers()
    adapter = {
        name: value.detach() + torch.randn_like(value) for name, value in model._get_adapters().items()
    }
    save_file(adapter, tmp_path / "adapter.que.safetensors")
    model.load_state_dict(adapter, strict=False)

    published, wave = load_published(tmp_path, language="que"), waveforms()[2]
    normal = (wave - wave.mean()) / wave.std(correction=0)
    expected = model(normal[None]).logits[0].detach()
    torch.testing.assert_close(logits_of(published, wave), expected, atol=1e-4, rtol=0)
    assert published.surfaces == ("", " ", "ñ")
    assert published.language == "que"
    same = load_pretrained(tmp_path, language="que").eval()
    with torch.no_grad():
        assert torch.equal(same(*batch([wave])).hidden, published.encoder(*batch([wave])).hidden)
        assert not torch.equal(
            load_pretrained(tmp_path).eval()(*batch([wave])).hidden, same(*batch([wave])).hidden
        )

    with pytest.raises(InputError, match=r"vocabulary for each language.*eng, que"):
        load_published(tmp_path)
    with pytest.raises(InputError, match=r"no language 'xyz'.*eng, que"):
        load_published(tmp_path, language="xyz")
    with pytest.raises(InputError, match=r"no adapter for language 'eng'.*que"):
        load_published(tmp_path, language="eng")


def test_options_change_the_configuration_of_a_published_encoder(tmp_path: Path) -> None:
    published_folder(tmp_path, mask_time_prob=0.0)
    encoder = load_pretrained(
        tmp_path, options={"mask_time_prob": 0.3, "layerdrop": 0.0, "hidden_dropout": 0.0}
    )
    assert encoder.model.config.mask_time_prob == 0.3
    assert encoder.model.masked_spec_embed.isfinite().all()
    with pytest.raises(InputError, match="did you mean 'layerdrop'"):
        load_pretrained(tmp_path, options={"layer_drop": 0.0})


def test_a_mistyped_name_beside_what_is_here_is_not_looked_for_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: Any, **__: Any) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("asr.encoder.hub.hf_hub_download", asked)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp/talk.wav").touch()
    for name in ("exp/ctcc", "exp/talk.wav"):
        with pytest.raises(InputError, match=f"model '{name}': no such folder"):
            load_published(name)


def test_what_is_missing_or_wrong_is_named_in_one_line(tmp_path: Path) -> None:
    def refused(message: str, source: Any = tmp_path, **options: Any) -> None:
        with pytest.raises(InputError, match=message) as caught:
            load_published(source, **options)
        assert "\n" not in str(caught.value)

    refused("no such folder", "./nowhere")
    refused("no such folder", tmp_path / "nowhere")
    refused("cannot get vocab.json: it has no such file")
    published_folder(tmp_path)
    whole = load_file(tmp_path / "model.safetensors")

    def with_weights(state: dict[str, torch.Tensor]) -> None:
        save_file(state, tmp_path / "model.safetensors")

    with_weights({name: value for name, value in whole.items() if "lm_head" not in name})
    refused("no CTC head")
    with_weights({name: value for name, value in whole.items() if "layers.1.final_layer_norm" not in name})
    refused(r"2 missing \(encoder.layers.1.final_layer_norm.bias")
    with_weights({**whole, "wav2vec2.encoder.odd": torch.ones(2)})
    refused(r"1 unknown \(encoder.odd\)")
    with_weights({**whole, "wav2vec2.masked_spec_embed": torch.ones(2)})
    refused(r"must be \(32,\); got \(2,\)")
    with_weights(whole)
    write_json(tmp_path, vocab={"a": 99, "<pad>": 0})
    refused("label 'a' is number 99")
    write_json(tmp_path, vocab={"<pad>": 0, "a": 1}, added_tokens={"<lang>": 99}, preprocessor_config={})
    assert "<lang>" not in load_published(tmp_path).labels
    write_json(tmp_path, preprocessor_config={"sampling_rate": 8000})
    refused("for audio of 8000 samples a second")
    write_json(tmp_path, preprocessor_config={})
    (tmp_path / "model.safetensors").rename(tmp_path / "away")
    (tmp_path / "model.safetensors.index.json").write_text('{"metadata": {}}')
    refused("index.json has no weight_map")
    (tmp_path / "away").rename(tmp_path / "model.safetensors")
    write_json(tmp_path, vocab={"a": 1}, tokenizer_config={"pad_token": "_"})
    config = json.loads((tmp_path / "config.json").read_text())
    write_json(tmp_path, config={**config, "pad_token_id": None})
    refused("the pad token '_', is not in vocab.json")
    write_json(tmp_path, config={**config, "model_type": "whisper"})
    refused("of type 'whisper'; choose")
    (tmp_path / "config.json").write_text("{")
    refused("config.json is not JSON")
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 50)
    write_json(tmp_path, config=config, vocab={"<pad>": 0})
    refused("model.safetensors.*Fetch the file again")
    files = ModelFiles(tmp_path)
    for _ in range(2):  # what could not be read is not taken for a model without weights when asked again
        with pytest.raises(InputError, match="Fetch the file again"):
            files.weights()


def test_a_pickle_that_could_run_code_is_refused(tmp_path: Path) -> None:
    published_folder(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({"x": np.float64, "y": Path("x")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"pytorch_model\.bin"):
        ModelFiles(tmp_path).weights()


def cached(name: str, hub: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Folders of a hub model's cached files and of the hub's marks for what it has not, the hub out of reach."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub))
    model = hub / f"models--{name.replace('/', '--')}"
    folder, absent = model / "snapshots/abc", model / ".no_exist/abc"
    for path in (folder, absent, model / "refs"):
        path.mkdir(parents=True)
    (model / "refs/main").write_text("abc")
    return folder, absent


def test_what_the_cache_does_not_tell_of_is_not_taken_for_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, absent = cached("some/mms", tmp_path, monkeypatch)
    published_folder(folder, "mms")
    for file in ("tokenizer_config", "preprocessor_config"):
        (folder / f"{file}.json").unlink()
    write_json(folder, vocab={"eng": {"<pad>": 0}, "quy": {"<pad>": 0, "|": 1, "ñ": 2}})
    for name in (
        "tokenizer_config.json", "preprocessor_config.json", "processor_config.json", "adapter.quy.safetensors",
        "adapter.quy.bin",
    ):  # fmt: skip
        with pytest.raises(
            InputError, match=f"cannot get {name}: the hub is out of reach and its cache does not"
        ):
            load_published("some/mms", language="quy")
        (absent / name).touch()
    with pytest.raises(InputError, match="no adapter for language 'quy'"):
        load_published("some/mms", language="quy")
    assert load_pretrained("some/mms").preprocessor == {"do_normalize": True}


def test_a_cache_that_transformers_filled_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the hub's word on files that transformers did not ask for, as it found others in their place."""
    folder, absent = cached("some/model", tmp_path, monkeypatch)
    published_folder(folder)
    capsys.readouterr()
    said = "some/model: going on without language_model: "
    assert load_published("some/model").language_model is None
    assert capsys.readouterr().err.startswith(
        f"{said}model 'some/model': cannot get language_model/attrs.json"
    )
    (absent / "language_model").mkdir()
    (absent / "language_model/attrs.json").touch()
    assert load_published("some/model").language_model is None
    assert not capsys.readouterr().err

    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("read timed out")

    (absent / "language_model/attrs.json").unlink()
    (folder / "language_model").mkdir()
    write_json(folder / "language_model", attrs={})
    monkeypatch.setattr("asr.encoder.hub.snapshot_download", fail)
    assert load_published("some/model").language_model is None
    assert capsys.readouterr().err == f"{said}read timed out\n"


def test_a_hub_name_without_network_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for name in ("someone/some-model", "wav2vec2-base"):
        with pytest.raises(InputError, match="local folder") as caught:
            load_published(name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)

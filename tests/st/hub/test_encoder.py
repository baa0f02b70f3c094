"""A published MT model's encoder beside which speech is pre-trained: its states, what is kept, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from asr.encoder import build_encoder
from asr.manifest import read_manifest, write_manifest
from asr.model import CTCModel
from asr.text import TextPolicy
from asr.tokenizer import character_tokenizer
from lm.errors import InputError
from recipes import pretrain_siamese, train_st
from st.hub.encoder import HubTextEncoder
from st.hub.vocabulary import open_published
from st.model import SpeechTranslator, load_translator
from st.siamese import SiameseConfig, SiameseModel, load_siamese, trained_bridge
from tests.st.conftest import ENCODER, siamese_config, st_config
from tests.st.hub.conftest import LINES

Published = Callable[[str], Path]
LANGUAGES = {"nllb": "fra_Latn", "m2m": "fr", "mbart": "fr_XX"}
TEXTS = ("la maison est rouge", "le chien")
WRITTEN = character_tokenizer(LINES, TextPolicy())


def labels_of(*texts: str) -> tuple[Tensor, Tensor]:
    """Labels, (N, L), and their numbers, (N,)."""
    labels = [torch.tensor(WRITTEN.encode(text)) for text in texts]
    numbers = torch.tensor([len(each) for each in labels])
    return torch.nn.utils.rnn.pad_sequence(labels, batch_first=True), numbers


@pytest.mark.parametrize("family", LANGUAGES)
def test_states_are_those_of_the_published_model_without_language_and_end(
    published: Published, family: str
) -> None:
    from transformers import AutoModelForSeq2SeqLM

    encoder = HubTextEncoder(str(published(family)), LANGUAGES[family], WRITTEN)
    out = encoder(*labels_of(*TEXTS))
    model = AutoModelForSeq2SeqLM.from_pretrained(published(family)).eval()
    _, tokenizer = open_published(str(published(family)))
    tokenizer.src_lang = LANGUAGES[family]
    language = tokenizer.convert_tokens_to_ids("__fr__" if family == "m2m" else LANGUAGES[family])
    for place, text in enumerate(TEXTS):
        pieces = tokenizer(text, add_special_tokens=False).input_ids
        assert int(out.num_frames[place]) == len(pieces) > 1
        with torch.inference_mode():
            read = torch.tensor([[language, *pieces, tokenizer.eos_token_id]])
            theirs = model.get_encoder()(input_ids=read).last_hidden_state[0, 1:-1]
        assert torch.allclose(out.hidden[place, : len(pieces)], theirs, atol=1e-5)


def test_a_text_without_letters_has_a_state(published: Published) -> None:
    out = HubTextEncoder(str(published("nllb")), "fra_Latn", WRITTEN)(*labels_of("le chien", " "))
    assert out.num_frames.tolist()[1] == 1
    assert bool(out.hidden[1, 0].isfinite().all())


def test_it_stands_still_and_no_checkpoint_holds_it(published: Published, tiny_model: CTCModel) -> None:
    config = SiameseConfig(text_from=str(published("nllb")), language="fra_Latn", freeze_text=True)
    model = SiameseModel(tiny_model, config).train()
    assert not [name for name in model.state_dict() if name.startswith("text.")]
    assert not any(each.requires_grad for each in model.text.parameters())
    tokenizer = tiny_model.tokenizer
    labels = torch.tensor([tokenizer.encode("".join(tokenizer.surfaces[-3:]))])
    numbers = torch.tensor([labels.shape[1]])
    assert torch.equal(model.texts(labels, numbers)[0], model.texts(labels, numbers)[0])
    # What moves the model moves it, too.
    assert model.double().texts(labels, numbers)[0].dtype == torch.float64


def test_there_is_a_bridge_where_the_widths_are_one_too(published: Published) -> None:
    recogniser = CTCModel(build_encoder({**ENCODER, "width": 16}), WRITTEN)
    config = SiameseConfig(text_from=str(published("nllb")), language="fra_Latn", freeze_text=True)
    model = SiameseModel(recogniser, config)
    assert model.text.width == recogniser.encoder.width
    assert isinstance(model.bridge, torch.nn.Linear)


@pytest.fixture(scope="module")
def beside(published: Published, spoken_numbers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The experiment folder of an encoder that was pre-trained beside a published model."""
    exp = tmp_path_factory.mktemp("beside") / "exp"
    siamese = {
        "text_from": str(published("nllb")), "language": "eng_Latn", "freeze_text": True, "compress": True,
        "weight": 1.0,
    }  # fmt: skip
    pretrain_siamese.pretrain(siamese_config(spoken_numbers, exp, 2, siamese=siamese))
    return exp


def test_its_decoder_goes_on_where_pre_training_ended(
    published: Published,
    spoken_numbers: Path,
    beside: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bridge = trained_bridge(beside, 2)
    assert bridge is not None
    assert bridge.out_features == 16
    hub = {"source": str(published("nllb")), "language": "spa_Latn", "lora": {"rank": 0}}
    config = st_config(
        spoken_numbers,
        tmp_path / "st",
        1,
        recogniser=str(beside),
        hub_decoder=hub,
        adaptor_layers=0,
        compress=True,
    )
    train_st.train(config)
    assert "decoder: begins with the bridge of the recogniser's pre-training" in capsys.readouterr().err
    model = load_translator(tmp_path / "st")
    assert isinstance(model, SpeechTranslator)
    assert isinstance(model.decoder.bridge, torch.nn.Linear)
    # One update away.
    assert torch.allclose(model.decoder.bridge.weight, bridge.weight, atol=0.05)


def test_speech_is_compared_with_it_again(beside: Path) -> None:
    model = load_siamese(beside)
    assert isinstance(model.text, HubTextEncoder)
    assert not model.training
    with pytest.raises(InputError, match="no/such/model"):
        load_siamese(beside, "no/such/model")


def test_what_does_not_fit_is_refused(
    published: Published, spoken_numbers: Path, tmp_path: Path, mt: Path
) -> None:
    french = tmp_path / "french.tsv"
    rows = read_manifest(spoken_numbers)
    write_manifest([row.__class__(**{**vars(row), "language": "fra"}) for row in rows], french)
    nllb, frozen = str(published("nllb")), {"freeze_text": True}
    for manifest, siamese, says in (
        (spoken_numbers, {"text_from": nllb, "language": "eng_Latn"}, r"stands still. Set siamese\.freeze_text=true"),
        (spoken_numbers, {"text_from": nllb, **frozen}, r"needs siamese\.language"),
        (spoken_numbers, {"text_from": nllb, "language": "xyz", **frozen}, r"knows no language 'xyz'"),
        (french, {"text_from": nllb, "language": "eng_Latn", **frozen}, r"siamese\.language is eng_Latn, .* fra"),
        (spoken_numbers, {"text_from": str(published("marian")), **frozen}, r"is of type 'marian'\. Give .*NLLB"),
        (spoken_numbers, {"text_from": str(mt), "language": "es"}, r"names no published MT model"),
        (spoken_numbers, {"language": "es"}, r"names no published MT model"),
        (spoken_numbers, {"text_from": "no/such/model", **frozen}, r"MT model no/such/model: "),
    ):  # fmt: skip
        with pytest.raises(InputError, match=says):
            pretrain_siamese.pretrain(siamese_config(manifest, tmp_path / "exp", 1, siamese=siamese))

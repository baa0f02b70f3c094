"""Translation models: padding, the cached decoder, folders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from asr.encoder import build_encoder
from asr.model import CTCModel, save_model
from asr.text import TextPolicy
from asr.tokenizer import character_tokenizer
from lm.errors import InputError
from st.decoder import DecoderConfig, TextDecoder
from st.model import (
    LengthAdaptor,
    SpeechTranslator,
    TextTranslator,
    copy_decoder,
    load_translator,
    save_translator,
)
from st.text_encoder import TextEncoder, TextEncoderConfig

SMALL = DecoderConfig(width=16, layers=2, heads=2, inner=16)
TEXT = TextEncoderConfig(width=16, layers=2, heads=2, inner=16)
TARGET = character_tokenizer(["uno dos tres"], TextPolicy())


@pytest.fixture
def speech(tiny_model: CTCModel) -> SpeechTranslator:
    torch.manual_seed(0)
    return SpeechTranslator(tiny_model, TARGET, SMALL, adaptor_layers=2, target_ctc=True).eval()


@pytest.fixture
def text() -> TextTranslator:
    torch.manual_seed(0)
    return TextTranslator(character_tokenizer(["ab c"], TextPolicy()), TARGET, TEXT, SMALL).eval()


def test_padding_changes_nothing_for_speech(speech: SpeechTranslator) -> None:
    waveforms = 0.1 * torch.randn(3, 16_000, generator=torch.Generator().manual_seed(0))
    num_samples = torch.tensor([16_000, 9_000, 5_000])
    waveforms *= torch.arange(16_000) < num_samples[:, None]
    together = speech.memory(waveforms, num_samples)
    for number, samples in enumerate(num_samples.tolist()):
        alone = speech.memory(waveforms[number : number + 1, :samples], num_samples[number : number + 1])
        frames = int(alone.num_frames)
        assert int(together.num_frames[number]) == frames == alone.states.shape[1]
        assert torch.allclose(together.states[number, :frames], alone.states[0], atol=1e-4)


def test_padding_changes_nothing_for_text() -> None:
    torch.manual_seed(0)
    encoder = TextEncoder(9, TEXT).eval()
    labels, num_labels = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]]), torch.tensor([4, 2])
    together = encoder(labels, num_labels).hidden
    assert torch.allclose(together[1, :2], encoder(labels[1:, :2], num_labels[1:]).hidden[0], atol=1e-5)


def test_an_adaptor_halves_what_is_real_as_it_halves_what_is_padded() -> None:
    torch.manual_seed(0)
    adaptor = LengthAdaptor(8, 2).eval()
    states = torch.randn(2, 11, 8)
    together, num_frames = adaptor(states, torch.tensor([11, 6]))
    alone, _ = adaptor(states[1:, :6], torch.tensor([6]))
    assert num_frames.tolist() == [3, 2]
    assert torch.allclose(together[1, :2], alone[0], atol=1e-5)


def test_writing_label_by_label_is_the_forward_pass() -> None:
    torch.manual_seed(0)
    decoder = TextDecoder(20, 32, SMALL).eval()
    memory, num_frames = torch.randn(2, 7, 32), torch.tensor([7, 4])
    labels = torch.randint(0, 20, (2, 5))
    whole = decoder(labels, memory, num_frames).log_softmax(dim=-1)
    cache = decoder.begin(memory, num_frames, beams=3)
    for place in range(5):
        step = decoder.step(labels[:, place].repeat_interleave(3), cache)
        assert torch.allclose(step.view(2, 3, 20), whole[:, place, None].expand(2, 3, 20), atol=1e-5)


def test_a_label_to_come_changes_nothing_before_it() -> None:
    torch.manual_seed(0)
    decoder = TextDecoder(20, 16, SMALL).eval()
    memory, num_frames = torch.randn(1, 7, 16), torch.tensor([7])
    one, other = torch.tensor([[0, 3, 4]]), torch.tensor([[0, 3, 9]])
    assert torch.allclose(
        decoder(one, memory, num_frames)[:, :2], decoder(other, memory, num_frames)[:, :2], atol=1e-6
    )


def test_folders_read_back_as_they_were(
    speech: SpeechTranslator, text: TextTranslator, tmp_path: Path
) -> None:
    waveforms, num_samples = 0.1 * torch.randn(1, 8_000), torch.tensor([8_000])
    written = torch.tensor([[0, 3, 4]])
    save_translator(speech, tmp_path / "speech")
    loaded = load_translator(tmp_path / "speech")
    assert isinstance(loaded, SpeechTranslator)
    assert torch.equal(loaded(waveforms, num_samples, written)[0], speech(waveforms, num_samples, written)[0])
    assert loaded.recogniser.tokenizer == speech.recogniser.tokenizer
    save_translator(text, tmp_path / "text")
    again = load_translator(tmp_path / "text")
    assert isinstance(again, TextTranslator)
    labels, num_labels = torch.tensor([[1, 2]]), torch.tensor([2])
    assert torch.equal(again(labels, num_labels, written)[0], text(labels, num_labels, written)[0])


def test_an_encoder_begins_with_that_of_a_translator(speech: SpeechTranslator, tmp_path: Path) -> None:
    save_translator(speech, tmp_path / "speech")
    encoder = build_encoder({"kind": "saved", "source": str(tmp_path / "speech")})
    theirs = speech.recogniser.encoder.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in encoder.state_dict().items())


def test_a_decoder_begins_with_that_of_a_text_translator(
    speech: SpeechTranslator, text: TextTranslator
) -> None:
    copy_decoder(speech, text, "mt")
    theirs = text.decoder.state_dict()
    own = speech.decoder.state_dict()
    assert all(
        torch.equal(own[name], value) for name, value in theirs.items() if not name.startswith("bridge.")
    )


@pytest.mark.parametrize(("width", "copied"), [(32, True), (24, False), (16, False)])
def test_a_bridge_is_copied_whole_where_the_memories_have_one_width(
    speech: SpeechTranslator, width: int, copied: bool
) -> None:
    """32 is the speech encoder's; 24 leaves the bias alone alike, 16 is the decoder's and needs no bridge."""
    encoder = TextEncoderConfig(width=width, layers=2, heads=2, inner=16)
    other = TextTranslator(character_tokenizer(["ab c"], TextPolicy()), TARGET, encoder, SMALL)
    before = {name: value.clone() for name, value in speech.decoder.bridge.state_dict().items()}
    copy_decoder(speech, other, "mt")
    expected = other.decoder.bridge.state_dict() if copied else before
    found = speech.decoder.bridge.state_dict()
    assert found.keys() == {"weight", "bias"}
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


def test_a_decoder_of_another_size_is_refused(speech: SpeechTranslator) -> None:
    larger = DecoderConfig(width=16, layers=3, heads=2, inner=16)
    other = TextTranslator(character_tokenizer(["ab"], TextPolicy()), TARGET, TEXT, larger)
    with pytest.raises(InputError, match="mt: its decoder has another size"):
        copy_decoder(speech, other, "mt")


def test_a_recogniser_is_no_translator(tiny_model: CTCModel, tmp_path: Path) -> None:
    save_model(tiny_model, tmp_path / "model")
    with pytest.raises(InputError, match="holds a recogniser, not a translator"):
        load_translator(tmp_path / "model")


@pytest.mark.parametrize("kind", [DecoderConfig, TextEncoderConfig])
@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ({"width": 0}, "width is 0"),
        ({"layers": 0}, "layers is 0"),
        ({"heads": -1}, "heads is -1"),
        ({"inner": 0}, "inner is 0"),
        ({"dropout": 1.0}, r"dropout is 1\.0"),
        ({"dropout": float("nan")}, "dropout is nan"),
        ({"width": 30, "heads": 4}, "width is 30, which its 4 heads cannot share. Give a multiple of 4"),
    ],
)
def test_sizes_that_no_transformer_has_are_refused(kind: type, sizes: dict[str, float], says: str) -> None:
    with pytest.raises(InputError, match=f"the (decoder|text encoder)'s {says}"):
        kind(**sizes)


def test_an_adaptor_of_fewer_layers_than_none_is_refused() -> None:
    with pytest.raises(InputError, match=r"adaptor_layers is -1\. Give a number from 0"):
        LengthAdaptor(16, -1)

"""Every family against transformers' own forward of one unpadded utterance, and against itself in batches."""

import copy
import json
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2FeatureExtractor

from asr.encoder.grids import convolution_grid
from asr.encoder.pretrained import build_transformers_encoder
from asr.encoder.transformers_encoder import FAMILIES, TransformersEncoder
from lm.errors import InputError
from tests.asr.encoder.tiny import LAYERS, SAMPLES, TINY, WAVES, batch, tiny_encoder, waveforms

KEPT = [name for name in TINY if "adapter" not in name]


def by_transformers(encoder: TransformersEncoder, wave: Tensor, **options: Any) -> Any:
    """transformers' own preprocessing and forward of one utterance."""
    if encoder.kind != "wav2vec2-bert":
        inputs = Wav2Vec2FeatureExtractor()(wave.numpy(), sampling_rate=16000, return_tensors="pt")
        return encoder.model(inputs["input_values"], **options)
    inputs = SeamlessM4TFeatureExtractor()([wave.numpy()], sampling_rate=16000, return_tensors="pt")
    # An odd last filterbank frame makes a frame half of padding, which the mask leaves out.
    num_frames = int(inputs["attention_mask"].sum())
    return encoder.model(inputs["input_features"][:, :num_frames], **options)


def in_batches(encoder: TransformersEncoder, waves: list[Tensor], size: int) -> list[Tensor]:
    """Hidden states of each utterance, its padding cut off."""
    hidden = []
    for start in range(0, len(waves), size):
        out = encoder(*batch(waves[start : start + size]))
        hidden += [row[:frames] for row, frames in zip(out.hidden, out.num_frames.tolist(), strict=True)]
    return hidden


def test_the_table_covers_every_family() -> None:
    assert {kind for kind, _ in TINY.values()} == set(FAMILIES)


@pytest.mark.parametrize("name", TINY)
@torch.no_grad()
def test_an_utterance_gives_what_transformers_gives_for_it_alone(name: str) -> None:
    encoder = tiny_encoder(name)
    waves = [wave for wave in waveforms() if encoder.grid.num_frames(len(wave))]
    assert len(waves) > 12
    padded = in_batches(encoder, waves, 16)
    for wave, hidden in zip(waves, padded, strict=True):
        expected = by_transformers(encoder, wave).last_hidden_state[0]
        assert hidden.shape == (encoder.grid.num_frames(len(wave)), encoder.width) == expected.shape
        torch.testing.assert_close(hidden, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", TINY)
@torch.no_grad()
def test_padding_never_changes_a_hidden_state(name: str) -> None:
    encoder, waves = tiny_encoder(name), waveforms()
    alone = in_batches(encoder, waves, 1)
    for size in (4, 16):
        for one, other in zip(alone, in_batches(encoder, waves, size), strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", TINY)
@torch.no_grad()
def test_garbage_in_the_padding_is_never_read(name: str) -> None:
    """Harder than zeros, which may hide a leak; without normalisation, which would wipe the garbage out."""
    encoder = tiny_encoder(name)
    encoder.preprocessor["do_normalize"] = False
    padded, num_samples = batch(waveforms())
    dirty = padded.clone()
    for row, size in zip(dirty, num_samples.tolist(), strict=True):
        row[size:] = 3.0
    clean_out, dirty_out = encoder(padded, num_samples), encoder(dirty, num_samples)
    for one, other, frames in zip(
        clean_out.hidden, dirty_out.hidden, clean_out.num_frames.tolist(), strict=True
    ):
        torch.testing.assert_close(one[:frames], other[:frames], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["wav2vec2 base", "wav2vec2-conformer relative", "wav2vec2 strided adapter"])
@torch.no_grad()
def test_transformers_itself_lets_padding_in(name: str) -> None:
    """What the tests above guard against is real: without our way through, they would fail."""
    encoder = tiny_encoder(name)
    waves = waveforms()[:4]
    padded, num_samples = batch([(wave - wave.mean()) / wave.std() for wave in waves])
    mask = torch.arange(padded.shape[1]) < num_samples[:, None]
    theirs = encoder.model(padded, attention_mask=mask.long()).last_hidden_state[3]
    alone = by_transformers(encoder, waves[3]).last_hidden_state[0]
    assert (theirs[: len(alone)] - alone).abs().max() > 0.01


@pytest.mark.parametrize("name", KEPT)
@torch.no_grad()
def test_kept_layers_are_those_of_transformers(name: str) -> None:
    encoder, wave = tiny_encoder(name), waveforms()[1]
    out = encoder(*batch([wave, waveforms()[4]]), keep=(1, 2))
    expected = by_transformers(encoder, wave, output_hidden_states=True).hidden_states
    frames = int(out.num_frames[0])
    assert sorted(out.layers) == [1, 2]
    torch.testing.assert_close(out.layers[1][0, :frames], expected[1][0], atol=1e-4, rtol=0)
    assert out.layers[2].shape == out.hidden.shape


def test_the_standard_stack_sees_400_samples_every_320() -> None:
    grid = convolution_grid([10, 3, 3, 3, 3, 2, 2], [5, 2, 2, 2, 2, 2, 2])
    assert (grid.window_samples, grid.hop_samples, grid.pad_samples) == (400, 320, 0)


@pytest.mark.parametrize("name", TINY)
@torch.no_grad()
def test_frames_are_counted_as_the_grid_says_at_every_length(name: str) -> None:
    encoder = tiny_encoder(name)
    for size in (*range(360, 440, 13), 719, 720, 1040, 2000, 2319, 2320, 5555):
        out = encoder(torch.randn(1, size), torch.tensor([size]))
        assert out.hidden.shape[1] == int(out.num_frames[0]) == encoder.grid.num_frames(size)


@pytest.mark.parametrize("name", TINY)
@torch.no_grad()
def test_a_waveform_too_short_for_a_frame_gives_none(name: str) -> None:
    encoder = tiny_encoder(name)
    alone = encoder(torch.randn(1, 160), torch.tensor([160]))
    assert alone.hidden.shape == (1, 0, encoder.width)
    assert alone.num_frames.tolist() == [0]
    with_others = encoder(*batch([torch.randn(160), torch.randn(0), torch.randn(4000)]))
    assert with_others.num_frames.tolist() == [0, 0, encoder.grid.num_frames(4000)]
    assert with_others.hidden.isfinite().all()


@pytest.mark.parametrize("name", TINY)
def test_training_masks_padded_batches_and_gives_finite_gradients(name: str) -> None:
    options = {
        "mask_time_prob": 0.5,
        "mask_time_length": 4,
        "mask_feature_prob": 0.2,
        "mask_feature_length": 4,
    }
    encoder = tiny_encoder(name, **options).train()
    out = encoder(*batch([torch.randn(8000), torch.randn(401), torch.randn(3000)]))
    out.hidden[0].square().sum().backward()
    gradients = [parameter.grad for parameter in encoder.parameters() if parameter.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert encoder.model.masked_spec_embed.grad.abs().sum() > 0
    encoder.model.config.apply_spec_augment = False
    encoder.zero_grad()
    encoder(*batch([torch.randn(8000)])).hidden.sum().backward()
    assert encoder.model.masked_spec_embed.grad is None


@pytest.mark.parametrize(
    "name", ["wav2vec2 base", "wavlm base", "wav2vec2-bert", "wav2vec2-conformer relative"]
)
def test_checkpointing_gives_the_same_gradients_even_with_a_batch_in_between(name: str) -> None:
    plain = _quiet(name)
    saving = TransformersEncoder(plain.kind, plain.config()["config"], gradient_checkpointing=True)
    saving.load_state_dict(plain.state_dict())
    first, second = batch(waveforms()[:3]), batch(waveforms()[5:8])
    for encoder in (plain, saving):
        encoder.train()
        out, other = encoder(*first, keep=(1,)), encoder(*second)
        (out.layers[1][0, :5].square().sum() + out.hidden[0, :5].square().sum()).backward()
        assert other.hidden.isfinite().all()
    expected = {key: value.grad for key, value in plain.named_parameters() if value.grad is not None}
    assert len(expected) > 10
    for key, value in saving.named_parameters():
        if key in expected:
            torch.testing.assert_close(value.grad, expected[key], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", ["wav2vec2 base", "wav2vec2-conformer rotary"])
def test_a_copy_keeps_padding_out_as_well(name: str) -> None:
    encoder = tiny_encoder(name)
    copied = copy.deepcopy(encoder)
    waves = waveforms()[:4]
    with torch.no_grad():
        assert torch.equal(copied(*batch(waves)).hidden, encoder(*batch(waves)).hidden)


@torch.no_grad()
def test_so_does_one_that_was_pickled() -> None:
    encoder, waves = tiny_encoder("wav2vec2-bert"), waveforms((4000, 9513))
    pickled = pickle.loads(pickle.dumps(encoder))
    for one, other in zip(in_batches(encoder, waves, 1), in_batches(pickled, waves, 2), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


def test_batch_statistics_in_training_leave_padding_out() -> None:
    means = []
    for padding in (0, 9000):
        encoder = _quiet("wav2vec2-conformer relative").train()
        wave = waveforms()[0]
        encoder(torch.nn.functional.pad(wave, (0, padding))[None], torch.tensor([len(wave)]))
        means.append(encoder.model.encoder.layers[0].conv_module.batch_norm.running_mean)
    torch.testing.assert_close(means[0], means[1], atol=1e-5, rtol=0)


def test_a_dropped_layer_hands_on_the_layer_before_it() -> None:
    encoder = _quiet("wav2vec2 base", layerdrop=1.0).train()
    out = encoder(*batch(waveforms()[:2]), keep=(1, 2))
    torch.testing.assert_close(out.layers[1], out.layers[2])
    everything = _quiet("wav2vec2 base", layerdrop=0.0).train()(*batch(waveforms()[:2]), keep=(1, 2))
    assert (everything.layers[1] - everything.layers[2]).abs().max() > 0.01


def test_frozen_features_get_no_gradient_and_the_rest_does() -> None:
    encoder = tiny_encoder("wav2vec2 base").train()
    encoder.freeze_features()
    encoder(*batch(waveforms()[:2])).hidden.sum().backward()
    assert all(parameter.grad is None for parameter in encoder.model.feature_extractor.parameters())
    assert encoder.model.feature_projection.projection.weight.grad is not None


@pytest.mark.parametrize("name", TINY)
@torch.no_grad()
def test_the_configuration_makes_the_same_encoder_again(name: str) -> None:
    encoder = tiny_encoder(name)
    again = build_transformers_encoder(json.loads(json.dumps(encoder.config()))).eval()
    again.load_state_dict(encoder.state_dict())
    inputs = batch(waveforms()[:3])
    assert torch.equal(encoder(*inputs).hidden, again(*inputs).hidden)
    assert again.config() == encoder.config()


@torch.no_grad()
def test_waveforms_are_normalised_only_where_the_preprocessor_says_so() -> None:
    encoder = TransformersEncoder("wav2vec2", WAVES, preprocessor={"do_normalize": False}).eval()
    wave = waveforms()[3]
    expected = encoder.model(wave[None]).last_hidden_state
    torch.testing.assert_close(
        encoder(wave[None], torch.tensor([len(wave)])).hidden, expected, atol=1e-4, rtol=0
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [("wav2vec2-conformer rotary", {}), ("wav2vec2-bert", {"position_embeddings_type": "rotary"})],
)
def test_a_batch_of_a_length_that_inference_saw_is_trained_on(name: str, options: dict[str, Any]) -> None:
    encoder, inputs = tiny_encoder(name, **options), batch(waveforms()[:1])
    with torch.inference_mode():
        encoder(*inputs)
    encoder.train()(*inputs).hidden.sum().backward()
    assert any(parameter.grad is not None for parameter in encoder.parameters())


def test_bfloat16_stays_near_float32() -> None:
    encoder = tiny_encoder("wav2vec2 base")
    inputs = batch(waveforms()[:3])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        half = encoder(*inputs).hidden
    exact = encoder(*inputs).hidden
    assert np.corrcoef(half.float().flatten(), exact.detach().flatten())[0, 1] > 0.99


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kind": "wav2vec"}, "encoder kind 'wav2vec' is unknown"),
        ({"kind": "hubert", "config": {"hidden_sise": 3}}, "did you mean 'hidden_size'"),
        ({"kind": "hubert", "confg": {}}, "did you mean 'config'"),
        ({"kind": "wav2vec", "width": 3}, "choose one of conformer, pretrained, saved, wav2vec2"),
        ({"kind": "hubert", "width": 3}, r"no field 'width'; .*: give the whole group, 'encoder="),
        ({"kind": "hubert", "preprocessor": {"stride": 2}}, "no field 'stride'"),
        ({"kind": "wav2vec2", "config": {**LAYERS, "conv_dim": [8]}}, "convolutional layers is incorrect"),
        ({"kind": "wav2vec2", "config": {**WAVES, "num_attention_heads": 5}}, "divisible"),
        ({"kind": "wav2vec2", "config": {**WAVES, "hidden_act": "gleu"}}, "'gleu' is none of .* activations"),
        ({"kind": "hubert", "config": {**WAVES, "num_attention_heads": 0}}, "num_attention_heads must be at"),
        ({"kind": "pretrained"}, "`source` is missing"),
    ],
)
def test_a_configuration_that_cannot_be_names_what_is_wrong(config: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        build_transformers_encoder(config)
    assert "\n" not in str(caught.value)


def test_layers_that_are_not_there_cannot_be_kept() -> None:
    with pytest.raises(InputError, match="1 to 2"):
        tiny_encoder("hubert base")(*batch(waveforms()[:1]), keep=(3,))
    with pytest.raises(InputError, match="adapter"):
        tiny_encoder("wav2vec2-bert adapter")(*batch(waveforms()[:1]), keep=(1,))


def _quiet(name: str, **options: Any) -> TransformersEncoder:
    """A tiny encoder whose training mode draws nothing at random."""
    dropouts = ["hidden_dropout", "activation_dropout", "attention_dropout", "feat_proj_dropout", "layerdrop"]
    if TINY[name][0] in {"wav2vec2-bert", "wav2vec2-conformer"}:
        dropouts.append("conformer_conv_dropout")
    return tiny_encoder(name, **{**dict.fromkeys(dropouts, 0.0), "apply_spec_augment": False, **options})


assert len(SAMPLES) == 16

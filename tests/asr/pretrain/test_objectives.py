"""Objectives: transformers' own loss on the same draws, padding changes nothing, everything learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from asr.encoder import Encoder, build_encoder
from asr.encoder.base import Frames
from asr.pretrain.alteration import AlterConfig
from asr.pretrain.contrastive import masked_places, sample_negatives
from asr.pretrain.objectives import ObjectiveConfig, PretrainModel, Wav2Vec2
from asr.pretrain.source import with_objective
from lm.errors import InputError

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
WAV2VEC2: dict[str, Any] = {
    **SIZES,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "mask_time_prob": 0.05,
}
ENCODERS: dict[str, dict[str, Any]] = {
    "conformer": {
        "kind": "conformer", "width": 32, "num_layers": 3, "num_heads": 2, "stem_channels": 8, "dropout": 0.0,
    },
    "wav2vec2": {"kind": "wav2vec2", "config": WAV2VEC2},
    "wav2vec2-bert": {"kind": "wav2vec2-bert", "config": SIZES},
}  # fmt: skip
SETTINGS: dict[str, Any] = {"num_codes": 20, "code_width": 16, "project_width": 16, "num_negatives": 10}


def batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Three utterances of different lengths, padded with what must not matter."""
    generator = torch.Generator().manual_seed(seed)
    num_samples = torch.tensor([40_000, 32_000, 20_000])
    waveforms = 0.1 * torch.randn(3, 40_000, generator=generator)
    return waveforms * (torch.arange(40_000) < num_samples[:, None]), num_samples


def build(encoder: str, kind: str, **changes: Any) -> PretrainModel:
    torch.manual_seed(1)
    config = ObjectiveConfig(kind=kind, **{**SETTINGS, **changes})  # type: ignore[arg-type]
    model = PretrainModel(build_encoder(ENCODERS[encoder]), config)
    model.objective.prepare(model.encoder, [batch()])
    return model


@pytest.mark.parametrize("norm", ["group", "layer"])
@pytest.mark.parametrize("penalised", [False, True])
def test_wav2vec2_agrees_with_transformers(norm: str, penalised: bool) -> None:
    """Same weights, masks and negatives; a padded batch, for which transformers needs its attention mask."""
    settings = {
        **WAV2VEC2, "feat_extract_norm": norm, "do_stable_layer_norm": norm == "layer", "num_negatives": 10,
        "codevector_dim": 16, "proj_codevector_dim": 16, "num_codevectors_per_group": 20,
    }  # fmt: skip
    torch.manual_seed(3)
    config = transformers.Wav2Vec2Config(**settings)
    theirs: Any = transformers.Wav2Vec2ForPreTraining(config).eval()
    encoder = build_encoder({"kind": "wav2vec2", "config": settings})
    encoder.load_weights(theirs.state_dict(), "theirs")  # type: ignore[operator]
    ours = Wav2Vec2(
        encoder, ObjectiveConfig(kind="wav2vec2", **SETTINGS, penalty_weight=10.0 * penalised)
    ).eval()
    own = {
        name: value
        for name, value in theirs.state_dict().items()
        if name.startswith(("quantizer.", "project_"))
    }
    ours.load_state_dict(own)

    waveforms, num_samples = batch()
    if norm == "group":  # transformers' own group normalisation reads the padding: compare one utterance
        waveforms, num_samples = waveforms[:1], num_samples[:1]
    encoder.eval()
    with torch.no_grad():
        frames = encoder.embed(waveforms, num_samples)
        mask = ours.draw_mask(frames.num_frames, frames.hidden.shape[1])
        places, num_masked = masked_places(mask)
        negatives = sample_negatives(num_masked, 10)
        hidden = encoder.encode(ours.hide(encoder, frames, mask)).hidden
        outcome, _ = ours.contrast(frames, hidden, places, num_masked, negatives)

        # transformers takes each negative as a place in the flattened batch.
        length = mask.shape[1]
        flat = torch.zeros(len(mask), length, 10, dtype=torch.long)
        for row in range(len(mask)):
            for number in range(int(num_masked[row])):
                chosen = places[row, negatives[row, number]]
                flat[row, places[row, number]] = chosen + row * length
        normalised = torch.stack(
            [
                torch.nn.functional.pad(
                    (w[:n] - w[:n].mean()) / (w[:n].var(unbiased=False) + 1e-7).sqrt(),
                    (0, waveforms.shape[1] - int(n)),
                )
                for w, n in zip(waveforms, num_samples, strict=True)
            ]
        )
        attention = (torch.arange(waveforms.shape[1]) < num_samples[:, None]).long()
        out = theirs(
            normalised,
            attention_mask=attention,
            mask_time_indices=mask,
            sampled_negative_indices=flat,
        )
    count = float(outcome.count)
    assert float(outcome.terms["contrastive"]) / count == pytest.approx(
        float(out.contrastive_loss) / count, rel=1e-5
    )
    assert float(outcome.terms["diversity"]) / count == pytest.approx(
        float(out.diversity_loss) / count, rel=1e-5
    )
    penalty = 10.0 * float(outcome.terms["penalty"]) if penalised else 0.0
    assert (float(outcome.loss) - penalty) / count == pytest.approx(float(out.loss) / count, rel=1e-5)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("kind", ["wav2vec2", "w2v-bert", "best-rq", "hubert", "tera"])
def test_every_objective_teaches_every_encoder(encoder: str, kind: str) -> None:
    if (encoder, kind) == ("wav2vec2", "tera"):
        with pytest.raises(InputError, match=r"reads waveforms. Choose wav2vec2"):
            build(encoder, kind)
        return
    model = build(encoder, kind).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    waveforms, num_samples = batch()
    losses = []
    for _ in range(30):
        torch.manual_seed(5)  # the same masks, so that the loss alone can fall
        out = model(waveforms, num_samples)
        (out.loss / out.count).backward()
        losses.append(float(out.loss.detach() / out.count))
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < 0.9 * losses[0]
    assert 0 <= float(out.spread) <= 1


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("kind", ["wav2vec2", "w2v-bert", "best-rq", "hubert"])
def test_padding_changes_no_loss(encoder: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An utterance alone, and the same beside a longer one, with its own mask and negatives."""
    model = build(encoder, kind).eval()
    waveforms, num_samples = batch()
    grid = model.encoder.grid
    masks = [
        model.objective.draw_mask(torch.tensor([frames]), frames)[0]
        for frames in (grid.num_frames(int(n)) for n in num_samples)
    ]

    def given(num_frames: Tensor, length: int) -> Tensor:
        wanted = torch.zeros(len(num_frames), length, dtype=torch.bool)
        for row, frames in enumerate(num_frames.tolist()):
            mask = next(mask for mask in masks if len(mask) == frames)
            wanted[row, :frames] = mask
        return wanted

    def first(num_masked: Tensor, num_negatives: int) -> Tensor:
        most = int(num_masked.max())
        return (torch.arange(most)[:, None] + 1 + torch.arange(num_negatives)) % num_masked[:, None, None]

    monkeypatch.setattr(model.objective, "draw_mask", given)
    monkeypatch.setattr("asr.pretrain.objectives.sample_negatives", first)
    with torch.no_grad():
        together = model(waveforms, num_samples)
        apart = [model(waveforms[[row], : int(n)], num_samples[[row]]) for row, n in enumerate(num_samples)]
    name = "prediction" if kind in ("best-rq", "hubert") else "contrastive"
    assert float(together.terms[name]) == pytest.approx(
        sum(float(each.terms[name]) for each in apart), rel=1e-4
    )
    assert int(together.count) == sum(int(each.count) for each in apart)


@pytest.mark.parametrize("probability", [0.05, 0.0])
def test_a_published_model_goes_on_whether_or_not_its_encoder_masks(
    probability: float, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    sizes = {"codevector_dim": 16, "proj_codevector_dim": 16, "num_codevectors_per_group": 20}
    config = transformers.Wav2Vec2Config(**WAV2VEC2, **sizes)
    theirs: Any = transformers.Wav2Vec2ForPreTraining(config)
    theirs.save_pretrained(tmp_path)
    source = {"kind": "pretrained", "source": str(tmp_path), "config": {"mask_time_prob": probability}}
    model = with_objective(build_encoder(source), ObjectiveConfig(), source)
    assert torch.equal(model.objective.quantizer.codevectors, theirs.quantizer.codevectors)
    ours = model.encoder.mask_embedding if probability else model.objective.own_mask
    assert torch.equal(ours, theirs.wav2vec2.masked_spec_embed)


def test_negatives_are_other_masked_frames_of_the_same_utterance() -> None:
    torch.manual_seed(0)
    mask = torch.tensor([[0, 1, 1, 0, 1, 1, 0], [1, 0, 0, 0, 1, 0, 0]]).bool()
    places, num_masked = masked_places(mask)
    negatives = sample_negatives(num_masked, 500)
    for row, frames in enumerate([[1, 2, 4, 5], [0, 4]]):
        assert places[row, : len(frames)].tolist() == frames
        for number, frame in enumerate(frames):
            seen = places[row, negatives[row, number]].bincount(minlength=7)
            others = [other for other in frames if other != frame]
            assert seen.nonzero()[:, 0].tolist() == others
            assert int(seen.max()) < 1.4 * int(seen[others].min())  # uniform


def test_w2v_bert_needs_layers_above_the_contrasted_one() -> None:
    with pytest.raises(InputError, match="the encoder has 3 layers"):
        build("conformer", "w2v-bert", contrastive_layer=3)


def test_w2v_bert_contrasts_a_third_of_the_way_up() -> None:
    encoder = build_encoder({**ENCODERS["conformer"], "num_layers": 6})
    model = PretrainModel(encoder, ObjectiveConfig(kind="w2v-bert", **SETTINGS))
    assert model.objective.layer == 2


def test_every_part_of_w2v_bert_counts_by_its_weight() -> None:
    model = build(
        "conformer", "w2v-bert",
        prediction_weight=0.3, contrastive_weight=0.7, diversity_weight=0.2, penalty_weight=0.5,
    )  # fmt: skip
    out = model(*batch())
    parts = {name: float(value) for name, value in out.terms.items()}
    contrastive = 0.7 * (parts["contrastive"] + 0.2 * parts["diversity"])
    assert float(out.loss.detach()) == pytest.approx(
        contrastive + 0.5 * parts["penalty"] + 0.3 * parts["prediction"], rel=1e-5
    )


@pytest.mark.parametrize(
    ("altered", "least", "most"),
    [
        ({"noise_probability": 1.0, "noise_level": 0.0}, 1.0, 1.0),
        # A band of up to all bins: half of them in the mean.
        ({"frequency_share": 1.0}, 0.05, 0.95),
        ({"time_share": 0.3}, 0.05, 0.35),
        ({}, 0.0, 0.001),
    ],
)
def test_teras_loss_is_of_the_frames_that_were_altered(
    altered: dict[str, float], least: float, most: float
) -> None:
    nothing = {"time_share": 0.0, "frequency_share": 0.0, "noise_probability": 0.0}
    model = build("conformer", "tera")
    # Not from the beginning: a training in which nothing is ever altered is refused.
    model.objective.config = replace(model.objective.config, alter=AlterConfig(**{**nothing, **altered}))
    waveforms, num_samples = batch()
    out = model(waveforms, num_samples)
    frames = sum(model.encoder.grid.num_frames(int(samples)) for samples in num_samples)
    assert least <= float(out.count) / frames <= most
    assert (float(out.loss.detach()) > 0) == bool(altered)


def test_the_quantiser_cools_down() -> None:
    model = build("conformer", "wav2vec2")
    assert isinstance(model.objective, Wav2Vec2)
    seen = []
    for progress in (0.0, 0.35, 0.7, 1.0):
        model.objective.anneal(progress)
        seen.append(model.objective.quantizer.temperature)
    assert seen == pytest.approx([2.0, 1.0, 0.5, 0.5])


def test_a_masked_frame_does_not_see_itself() -> None:
    """What enters the layers at a masked frame is the mask embedding, whatever was said there."""
    model = build("conformer", "best-rq")
    frames = Frames(torch.randn(1, 9, 32), torch.tensor([9]), torch.randn(1, 9, 320), torch.randn(1, 9, 320))
    mask = torch.zeros(1, 9, dtype=torch.bool)
    mask[0, 3:5] = True
    hidden = model.objective.hide(model.encoder, frames, mask).hidden
    assert torch.equal(hidden[0, 3], model.objective.own_mask)
    assert torch.equal(hidden[0, 3], hidden[0, 4])
    assert torch.equal(hidden[~mask], frames.hidden[~mask])


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_parts_of_the_way_are_the_way(encoder: str) -> None:
    built: Encoder = build_encoder(ENCODERS[encoder]).eval()
    waveforms, num_samples = batch()
    with torch.no_grad():
        whole = built(waveforms, num_samples).hidden
        parts = built.encode(built.embed(waveforms, num_samples)).hidden
    assert torch.equal(whole, parts)


@pytest.mark.parametrize(("given", "made"), [(ObjectiveConfig.code_width, 16), (64, 64), (8, 8)])
def test_best_rq_quantises_in_the_width_that_is_given(given: int, made: int) -> None:
    # What stands in every saved configuration that gave none is 256, with a codebook of 16.
    model = build("conformer", "best-rq", code_width=given)
    assert model.objective.state_dict()["quantizer.codebook"].shape == (20, made)

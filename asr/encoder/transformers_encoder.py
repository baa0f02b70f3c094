"""Encoders of transformers' wav2vec 2.0 family, from published weights or from scratch."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from asr.dropout import replace_dropout
from asr.encoder.attention import quicken_attention
from asr.encoder.base import Alter, Encoder, EncoderOutput, Frames, check_layers, layers_hint
from asr.encoder.convolution import convolve, quicken_long_convolutions
from asr.encoder.grids import convolution_grid, count_frames, first_convolution, strided, strided_length
from asr.encoder.masking import span_mask
from asr.encoder.narrowband import ADAPTED, adapt_weights, at_16_khz, half_band, halve, halved_strides
from asr.encoder.padding import MaskedBatchNorm, Padding, valid_frames
from asr.encoder.relative import RelativeKeyAttention
from asr.encoder.seamless import SeamlessFeatures
from asr.features import standardise
from asr.frames import FrameGrid
from lm.errors import InputError

FAMILIES = {
    "wav2vec2": "Wav2Vec2",
    "hubert": "Hubert",
    "wavlm": "WavLM",
    "wav2vec2-bert": "Wav2Vec2Bert",
    "wav2vec2-conformer": "Wav2Vec2Conformer",
    "unispeech": "UniSpeech",
    "unispeech-sat": "UniSpeechSat",
    "data2vec-audio": "Data2VecAudio",
}
"""transformers' ``model_type`` of each encoder, and how its classes' names begin. MMS is ``wav2vec2``."""

PREPROCESSORS: dict[bool, dict[str, Any]] = {
    False: {"do_normalize": True},
    True: {"num_mel_bins": 80, "stride": 2},
}
"""What is read of a published model's preprocessing: for models of filterbanks (True) and of waveforms (False)."""

# Never part of an encoder: heads of pre-training and classification beside the encoder's own prefix,
# and tables that are computed, yet were once saved.
NOT_WEIGHTS = re.compile(
    r"^(quantizer|project_q|project_hid|final_proj|label_embeddings_concat|lm_head)\."
    r"|embed_positions\.(inv_freq|pe)$"
)


class TransformersEncoder(Encoder):
    """One of transformers' speech encoders with its preprocessing inside and its padding kept out.

    The modules and their weights are transformers' own; the way through them is ours, because theirs
    lets padding in: through group normalisation over time (the base models), the depthwise convolutions
    of the conformer, the strided adapters, and the random spans of SpecAugment. An utterance gives what
    transformers gives for it alone and unpadded (1e-4).

    In training, spans are masked as ``mask_time_*`` and ``mask_feature_*`` say where
    ``apply_spec_augment`` is on, and layers are dropped with probability ``layerdrop``.
    """

    def __init__(
        self,
        kind: str,
        config: Mapping[str, Any] | None = None,
        *,
        preprocessor: Mapping[str, Any] | None = None,
        gradient_checkpointing: bool = False,
        narrowband: bool = False,
    ) -> None:
        """Build from scratch, with random weights.

        Args:
            kind: a key of `FAMILIES`.
            config: fields of transformers' configuration class; the rest keep its defaults.
            preprocessor: ``do_normalize`` for waveforms; ``num_mel_bins`` and ``stride`` for filterbanks.
            gradient_checkpointing: compute the layers twice in training, to save memory.
            narrowband: read telephone speech at 8 kHz (see `asr.encoder.narrowband`).
        Raises:
            InputError: unknown kind or field, or values that do not fit together.
        """
        super().__init__()
        self.kind = kind
        self.preprocessor = _preprocessor(kind, preprocessor or {})
        settings = _settings(kind, config or {})
        if settings.num_attention_heads < 1:
            raise InputError(
                f"encoder {kind}: num_attention_heads must be at least 1; got {settings.num_attention_heads}. "
                "Mend its `config`."
            )
        for name in ("mask_time_length", "mask_feature_length"):
            if getattr(settings, name, 1) < 1:
                raise InputError(
                    f"encoder {kind}: {name} is {getattr(settings, name)}. Give a number from 1."
                )
        for name in ("mask_time_prob", "mask_feature_prob", "layerdrop"):
            if not 0 <= getattr(settings, name, 0.0) <= 1:
                raise InputError(
                    f"encoder {kind}: {name} is {getattr(settings, name)}. Give a number from 0 to 1."
                )
        try:
            self.model: Any = getattr(transformers, f"{FAMILIES[kind]}Model")(settings)
        except KeyError as error:
            raise InputError(
                f"encoder {kind}: {error} is none of transformers' activations, as gelu, relu and swish are. "
                "Mend its `config`."
            ) from error
        except (ValueError, TypeError, AssertionError, RuntimeError) as error:
            raise InputError(f"encoder {kind}: {str(error).splitlines()[0]} Mend its `config`.") from error
        self.num_layers = int(settings.num_hidden_layers)
        self.narrowband = narrowband
        if narrowband and kind == "wav2vec2-bert":
            raise InputError(
                "encoder.narrowband is for encoders on waveforms; filterbanks take 8 kHz as it is."
            )
        self._features_frozen = False
        self._padding = Padding()
        self._keep_padding_out()
        if kind == "wav2vec2-bert" and settings.position_embeddings_type == "relative_key":
            for layer in self.model.encoder.layers:
                layer.self_attn = RelativeKeyAttention(layer.self_attn)
        replace_dropout(self.model)
        quicken_long_convolutions(self.model)
        quicken_attention(self.model)
        for module in self.model.modules():
            if hasattr(module, "cached_sequence_length"):
                module.register_forward_pre_hook(forget_positions)

        # On a CPU with AMX, oneDNN's grouped convolutions of few channels are wrong in bfloat16 (torch 2.13.0).
        self._few_channels = any(
            1 < module.groups < module.in_channels < 16 * module.groups
            for module in self.model.modules()
            if isinstance(module, nn.Conv1d)
        )
        self.gradient_checkpointing = gradient_checkpointing
        if gradient_checkpointing:
            # The reentrant form would cut the outputs kept for intermediate losses from the graph.
            # transformers 5.2x renames the switch.
            switch = getattr(
                self.model, "activation_checkpointing_enable", self.model.gradient_checkpointing_enable
            )
            switch({"use_reentrant": False, "context_fn": self._padding.checkpoint_contexts})

        self.filterbanks: SeamlessFeatures | None = None
        if kind == "wav2vec2-bert":
            self.filterbanks = SeamlessFeatures(
                self.preprocessor["num_mel_bins"], self.preprocessor["stride"]
            )
            self._grids = [self.filterbanks.grid]
            self.num_bins = self.preprocessor["num_mel_bins"]
            self.feature_width = self.num_bins * self.preprocessor["stride"]
        else:
            strides = list(settings.conv_stride)
            if narrowband:
                strides = halved_strides(strides)
                self.model.feature_extractor.conv_layers[1].conv.stride = (strides[1],)
                self.half_band: Tensor
                self.register_buffer("half_band", half_band(), persistent=False)
            extractor = convolution_grid(settings.conv_kernel, strides)
            self._grids = [at_16_khz(extractor) if narrowband else extractor]
            self.feature_width = int(settings.conv_dim[-1])
        for layer in self._adapter_layers():
            self._grids.append(strided(self._grids[-1], first_convolution(layer)))
        self.grid = self._grids[-1]
        self.shortened = len(self._grids) > 1
        self.width = int(settings.output_hidden_size if self._adapter_layers() else settings.hidden_size)

    def blocks(self) -> list[nn.Module]:
        return list(self.model.encoder.layers)

    def keep_layers(self, count: int) -> None:
        check_layers(count, self.num_layers)
        if self._adapter_layers():
            raise InputError("this encoder's adapter reads its last layer: all its layers are needed.")
        del self.model.encoder.layers[count:]
        self.num_layers = count
        self.model.config.num_hidden_layers = count

    @property
    def layer_grid(self) -> FrameGrid:
        return self._grids[0]

    @property
    def layer_drop(self) -> float:
        return float(getattr(self.model.config, "layerdrop", 0.0))

    def config(self) -> dict[str, Any]:
        """What `build_transformers_encoder` makes this encoder of again; see `Encoder.config`."""
        known = known_fields(self.kind)
        settings = {key: value for key, value in self.model.config.to_dict().items() if key in known}
        return {
            "kind": self.kind,
            "config": settings,
            "preprocessor": dict(self.preprocessor),
            "gradient_checkpointing": self.gradient_checkpointing,
            **({"narrowband": True} if self.narrowband else {}),
        }

    def changed_layers(self) -> list[nn.Module]:
        """Those that ``narrowband`` adapts: they have never heard what they read."""
        return list(self.model.feature_extractor.conv_layers[:ADAPTED]) if self.narrowband else []

    def freeze_features(self) -> None:
        """Stop training the convolutional feature extractor but `changed_layers`; Wav2Vec2-BERT has none."""
        if self.filterbanks is not None:
            return
        changed = self.changed_layers()
        self.model.feature_extractor.requires_grad_(False)
        for layer in changed:
            layer.requires_grad_(True)
        self._features_frozen = not changed

    def forward(self, waveforms: Tensor, num_samples: Tensor, keep: Collection[int] = ()) -> EncoderOutput:
        """Encode a batch; see `Encoder.forward`.

        A kept layer's output is what the layer itself computes: in models that normalise before their
        layers (``do_stable_layer_norm``) the final normalisation comes after the last one.

        Raises:
            InputError: ``keep`` names a layer there is not, or the model's adapter makes the layers'
                frame rate another than the output's.
        """
        unknown = [layer for layer in keep if not 1 <= layer <= self.num_layers]
        if unknown:
            raise InputError(
                f"layers to keep must be 1 to {self.num_layers}; got {unknown}. Choose among those."
            )
        if keep and self.shortened:
            raise InputError(
                "this encoder's adapter changes the frame rate after its layers: keep none of them."
            )
        num_samples = num_samples.to(waveforms.device)
        if self.grid.num_frames(waveforms.shape[1]) == 0:
            empty = waveforms.new_zeros(waveforms.shape[0], 0, self.width)
            return EncoderOutput(empty, count_frames(self.grid, num_samples), dict.fromkeys(keep, empty))
        frames = self.embed(waveforms, num_samples)
        return self.encode(replace(frames, hidden=self._hide_spans(frames.hidden, frames.num_frames)), keep)

    def embed(self, waveforms: Tensor, num_samples: Tensor, alter: Alter | None = None) -> Frames:
        """The way to the layers, nothing masked; see `Encoder.embed`."""
        num_samples = num_samples.to(waveforms.device)
        num_frames = count_frames(self._grids[0], num_samples)
        if self.filterbanks is not None:
            features = entering = self.filterbanks(waveforms, num_samples)  # (N, T, stride * bins)
            if alter:
                stride = self.filterbanks.stride
                apart = features.unflatten(-1, (stride, self.num_bins)).flatten(1, 2)  # (N, T stride, bins)
                entering = alter(apart, num_frames * stride).reshape(features.shape)
        elif alter:
            raise InputError(
                f"an encoder of kind {self.kind} reads waveforms, and what alters filterbanks cannot be used "
                "with it. Choose another objective, or an encoder on filterbanks (conformer, wav2vec2-bert)."
            )
        else:
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self._features_frozen):
                features = entering = self._convolve(waveforms, num_samples)
        projected = self.model.feature_projection(entering)
        # HuBERT returns the projection alone, the others with the normalised features.
        hidden, normalised = projected if isinstance(projected, tuple) else (projected, features)
        if self.filterbanks is not None:
            return Frames(hidden, num_frames, features=features, raw=features)
        return Frames(hidden, num_frames, features=normalised, raw=features)

    def encode(self, frames: Frames, keep: Collection[int] = ()) -> EncoderOutput:
        """The layers and the adapter after them; see `Encoder.encode`."""
        masks = [valid_frames(frames.num_frames, frames.hidden.shape[1])]
        stages = [frames.num_frames]
        for layer in self._adapter_layers():
            conv = first_convolution(layer)
            stages.append(strided_length(stages[-1], conv).clamp(min=0))
            masks.append(valid_frames(stages[-1], strided_length(masks[-1].shape[1], conv)))
        with self._padding.during(*masks):
            hidden, layers = self._encode(frames.hidden, masks[0], keep)
            hidden = self._adapt(hidden, masks[0], stages[1:])
        return EncoderOutput(hidden=hidden, num_frames=stages[-1], layers=layers)

    def attentions(self, waveforms: Tensor, num_samples: Tensor) -> tuple[list[Tensor], Tensor]:
        """What each layer attends to; see `Encoder.attentions`.

        Raises:
            InputError: transformers' encoder of this kind does not give its attention.
        """
        frames = self.embed(waveforms, num_samples)
        mask = valid_frames(frames.num_frames, frames.hidden.shape[1])
        found: list[Tensor] = []

        def note(module: nn.Module, inputs: object, output: tuple[Tensor | None, ...]) -> None:
            if output[1] is not None:
                found.append(output[1])

        layers = self.model.encoder.layers
        hooks = [
            (layer.attention if hasattr(layer, "attention") else layer.self_attn).register_forward_hook(note)
            for layer in layers
        ]
        before = self.model.config._attn_implementation
        self.model.set_attn_implementation("eager")  # the fused kernels keep no weights
        try:
            with self._padding.during(mask):
                self.model.encoder(frames.hidden, attention_mask=mask)
        finally:
            self.model.set_attn_implementation(before)
            for hook in hooks:
                hook.remove()
        if len(found) != self.num_layers:
            raise InputError(f"an encoder of kind {self.kind} does not give its attention. Use another kind.")
        return found, frames.num_frames

    @property
    def mask_embedding(self) -> nn.Parameter | None:
        """The published model's own, where its configuration masks."""
        found: nn.Parameter | None = getattr(self.model, "masked_spec_embed", None)
        return found

    def _convolve(self, waveforms: Tensor, num_samples: Tensor) -> Tensor:
        """The feature extractor, (N, S) -> (N, T, D), with normalisation over time on valid frames only."""
        if self.preprocessor["do_normalize"]:
            waveforms = standardise(waveforms[..., None], num_samples, unbiased=False)[..., 0]
        if self.narrowband:
            waveforms, num_samples = halve(waveforms, self.half_band), (num_samples + 1) // 2
        hidden, num_frames = waveforms[..., None], num_samples  # (N, S, 1)
        twice = self.gradient_checkpointing and self.training and torch.is_grad_enabled()
        for layer in self.model.feature_extractor.conv_layers:
            num_frames = strided_length(num_frames, layer.conv).clamp(min=0)
            if twice:
                hidden = checkpoint(convolve, layer, hidden, num_frames, use_reentrant=False)
            else:
                hidden = convolve(layer, hidden, num_frames)
        return hidden

    def _hide_spans(self, hidden: Tensor, num_frames: Tensor) -> Tensor:
        """SpecAugment on (N, T, D) in training, as the configuration says."""
        settings = self.model.config
        if not (self.training and self.mask_scale and getattr(settings, "apply_spec_augment", True)):
            return hidden
        num_utterances, size, width = hidden.shape
        if settings.mask_time_prob > 0:
            spans = span_mask(
                num_frames.tolist(),
                size,
                probability=self.mask_scale * settings.mask_time_prob,
                span=settings.mask_time_length,
                min_spans=getattr(settings, "mask_time_min_masks", 0),
            ).to(hidden.device)
            hidden = torch.where(spans[..., None], self.model.masked_spec_embed.to(hidden.dtype), hidden)
        if settings.mask_feature_prob > 0:
            spans = span_mask(
                [width] * num_utterances,
                width,
                probability=self.mask_scale * settings.mask_feature_prob,
                span=settings.mask_feature_length,
                min_spans=getattr(settings, "mask_feature_min_masks", 0),
            ).to(hidden.device)
            hidden = hidden.masked_fill(spans[:, None, :], 0.0)
        return hidden

    def _encode(
        self, hidden: Tensor, mask: Tensor, keep: Collection[int]
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """The layers, (N, T, D) -> (N, T, D), and the outputs of those in ``keep``."""
        outputs: dict[int, Tensor] = {}

        def note(number: int, module: nn.Module, inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
            outputs[number] = output[0] if isinstance(output, tuple) else output

        # Every layer up to the last wanted is noted: a dropped layer hands on what came before it.
        layers = self.model.encoder.layers[: max(keep, default=0)]
        hooks = [
            layer.register_forward_hook(partial(note, number)) for number, layer in enumerate(layers, start=1)
        ]
        entering = hidden
        exact = self._few_channels and hidden.device.type == "cpu"
        try:
            with torch.autocast("cpu", enabled=False) if exact else nullcontext():
                inputs = hidden.float() if exact else hidden
                hidden = self.model.encoder(inputs, attention_mask=mask).last_hidden_state
        finally:
            for hook in hooks:
                hook.remove()
        kept = {}
        for number in keep:
            before = [entering] + [outputs[layer] for layer in sorted(outputs) if layer <= number]
            kept[number] = before[-1]
        return hidden, kept

    def _adapt(self, hidden: Tensor, mask: Tensor, stages: list[Tensor]) -> Tensor:
        """The strided adapter after the layers, where the model has one, (N, T, D) -> (N, T', D')."""
        if getattr(self.model, "intermediate_ffn", None) is not None:
            hidden = hidden + 0.5 * self.model.intermediate_ffn(hidden)
        if not stages:
            return hidden
        adapter = self.model.adapter
        if adapter.proj is not None:
            hidden = adapter.proj_layer_norm(adapter.proj(hidden))
        for layer, frames in zip(self._adapter_layers(), stages, strict=True):
            # transformers' layerdrop may skip one of these, and with it halve the stride; here none is.
            if self.filterbanks is not None:
                # The mask only says that there is one: the layer makes its own from the lengths.
                hidden = layer(hidden, attention_mask=mask, sub_sampled_lengths=frames.clamp(min=1))
            else:
                hidden = layer(hidden.transpose(1, 2)).transpose(1, 2)
        return hidden

    def _adapter_layers(self) -> list[nn.Module]:
        adapter = getattr(self.model, "adapter", None)
        return [] if adapter is None else list(adapter.layers)

    def _keep_padding_out(self) -> None:
        """Mend the modules that would read padded frames."""
        if self.kind == "wavlm":
            # Its attention gets a boolean mask with a float bias, which torch warns of at every call.
            warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")
        if self.kind != "wav2vec2-bert":  # whose convolutions are causal and masked
            for module in list(self.model.encoder.modules()):
                for name, child in list(module.named_children()):
                    if isinstance(child, nn.BatchNorm1d):
                        setattr(module, name, MaskedBatchNorm(child.num_features, self._padding))
                    elif isinstance(child, nn.Conv1d) and child.kernel_size[0] > 1:
                        self._padding.shield(child)
        for stage, layer in enumerate(self._adapter_layers()):
            for module in layer.modules():
                if isinstance(module, nn.Conv1d):
                    self._padding.shield(module, stage)

    def load_weights(self, state: Mapping[str, Tensor], source: str, *, given: Collection[str] = ()) -> None:
        """Take the encoder's weights from a checkpoint of transformers, with or without a head.

        Args:
            state: tensors by the names in the file.
            source: name of the checkpoint for messages.
            given: fields of the configuration that the user has set; for messages too.
        Raises:
            InputError: weights are missing, unknown, or of another shape.
        """
        prefix = f"{self.model.base_model_prefix}."
        if any(name.startswith(prefix) for name in state):
            state = {
                name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
            }
        state = {
            weight_norm_name(name): value for name, value in state.items() if not NOT_WEIGHTS.search(name)
        }
        remedy = "Use the config.json that belongs to these weights."
        if given:
            remedy = (
                f"Leave out of `config` what changes the size (it sets {', '.join(given)}). Else: {remedy}"
                f"{layers_hint(given)}"
            )
        own = self.model.state_dict()
        # Saved by models that were trained with masking, and needed by those alone.
        optional = {"masked_spec_embed"}
        missing = [name for name in own.keys() - state.keys() - optional if not NOT_WEIGHTS.search(name)]
        unknown = sorted(state.keys() - own.keys() - optional)
        if missing or unknown:
            raise InputError(
                f"weights of {source} do not fit a {self.kind} encoder: {_some('missing', sorted(missing))}, "
                f"{_some('unknown', unknown)}. {remedy}"
            )
        for name, value in state.items():
            if name in own and own[name].shape != value.shape:
                raise InputError(
                    f"weights of {source}: {name} must be {tuple(own[name].shape)}; "
                    f"got {tuple(value.shape)}. {remedy}"
                )
        self.model.load_state_dict(
            {name: value for name, value in state.items() if name in own}, strict=False
        )
        if self.mask_embedding is None:
            self.unused_mask = state.get("masked_spec_embed")
        if self.narrowband:
            adapt_weights(self.model.feature_extractor.conv_layers)


def forget_positions(module: nn.Module, inputs: object) -> None:
    """Have rotary positions computed anew: those kept from inference are no tensors to train with."""
    module.cached_sequence_length = None  # type: ignore[assignment]


def weight_norm_name(name: str) -> str:
    """Name that torch's newer form of weight normalisation gives a weight of the older form.

    >>> weight_norm_name("encoder.pos_conv_embed.conv.weight_g")
    'encoder.pos_conv_embed.conv.parametrizations.weight.original0'
    """
    name = re.sub(r"\.weight_g$", ".parametrizations.weight.original0", name)
    return re.sub(r"\.weight_v$", ".parametrizations.weight.original1", name)


def old_weight_norm_name(name: str) -> str:
    """The opposite of `weight_norm_name`.

    >>> old_weight_norm_name("encoder.pos_conv_embed.conv.parametrizations.weight.original1")
    'encoder.pos_conv_embed.conv.weight_v'
    """
    name = re.sub(r"\.parametrizations\.weight\.original0$", ".weight_g", name)
    return re.sub(r"\.parametrizations\.weight\.original1$", ".weight_v", name)


def check_kind(kind: str) -> None:
    """Refuse a kind that is none of `FAMILIES`; the message names all that `build_encoder` makes."""
    if kind not in FAMILIES:
        raise InputError(
            f"encoder kind {kind!r} is unknown; choose one of conformer, pretrained, saved, {', '.join(FAMILIES)}."
        )


def known_fields(kind: str) -> set[str]:
    """Fields that the configuration class of ``kind`` knows."""
    check_kind(kind)
    fields = set(getattr(transformers, f"{FAMILIES[kind]}Config")().to_dict())
    return fields - {"model_type", "transformers_version", "architectures", "_name_or_path", "dtype"}


def _settings(kind: str, config: Mapping[str, Any]) -> Any:
    """transformers' configuration with the fields of ``config`` set."""
    check_names(f"encoder {kind}", config, known_fields(kind))
    try:
        return getattr(transformers, f"{FAMILIES[kind]}Config")(**config)
    except (ValueError, TypeError, StrictDataclassError) as error:
        raise InputError(
            f"encoder {kind}: {' '.join(str(error.__cause__ or error).split())} Mend its `config`."
        ) from error


def _preprocessor(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    known = PREPROCESSORS[kind == "wav2vec2-bert"]
    check_names(f"preprocessor of {kind}", given, set(known))
    return {**known, **given}


def check_names(owner: str, given: Collection[str], known: set[str]) -> None:
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = (
                f"did you mean {near[0]!r}?" if near else f"it has {', '.join(sorted(known)[:8])} and others."
            )
            raise InputError(f"{owner}: no field {name!r}; {hint}")


def _some(label: str, names: list[str]) -> str:
    """``3 missing (a, b, c)``, at most three named."""
    listed = f" ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})" if names else ""
    return f"{len(names)} {label}{listed}"

"""The decoder of a published multilingual MT model, for a speech translator: NLLB-200, M2M-100, mBART-50.

Its vocabulary is cut down to the pieces of the translations at hand, so that a quarter of a million pieces cost
nothing; what is saved is what was built, and needs neither the hub nor its tokenizer any more.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

from asr.encoder.lora import LoraSettings, add_adapters
from asr.features import frame_mask
from asr.text import TextPolicy
from asr.tokenizer import Tokenizer
from lm.errors import InputError
from st.hub.vocabulary import MULTILINGUAL, check_language, language_codes, open_published, trimmed_tokenizer

if TYPE_CHECKING:
    from asr.encoder.hub import ModelFiles

EMBEDDINGS = (
    "model.decoder.embed_tokens.weight", "model.shared.weight", "model.encoder.embed_tokens.weight",
    "lm_head.weight",
)  # fmt: skip
"""Names of the embedding in a checkpoint; where all are one, only one of them may be there."""


@dataclass(frozen=True, kw_only=True)
class HubDecoderSource:
    """A published MT model to begin with."""

    source: str = ""
    """Hub name or folder of transformers'; empty takes a decoder of our own."""
    language: str = ""
    """Of the translations, by the model's own code, as ``fra_Latn``."""
    lora: LoraSettings = field(default_factory=lambda: LoraSettings(rank=16))
    """Low-rank adapters on the attention's projections, while the bridge and the norms in front of the looking
    at speech learn in full; with rank 0 the whole decoder learns."""

    def __post_init__(self) -> None:
        if not self.source and (self.language or self.lora != LoraSettings(rank=16)):
            name = "language" if self.language else "lora"
            raise InputError(
                f"hub_decoder.{name} is {getattr(self, name)}, and there is no hub_decoder.source that it would be "
                "for. Give one, or leave it out."
            )


@dataclass(frozen=True, kw_only=True)
class HubDecoderConfig:
    """What a decoder of transformers' is made of."""

    kind: Literal["m2m_100", "mbart"]
    width: int
    layers: int
    heads: int
    inner: int
    activation: str
    dropout: float
    attention_dropout: float
    activation_dropout: float
    scaled: bool
    """The embedding is multiplied by the root of the width."""
    tied: bool
    """The output layer is the embedding, transposed."""
    places: int
    """Most pieces of a text where places are learned (mBART)."""
    padding: int
    """Number of the padding piece; the sinusoids of M2M-100 begin behind it."""


@dataclass
class HubCache:
    """What a search keeps, as `st.decoder.Cache`."""

    kept: Any
    """transformers' keys and values: of each beam's labels, and of its memory."""
    memory: Tensor
    """(N K, T, D)."""
    mask: Tensor
    """Where it is real, (N K, T)."""

    def reorder(self, beams: Tensor) -> None:
        """Go on with these rows, (N' K',), each of its own utterance."""
        self.kept.self_attention_cache.reorder_cache(beams)
        # Beams come from beams of the same utterance, whose memory lies there already.
        if len(beams) != len(self.mask):
            self.kept.cross_attention_cache.reorder_cache(beams)
            self.memory, self.mask = self.memory[beams], self.mask[beams]

    @property
    def length(self) -> int:
        """Labels written so far, the opening one included."""
        size: int = self.kept.get_seq_length() - 1
        return size


class HubDecoder(nn.Module):
    """A decoder of transformers' with the methods of `st.decoder.TextDecoder`.

    The label that opens a text stands for two pieces, as the model was trained: its start, and the code of the
    language, which it is made to see.
    """

    def __init__(self, num_labels: int, memory_width: int, config: HubDecoderConfig) -> None:
        """
        Args:
            memory_width: of the encoder's states, which are projected in any case: they are no text's.
        """
        super().__init__()
        self.config = config
        self.num_labels = num_labels
        # Where places are learned, the start and the language take two.
        self.longest = config.places - 2 if config.kind == "mbart" else sys.maxsize
        """Labels of a text that it can write."""
        self.bridge = nn.Linear(memory_width, config.width)
        # The rows behind those of the labels are the start and the language, which are never written.
        self.embedding = nn.Embedding(num_labels + 2, config.width)
        self.model: Any = _bare_decoder(config)
        self.output = None if config.tied else nn.Linear(config.width, num_labels, bias=False)
        self.bias = nn.Buffer(torch.zeros(num_labels))
        """mBART's, added to the logits."""

    def look_through(self, bridge: nn.Linear) -> None:
        """See memories as ``bridge`` would show them; as `TextDecoder.look_through`."""
        self.bridge.load_state_dict(bridge.state_dict())

    def forward(self, labels: Tensor, memory: Tensor, num_frames: Tensor) -> Tensor:
        """Logits of the label after each, (N, L, C); as `TextDecoder.forward`."""
        memory, mask = self._look(memory, num_frames)
        opening = torch.arange(self.num_labels, self.num_labels + 2, device=labels.device)
        read = torch.cat([opening.expand(len(labels), 2), labels[:, 1:]], dim=1)  # (N, L + 1)
        return self._logits(self._run(read, memory, mask)[:, 1:])

    def begin(self, memory: Tensor, num_frames: Tensor, beams: int) -> HubCache:
        """A cache for ``beams`` texts of each utterance; arguments as `forward`'s."""
        from transformers import DynamicCache, EncoderDecoderCache

        memory, mask = self._look(memory, num_frames)
        kept = EncoderDecoderCache(DynamicCache(), DynamicCache())
        # The start is the same for all beams, so the memory's keys and values are made once for each utterance.
        start = torch.full((len(memory), 1), self.num_labels, device=memory.device)
        self._run(start, memory, mask, kept)
        kept.batch_repeat_interleave(beams)
        return HubCache(kept, memory.repeat_interleave(beams, dim=0), mask.repeat_interleave(beams, dim=0))

    def step(self, labels: Tensor, cache: HubCache) -> Tensor:
        """Log-probabilities of the next label, (N K, C), after each beam's last one (N K,); the cache grows."""
        if not cache.length:
            labels = torch.full_like(labels, self.num_labels + 1)  # the opening label: the language
        hidden = self._run(labels[:, None], cache.memory, cache.mask, cache.kept)
        return self._logits(hidden)[:, 0].float().log_softmax(dim=-1)

    def adapt(self, settings: LoraSettings) -> None:
        """Freeze what is published and put adapters beside its attention; the way to speech learns in full.

        Raises:
            InputError: peft is not installed, or there is no layer of those names.
        """
        self.embedding.requires_grad_(False)
        if self.output is not None:
            self.output.requires_grad_(False)
        # It asks for an encoder's layers and names alone.
        add_adapters(cast(Any, self.model), settings)
        for layer in self.model.layers:
            layer.encoder_attn_layer_norm.requires_grad_(True)

    def _look(self, memory: Tensor, num_frames: Tensor) -> tuple[Tensor, Tensor]:
        memory = self.bridge(memory)
        return memory, frame_mask(num_frames.clamp(min=1), memory.shape[1])

    def _run(self, read: Tensor, memory: Tensor, mask: Tensor, kept: Any = None) -> Tensor:
        """Hidden states of rows of the embedding (N, L), (N, L, D)."""
        written = read.shape[1] + (kept.get_seq_length() if kept is not None else 0)
        if self.config.kind == "mbart" and written > self.config.places:
            raise InputError(
                f"a translation of {written} pieces: the decoder has {self.config.places} places. Leave such rows "
                "out of the training."
            )
        embedded = self.embedding(read) * (math.sqrt(self.config.width) if self.config.scaled else 1.0)
        out: Tensor = self.model(
            inputs_embeds=embedded,
            encoder_hidden_states=memory,
            encoder_attention_mask=mask,
            past_key_values=kept,
            use_cache=kept is not None,
        ).last_hidden_state
        return out

    def _logits(self, hidden: Tensor) -> Tensor:
        weight = self.embedding.weight[: self.num_labels] if self.output is None else self.output.weight
        return F.linear(hidden, weight, self.bias)


def _bare_decoder(config: HubDecoderConfig) -> nn.Module:
    """transformers' decoder without its embedding."""
    # transformers takes seconds to import.
    from transformers import M2M100Config, MBartConfig
    from transformers.models.m2m_100.modeling_m2m_100 import M2M100Decoder
    from transformers.models.mbart.modeling_mbart import MBartDecoder

    configuration, kind = {
        "m2m_100": (M2M100Config, M2M100Decoder),
        "mbart": (MBartConfig, MBartDecoder),
    }[config.kind]
    decoder: nn.Module = kind(
        configuration(
            vocab_size=config.padding + 1,
            d_model=config.width,
            decoder_layers=config.layers,
            decoder_attention_heads=config.heads,
            decoder_ffn_dim=config.inner,
            activation_function=config.activation,
            dropout=config.dropout,
            attention_dropout=config.attention_dropout,
            activation_dropout=config.activation_dropout,
            # Layers that are left out at random would leave out their adapters.
            decoder_layerdrop=0.0,
            max_position_embeddings=config.places,
            pad_token_id=config.padding,
            eos_token_id=None,
            decoder_start_token_id=None,
        )
    )
    del decoder.embed_tokens
    return decoder


@dataclass(frozen=True)
class HubParts:
    """What a speech translator takes from a published MT model."""

    name: str
    tokenizer: Tokenizer
    config: HubDecoderConfig
    state: dict[str, Tensor]
    """Of a `HubDecoder`, all but its bridge."""


def read_hub_decoder(settings: HubDecoderSource, texts: Sequence[str], policy: TextPolicy) -> HubParts:
    """The decoder of a published model, and its vocabulary as far as the texts need it.

    The big matrix is read once, and nothing of the encoder is.

    Args:
        texts: the translations of the training split.
        policy: what is done to them.
    Raises:
        InputError: the model cannot be had, is of another kind, or does not know the language.
    """
    # Of asr's encoders, but the same files: by folder, or from the hub and its cache.
    from asr.encoder.hub import ModelFiles

    name = settings.source
    published, tokenizer = open_published(name)
    if published.model_type not in MULTILINGUAL:
        raise InputError(
            f"hub_decoder.source {name}: it is of type {published.model_type!r}. "
            f"Give a model of {', '.join(MULTILINGUAL.values())}."
        )
    codes = language_codes(tokenizer)
    check_language(name, settings.language, codes, "hub_decoder.language")
    labels, numbers = trimmed_tokenizer(tokenizer, texts, policy)
    files = ModelFiles(name)
    start = getattr(published, "decoder_start_token_id", None)
    if start is None:
        start = files.json("generation_config.json", required=False, certain=True).get(
            "decoder_start_token_id"
        )
    if start in codes.values():
        raise InputError(
            f"hub_decoder.source {name}: its texts begin with their language alone, as those of a model for one pair. "
            f"Give {' or '.join(MULTILINGUAL.values())}."
        )
    opening = [tokenizer.eos_token_id if start is None else start, codes[settings.language]]
    config = HubDecoderConfig(
        kind=published.model_type,
        width=published.d_model,
        layers=published.decoder_layers,
        heads=published.decoder_attention_heads,
        inner=published.decoder_ffn_dim,
        activation=published.activation_function,
        dropout=published.dropout,
        attention_dropout=published.attention_dropout,
        activation_dropout=published.activation_dropout,
        scaled=published.scale_embedding,
        tied=published.tie_word_embeddings,
        places=published.max_position_embeddings,
        padding=published.pad_token_id,
    )
    tensors = _decoder_tensors(files)
    embedding = next((tensors[each] for each in EMBEDDINGS if each in tensors), torch.empty(0, 0))
    if len(embedding) <= max(*numbers, *opening):
        raise InputError(
            f"MT model {name}: its embedding has {len(embedding)} rows, its tokenizer more pieces. Fetch both again."
        )
    state = {
        key.replace("model.decoder.", "model.", 1): value.float()
        for key, value in tensors.items()
        if key not in EMBEDDINGS and key.startswith("model.decoder.")
    }
    state["embedding.weight"] = embedding[numbers + opening].float()
    bias = tensors.get("final_logits_bias")
    state["bias"] = torch.zeros(len(numbers)) if bias is None else bias[0, numbers].float()
    if not config.tied and "lm_head.weight" in tensors:
        state["output.weight"] = tensors["lm_head.weight"][numbers].float()
    return HubParts(name, labels, config, state)


def begin_with(decoder: nn.Module, parts: HubParts, lora: LoraSettings) -> None:
    """Give a decoder of ``parts.config`` the published weights, and adapters unless ``lora.rank`` is 0.

    Raises:
        InputError: the weights do not fit the model's own configuration.
    """
    assert isinstance(decoder, HubDecoder)
    own = {name: value for name, value in decoder.state_dict().items() if not name.startswith("bridge.")}
    wrong = [
        name
        for name, value in own.items()
        if name not in parts.state or parts.state[name].shape != value.shape
    ]
    if wrong:
        raise InputError(
            f"MT model {parts.name}: {wrong[0]} is missing among its weights or has another size than its "
            "configuration says. Fetch the model again."
        )
    # Files of older releases hold sinusoids too, which are computed now.
    decoder.load_state_dict({name: parts.state[name] for name in own}, strict=False)
    if lora.rank:
        decoder.adapt(lora)


def _decoder_tensors(files: ModelFiles) -> dict[str, Tensor]:
    """A checkpoint's tensors as far as a decoder needs them; the others are not read into memory."""
    tensors: dict[str, Tensor] = {}

    def wanted(name: str) -> bool:
        return name.startswith("model.decoder.") or name in (*EMBEDDINGS, "final_logits_bias")

    for path in files.weight_files():
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                tensors |= {name: file.get_tensor(name) for name in file.keys() if wanted(name)}  # noqa: SIM118
            continue
        try:
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # written before torch 1.6: such a file cannot be mapped
            state = torch.load(path, map_location="cpu", weights_only=True)
        tensors |= {name: value for name, value in state.items() if wanted(name)}
    return tensors

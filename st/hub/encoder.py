"""The encoder of a published multilingual MT model, for speech to come near: NLLB-200, M2M-100, mBART-50.

Tsiamas et al. 2024, "Pushing the limits of zero-shot end-to-end speech translation", bring speech to such states with
CTC and optimal transport; a decoder of the same model, as `st.hub.decoder`, then reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from asr.encoder import EncoderOutput
from asr.tokenizer import Tokenizer
from lm.errors import InputError
from st.hub.texts import most_pieces, published_model
from st.hub.vocabulary import MULTILINGUAL, check_language, language_codes, open_published


class HubTextEncoder(nn.Module):
    """What a published model makes of texts, with the methods of `st.text_encoder.TextEncoder`.

    It reads what a recogniser's labels write. It stands still, and checkpoints do not hold it: it is where it was.
    """

    def __init__(self, name: str, language: str, written: Tokenizer) -> None:
        """
        Args:
            name: on the hub, or a folder of transformers'.
            language: of the texts, by the model's own code, as ``quy_Latn``.
            written: whose labels are read.
        Raises:
            InputError: it cannot be had, is of another kind, or does not know the language.
        """
        super().__init__()
        config, self.tokenizer = open_published(name)
        if config.model_type not in MULTILINGUAL:
            raise InputError(
                f"siamese.text_from {name}: it is of type {config.model_type!r}. Give a text translator of "
                f"recipes.train_mt, or a model of {', '.join(MULTILINGUAL.values())}."
            )
        check_language(name, language, language_codes(self.tokenizer), "siamese.language")
        self.tokenizer.src_lang = language
        self.limit = most_pieces(config, self.tokenizer)
        self.written = written
        self.width: int = config.d_model
        encoder: nn.Module = published_model(name, torch.float32).get_encoder()
        # No child, which state_dict would name.
        self._published = [encoder.requires_grad_(False).eval()]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> HubTextEncoder:
        """As torch's, which moves what a module holds: the encoder, too."""
        self._published[0]._apply(fn, recurse)  # type: ignore[no-untyped-call]
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    @torch.no_grad()
    def forward(self, labels: Tensor, num_labels: Tensor) -> EncoderOutput:
        """Encode a batch.

        Args:
            labels: of the recogniser, padded with any, (N, L).
            num_labels: (N,).
        Returns:
            hidden states (N, P, D) of the model's pieces of the texts, without those of the language and the end, for
            which speech has nothing (a text without a piece keeps the latter), and their numbers, (N,).
        """
        rows = zip(labels.tolist(), num_labels.tolist(), strict=True)
        pieces: Any = self.tokenizer(
            [self.written.decode(row[:length]) for row, length in rows],
            padding=True,
            truncation=True,
            max_length=self.limit,
            return_tensors="pt",
        ).to(labels.device)
        read, mask = pieces.input_ids, pieces.attention_mask
        hidden: Tensor = self._published[0](input_ids=read, attention_mask=mask).last_hidden_state
        # Each text stands between its language and the end.
        return EncoderOutput(hidden[:, 1:], (mask.sum(dim=1) - 2).clamp(min=1))

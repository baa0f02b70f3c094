"""Texts through a published MT model: NLLB-200, M2M-100, mBART-50, Marian."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from asr.batches import in_rows, padded
from asr.features import frame_mask
from st.hub.vocabulary import check_language, language_codes, open_published, unreadable
from st.search import TranslationSearchConfig
from st.texts import BATCH, Scored


class HubTranslator:
    """A sequence-to-sequence model of transformers' that translates texts."""

    def __init__(
        self,
        name: str,
        source_language: str,
        target_language: str,
        device: str,
        search: TranslationSearchConfig | None = None,
        *,
        language: str = "",
    ) -> None:
        """
        Args:
            name: on the hub, or a folder of transformers'.
            source_language: by the model's own code, as ``quy_Latn``; Marian models need none.
            language: of the texts as others call it; taken for the source where that is not given and this is its code.
            target_language: the same; Marian models of several targets have codes as ``fra``.
        Raises:
            InputError: it cannot be had, or does not know a language.
        """
        self.name = name
        self.search = search or TranslationSearchConfig()
        config, self.tokenizer = open_published(name)
        self.forced: int | None = None
        self.prefix = ""
        # Several targets of a Marian model are told apart by what stands before the source: ">>fra<<".
        marked = getattr(self.tokenizer, "supported_language_codes", None) or []
        if codes := language_codes(self.tokenizer):
            source_language = source_language or (language if language in codes else "")
            check_language(name, source_language, codes, "--source-language")
            check_language(name, target_language, codes, "--target-language")
            self.tokenizer.src_lang = source_language
            self.forced = codes[target_language]
        elif marked:
            check_language(name, target_language, [code.strip("<>") for code in marked], "--target-language")
            self.prefix = f">>{target_language}<< "
        elif (source_language or target_language) and not any(self.languages):
            print(
                f"MT model {name} names no languages: it translates as it was trained to, whatever --source-language "
                "and --target-language say",
                file=sys.stderr,
            )
        self.limit = most_pieces(config, self.tokenizer)
        """Most pieces of a text, special ones included."""
        # Half precision, where it was published so, is slow on a CPU.
        on_cpu = torch.device(device).type == "cpu"
        model = published_model(name, torch.float32 if on_cpu else "auto")
        self.model: Any = model.to(device).eval()
        self.start: int | None = self.model.generation_config.decoder_start_token_id
        if self.start in codes.values():  # an mBART of one pair, whose texts begin with their language
            self.start, self.forced = self.forced, None

    @property
    def languages(self) -> tuple[str, str]:
        """Source and target where the model has one pair; empty texts otherwise."""
        source = getattr(self.tokenizer, "source_lang", None) or ""
        return source, "" if self.prefix else getattr(self.tokenizer, "target_lang", None) or ""

    def unknown(self, text: str) -> tuple[int, int]:
        """Pieces that the model has no entry for, and all."""
        pieces = self.tokenizer(text, add_special_tokens=False, verbose=False).input_ids
        return pieces.count(self.tokenizer.unk_token_id), len(pieces)

    @torch.inference_mode()
    def translate(self, texts: Sequence[str]) -> list[Scored]:
        """The best translation of each text; one beyond the model's limit is cut, which is said on stderr.

        A text gets the translation that it would get alone.
        """
        found = [Scored("", 0.0)] * len(texts)
        rows = {place: self._encode(text) for place, text in enumerate(texts) if text.strip()}
        # Alike lengths together, so that little is padding.
        order = sorted(rows, key=lambda place: len(rows[place]))
        for places in in_rows(order, BATCH):
            for place, scored in zip(places, self._search([rows[each] for each in places]), strict=True):
                found[place] = scored
        return found

    def _encode(self, text: str) -> list[int]:
        row: list[int] = self.tokenizer(self.prefix + text, verbose=False).input_ids
        if len(row) <= self.limit:
            return row
        print(
            f"MT model {self.name} reads {self.limit} pieces of a text; cut off after them is the end of the "
            f"{len(row)} of {text[:40]!r}",
            file=sys.stderr,
        )
        cut: list[int] = self.tokenizer(self.prefix + text, truncation=True, max_length=self.limit).input_ids
        return cut

    def _search(self, rows: Sequence[Sequence[int]]) -> list[Scored]:
        """Translate a batch of encoded texts."""
        device, pad, eos = self.model.device, self.tokenizer.pad_token_id, self.tokenizer.eos_token_id
        pieces, lengths = padded([np.asarray(row, dtype=np.int64) for row in rows])
        mask = frame_mask(lengths, pieces.shape[1])
        pieces, mask = pieces.masked_fill(~mask, pad).to(device), mask.long().to(device)
        beam, opening = self.search.beam, 1 if self.forced is None else 2
        # A limit for each text: one for all would let a text's translation depend on its neighbours.
        limits = (self.search.limits(lengths) + opening).clamp(max=self.limit - 1).to(device)
        written = self.model.generate(
            input_ids=pieces,
            attention_mask=mask,
            num_beams=beam,
            # The one text of a greedy search is not compared with others; transformers warns of any other value.
            length_penalty=self.search.length_penalty if beam > 1 else 1.0,
            decoder_start_token_id=self.start,
            forced_bos_token_id=self.forced,
            # One more than is ever written: what closes texts there would do so at no cost, and for some alone.
            max_new_tokens=int(limits.max()) + 1,
            logits_processor=[_closing(limits.repeat_interleave(beam), eos)],
        )
        # What the search summed up would come with the scores of all pieces at all steps: gigabytes.
        states = self.model.get_encoder()(input_ids=pieces, attention_mask=mask).last_hidden_state
        found = []
        for number, sequence in enumerate(written):
            ends = (sequence[1:] == eos).nonzero()
            sequence = sequence[: int(ends[0]) + 2] if len(ends) else sequence
            logits = self.model(
                encoder_outputs=(states[number : number + 1, : lengths[number]],),
                decoder_input_ids=sequence[None, :-1],
            ).logits[0]
            scores = logits.float().log_softmax(dim=-1).gather(1, sequence[1:, None])[opening - 1 :]
            # The language's code is no special token to every tokenizer that forces it.
            text = self.tokenizer.decode(
                sequence[opening:].tolist(), skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
            cut = len(sequence) > int(limits[number])
            found.append(Scored(" ".join(text.split()), float(scores.mean()), cut))
        return found


def _closing(limits: Tensor, eos: int) -> Callable[[Tensor, Tensor], Tensor]:
    """What lets a text at its limit only close.

    Args:
        limits: most pieces to write, the closing one included, of each row (N K,).
    """

    def close(written: Tensor, scores: Tensor) -> Tensor:
        full = written.shape[1] >= limits  # the first piece is the decoder's start
        others = torch.arange(scores.shape[1], device=scores.device) != eos
        return scores.masked_fill(full[:, None] & others, -torch.inf)

    return close


def published_model(name: str, precision: torch.dtype | Literal["auto"]) -> Any:
    """A sequence-to-sequence model of transformers'.

    Args:
        precision: of its weights; ``auto`` is as published.
    Raises:
        InputError: it cannot be had or read.
    """
    # transformers takes seconds to import.
    from transformers import AutoModelForSeq2SeqLM

    try:
        return AutoModelForSeq2SeqLM.from_pretrained(name, dtype=precision)
    except Exception as error:  # transformers', the hub's, safetensors': none is ours to name
        raise unreadable(name, error) from error


def most_pieces(config: Any, tokenizer: Any) -> int:
    """How many pieces of a text a model reads, special ones included."""
    longest: int = min(getattr(config, "max_position_embeddings", None) or 512, tokenizer.model_max_length)
    return longest

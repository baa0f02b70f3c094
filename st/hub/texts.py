"""Published MT models by name: NLLB, M2M-100, mBART, Marian. The only module of `st` that knows transformers."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import torch

from lm.errors import InputError
from st.texts import Scored


class HubTranslator:
    """A sequence-to-sequence model of transformers' that translates texts."""

    def __init__(self, name: str, source_language: str, target_language: str, device: str) -> None:
        """
        Args:
            name: on the hub, or a folder of transformers'.
            source_language: by the model's own code, as ``quy_Latn``; Marian models have one pair and need none.
            target_language: the same.
        Raises:
            InputError: it cannot be had, or does not know a language.
        """
        # transformers takes seconds to import.
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(name)
            self.model: Any = AutoModelForSeq2SeqLM.from_pretrained(name).to(device).eval()
        except (OSError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"MT model {name}: {reason}. Give the folder of recipes.train_mt, a hub name, or a folder."
            ) from error
        self.name = name
        self.forced: int | None = None
        codes = self._codes()
        if not codes:
            return  # one pair of languages
        for argument, code in (
            ("--source-language", source_language),
            ("--target-language", target_language),
        ):
            if code not in codes:
                near = difflib.get_close_matches(code, codes, n=3)
                hint = (
                    f"Near it: {', '.join(near)}."
                    if near
                    else f"It has, for example, {', '.join(list(codes)[:5])}."
                )
                raise InputError(f"MT model {name} knows no language {code!r} ({argument}). {hint}")
        self.tokenizer.src_lang = source_language
        self.forced = codes[target_language]

    @property
    def languages(self) -> tuple[str, str]:
        """Source and target where the model has one pair; empty texts otherwise."""
        return getattr(self.tokenizer, "source_lang", "") or "", getattr(
            self.tokenizer, "target_lang", ""
        ) or ""

    def unknown_share(self, texts: Sequence[str]) -> float:
        """Share of the pieces of the texts that the model has no entry for."""
        pieces = [piece for row in self.tokenizer(list(texts)).input_ids for piece in row]
        unknown = self.tokenizer.unk_token_id
        return sum(int(piece == unknown) for piece in pieces) / max(1, len(pieces))

    @torch.inference_mode()
    def translate(self, texts: Sequence[str], *, beam: int = 5) -> list[Scored]:
        """The best translation of each text with its score per piece; texts beyond the model's limit are cut."""
        kept = [place for place, text in enumerate(texts) if text.strip()]
        found = [Scored("", 0.0)] * len(texts)
        if not kept:
            return found
        limit = getattr(self.model.config, "max_position_embeddings", 512) or 512
        inputs = self.tokenizer(
            [texts[place] for place in kept],
            return_tensors="pt",
            padding=True,
            truncation=True,
            max_length=limit,
        ).to(self.model.device)
        out = self.model.generate(
            **inputs,
            num_beams=beam,
            forced_bos_token_id=self.forced,
            max_new_tokens=min(limit, 2 * inputs.input_ids.shape[1] + 10),
            return_dict_in_generate=True,
            output_scores=True,
        )
        written = self.tokenizer.batch_decode(out.sequences, skip_special_tokens=True)
        scores = out.sequences_scores.tolist() if beam > 1 else [0.0] * len(kept)
        for place, text, score in zip(kept, written, scores, strict=True):
            found[place] = Scored(" ".join(text.split()), score)
        return found

    def _codes(self) -> dict[str, int]:
        """Language codes and the pieces that stand for them."""
        table = getattr(self.tokenizer, "lang_code_to_id", None)
        if table:
            return dict(table)
        table = getattr(self.tokenizer, "lang_code_to_token", None)  # M2M-100
        if table:
            return {code: self.tokenizer.convert_tokens_to_ids(token) for code, token in table.items()}
        extra = getattr(self.tokenizer, "additional_special_tokens", None) or []
        codes = [token for token in extra if "_" in token]  # NLLB and mBART name them as the language alone
        return {code: self.tokenizer.convert_tokens_to_ids(code) for code in codes}

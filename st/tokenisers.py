"""sacrebleu's tokenisers for BLEU, by name: without sacrebleu, so that the command's help need not wait for it."""

from __future__ import annotations

from typing import Literal, get_args

Tokenizer = Literal["13a", "none", "char", "intl", "zh", "ja-mecab", "ko-mecab", "flores200"]
TOKENIZERS: tuple[Tokenizer, ...] = get_args(Tokenizer)
"""All of them; the mecab ones need an extra of sacrebleu's, flores200 a download."""

CHARACTER_TOKENIZERS: tuple[Tokenizer, ...] = ("char", "zh", "ja-mecab")
"""Those for writing without spaces: such texts are re-segmented between characters, and TER cuts Chinese and
Japanese so."""

"""``python -m asr.decode``: compile search and scores now, so that the first decoding need not wait for it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from asr.decode import BeamSearchConfig, build_decoder
from asr.decode.fusion import components
from lm.build import build_language_model
from lm.folder import LanguageModel


def main() -> None:
    """Decode a word with both kinds of language model."""
    with tempfile.TemporaryDirectory() as folder:
        build_language_model(["a b", "b a"], Path(folder, "lm"), word_order=2, character_order=2)
        model = LanguageModel.load(Path(folder, "lm"))
        emissions = np.log(np.array([[0.1, 0.1, 0.7, 0.1]] * 2, dtype=np.float32))
        build_decoder(("", " ", "a", "b"), 0, model, BeamSearchConfig()).decode(emissions)
        components(model, "a")
        assert model.word
        model.word.log_probs("a")


if __name__ == "__main__":
    main()

"""Between text and the labels of a CTC model; built from the training split alone."""

from __future__ import annotations

import base64
import io
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from asr.formats.files import write_whole
from asr.text import TextPolicy
from lm.corpus import PIECE_SPACE, Splitter, piece_of
from lm.errors import InputError

UNKNOWN = -1
"""Stands for what no label can write."""


def silent_labels(surfaces: Sequence[str]) -> list[int]:
    """Labels that write no letter: the blank, the word boundary, those of languages."""
    return [label for label, surface in enumerate(surfaces) if not surface.strip()]


@dataclass(frozen=True, kw_only=True)
class Tokenizer:
    """Labels of a model and the text policy they were built under.

    Label 0 is the blank unless a published checkpoint says otherwise. With characters, a label is
    one code point after normalisation, so a combining mark is a label of its own under NFD.
    """

    surfaces: tuple[str, ...]
    """The text that each label writes: " " is the word boundary, "" the blank and other silent labels."""
    policy: TextPolicy
    blank: int = 0
    sentencepiece: bytes | None = None
    """A serialised sentencepiece model; None for characters."""
    languages: dict[str, int] = field(default_factory=dict)
    """Silent label that opens a text in each language, for a model that is to tell them apart."""

    def __len__(self) -> int:
        return len(self.surfaces)

    def encode(self, text: str, language: str = "", *, written: str = "") -> list[int]:
        """Labels of a transcript; characters without a label are left out (see `unknown`).

        Args:
            written: key of the policy that wrote the text, where a model did.
        """
        text = self.policy.of_written(written)(text)
        opening = [self.languages[language]] if text and language in self.languages else []
        return opening + [label for label in self._spell(text) if label != UNKNOWN]

    def segmentations(self, text: str, num_best: int) -> tuple[list[list[int]], list[float]]:
        """Ways to write a text in pieces, from the likeliest, which `encode` gives, and their log-probabilities.

        Labels that are letters write it in one way.
        """
        if self.sentencepiece is None:
            return [self.encode(text)], [0.0]
        found = self._pieces.nbest_encode_as_ids(self.policy(text), num_best)
        scores = [sum(self._pieces.get_score(label) for label in labels) for labels in found]
        return [[label for label in labels if label != self.blank] for labels in found], scores

    def spell(self, text: str) -> list[int]:
        """Labels of a transcript's `nearest`; `UNKNOWN` for a character without one, in pieces for a run of such."""
        return self._spell(self.nearest(text))

    def nearest(self, text: str) -> str:
        """A normalised transcript as near to what labels write as it comes.

        A letter that has a label only in its other case is in that; punctuation without a label is left out.
        """
        return self._writable(self.policy(text))

    def with_languages(self, languages: Iterable[str]) -> Tokenizer:
        """The same with a silent label for each language."""
        codes = sorted(set(languages) - {""})
        first = len(self.surfaces)
        return replace(
            self,
            surfaces=(*self.surfaces, *[""] * len(codes)),
            languages={code: first + place for place, code in enumerate(codes)},
        )

    def splitter(self) -> Splitter:
        """How it cuts normalised texts, for n-grams of pieces.

        Raises:
            InputError: its labels are no sentence pieces.
        """
        if self.sentencepiece is None:
            raise InputError(
                "n-grams of pieces: this tokenizer's labels are letters, or its sentencepiece model is not with it. "
                "Give a tokenizer with one, or build n-grams of characters."
            )

        def split(text: str) -> list[str]:
            text = self._writable(text)
            tokens = zip(self._spell(text), self._pieces.encode(text, out_type=str), strict=True)
            written = [token if label == UNKNOWN else self.surfaces[label] for label, token in tokens]
            return [piece_of(surface) for surface in written if surface]

        return Splitter(tuple(sorted({piece_of(surface) for surface in self.surfaces if surface})), split)

    @property
    def between(self) -> list[int]:
        """Labels between two texts; pieces carry their own space, and some published models write none."""
        return [self._labels[" "]] if self.sentencepiece is None and " " in self._labels else []

    def decode(self, labels: Iterable[int]) -> str:
        """Text of collapsed labels (no blanks, no repeats)."""
        return "".join(self.surfaces[label] for label in labels).strip()

    def unknown(self, texts: Iterable[str]) -> Counter[str]:
        """Characters of normalised texts that no label can write, with their counts."""
        return Counter(
            char for text in texts for char in text if char not in self._characters and char != " "
        )

    def save(self, path: str | Path) -> None:
        """Write the tokenizer as JSON, whole or not at all."""
        values: dict[str, Any] = {
            "format": 1,
            "surfaces": list(self.surfaces),
            "blank": self.blank,
            "policy": self.policy.to_dict(),
        }
        if self.languages:
            values["languages"] = self.languages
        if self.sentencepiece is not None:
            values["sentencepiece"] = base64.b64encode(self.sentencepiece).decode("ascii")
        written = json.dumps(values, ensure_ascii=False, indent=1) + "\n"
        write_whole(Path(path), [written.encode()], overwrite=True)

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """Read what `save` wrote.

        Raises:
            InputError: the file is missing or is not a tokenizer.
        """
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
            pieces = values.get("sentencepiece")
            return cls(
                surfaces=tuple(values["surfaces"]),
                blank=values["blank"],
                policy=TextPolicy.from_dict(values["policy"]),
                sentencepiece=base64.b64decode(pieces) if pieces else None,
                languages=values.get("languages", {}),
            )
        except OSError as error:
            raise InputError(
                f"tokenizer {path}: {error.strerror}. Copy the model folder again, whole."
            ) from error
        except KeyError as error:
            raise InputError(
                f"{path} is no tokenizer: it has no {error}. Give a model folder, or the tokenizer.json in it."
            ) from error
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(
                f"tokenizer {path} cannot be read ({error}). Copy the model folder again, whole."
            ) from error

    def _spell(self, text: str) -> list[int]:
        if self.sentencepiece is not None:
            # Piece 0 is sentencepiece's <unk>; its number is the blank here.
            return [UNKNOWN if label == self.blank else label for label in self._pieces.encode(text)]
        return [self._labels.get(char, UNKNOWN) for char in text]

    def _writable(self, text: str) -> str:
        return "".join(map(self._nearest, text))

    def _nearest(self, char: str) -> str:
        if char == " ":
            return char
        for form in (char, char.lower(), char.upper()):
            if form in self._characters:
                return form
        return "" if unicodedata.category(char)[0] in "PS" else char

    @cached_property
    def _characters(self) -> frozenset[str]:
        return frozenset("".join(self.surfaces))

    @cached_property
    def _labels(self) -> dict[str, int]:
        labels = {surface: label for label, surface in enumerate(self.surfaces) if surface}
        # Phones bring their own space.
        return {surface.strip(): label for surface, label in labels.items() if surface.strip()} | labels

    @cached_property
    def _pieces(self) -> Any:
        from sentencepiece import SentencePieceProcessor

        return SentencePieceProcessor(model_proto=self.sentencepiece)


def character_tokenizer(texts: Iterable[str], policy: TextPolicy, *, min_count: int = 1) -> Tokenizer:
    """A label for every character of the training texts.

    Args:
        texts: transcripts of the training split, normalised.
        policy: what normalised them; saved with the tokenizer.
        min_count: leave out characters seen fewer times than this.
    Raises:
        InputError: the texts hold no letters, or none often enough.

    >>> character_tokenizer(["aba b"], TextPolicy()).surfaces
    ('', ' ', 'a', 'b')
    """
    counts = Counter(char for text in texts for char in text)
    chars = sorted(char for char, count in counts.items() if count >= min_count and char != " ")
    if not chars and counts.keys() - {" "}:
        raise InputError(
            f"tokenizer.min_count is {min_count}, and no letter of the training texts comes that often: "
            f"{max(counts[char] for char in counts if char != ' ')} times at most. Lower it."
        )
    if not chars:
        raise InputError("the training texts hold no letters. Check the text column and the text policy.")
    return Tokenizer(surfaces=("", " ", *chars), policy=policy)


def piece_tokenizer(texts: Sequence[str], policy: TextPolicy, *, num_pieces: int) -> Tokenizer:
    """A unigram sentencepiece model of the training texts (Kudo 2018).

    Args:
        texts: transcripts of the training split, normalised.
        policy: what normalised them; saved with the tokenizer.
        num_pieces: labels including the blank.
    Raises:
        InputError: sentencepiece cannot make so many pieces of these texts.
    """
    import sentencepiece

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            vocab_size=num_pieces,
            hard_vocab_limit=False,  # few texts have few pieces
            model_type="unigram",
            character_coverage=1.0,
            # No longer line than the usual 4,192 bytes is passed over.
            max_sentence_length=max([4192, *(len(text.encode()) + 1 for text in texts)]),
            normalization_rule_name="identity",  # the policy has normalised already
            unk_id=0,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        reason = str(error).rpartition("] ")[2].strip()
        raise InputError(
            f"sentencepiece with {num_pieces} pieces: {reason} Change this tokenizer's num_pieces."
        ) from error
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    surfaces = [pieces.id_to_piece(label).replace(PIECE_SPACE, " ") for label in range(len(pieces))]
    return Tokenizer(surfaces=("", *surfaces[1:]), policy=policy, sentencepiece=model.getvalue())


def code_point(char: str) -> str:
    """A character as people look it up.

    >>> code_point("ñ")
    'ñ (U+00F1 LATIN SMALL LETTER N WITH TILDE)'
    """
    shown = f"◌{char}" if unicodedata.combining(char) else char
    return f"{shown} (U+{ord(char):04X} {unicodedata.name(char, 'no name')})"

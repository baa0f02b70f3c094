"""What counts as the same text: one policy, named, saved with the model, printed with every score."""

from __future__ import annotations

import json
import unicodedata
import zlib
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from asr.config import from_mapping
from lm.errors import InputError

LETTER_SYMBOLS = frozenset(map(chr, [*range(0x2E5, 0x2EC), *range(0xA700, 0xA722), 0xA789, 0xA78A]))
"""Tone letters, and the colon and equals sign of orthographies: symbols to Unicode, letters to writers."""

TOKENIZER = "tokenizer.json"
"""Of a model folder; it holds the policy."""

_ON_ANOTHER = ("Mn", "Me", "Mc", "Cf")
"""Categories of marks, variation selectors and joiners."""

UnicodeForm = Literal["NFC", "NFD", "NFKC", "NFKD"]


@dataclass(frozen=True, kw_only=True)
class TextPolicy:
    """How a transcript is brought to the form that is trained on and scored.

    Combining marks are letters and are never stripped: a tone mark or a vowel sign changes the
    word. The zero-width joiners are kept for the same reason. Only what stands on a symbol that is taken away, as on
    most emoji, goes with it.

    >>> TextPolicy()("Ñukanchik, ¡SHAMUY!")
    'ñukanchik shamuy'
    """

    unicode_form: UnicodeForm = "NFC"
    """Canonical form; NFC by default, so that é is one label however it was typed."""
    case: Literal["lower", "keep"] = "lower"
    punctuation: Literal["remove", "keep"] = "remove"
    """`remove` takes away punctuation and symbols (Unicode categories P and S)."""
    inside_words: str = "'\u2018\u2019`\u00b4\u2032-\u2010\u2011"
    """Punctuation that stays when it stands between two letters, as in g'oza or mama-papa: whatever is typed for an
    apostrophe or a hyphen."""
    replace: dict[str, str] = field(default_factory=dict)
    """Strings replaced first, in order: look-alikes, markup, apostrophe variants. They are looked for in NFC,
    brought to it themselves: a letter with its marks is found however it was typed."""
    romanise: bool = False
    """Write every script in Latin letters (uroman, Hermjakob et al. 2018), so that languages share labels.
    What is lost (tones, vowel length) is lost in scoring too: the scores of two policies do not compare."""

    phonemise: str = ""
    """Write phones in the International Phonetic Alphabet instead of letters, by this code of epitran's
    (Mortensen et al. 2018), as quy-Latn."""

    def __post_init__(self) -> None:
        if self.romanise and self.phonemise:
            raise InputError("text policy: romanise and phonemise exclude each other. Give one.")
        allowed = {
            "unicode_form": ("NFC", "NFD", "NFKC", "NFKD"),
            "case": ("lower", "keep"),
            "punctuation": ("remove", "keep"),
        }
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise InputError(
                    f"text policy: {name} is {getattr(self, name)!r}. Give one of {', '.join(values)}."
                )

    def __call__(self, text: str) -> str:
        """Normalise one transcript."""
        text = unicodedata.normalize("NFC", text)
        for old, new in self.replace.items():
            text = text.replace(unicodedata.normalize("NFC", old), new)
        if self.romanise:
            text = _romaniser().romanize_string(text)
        if self.phonemise:
            text = _phonemiser(self.phonemise).transliterate(text)
        if self.case == "lower":
            # In canonical form before and after: NFKC finds capitals in symbols (№), and lower-casing can decompose.
            # Of a Turkish İ it would leave the dot as a mark on the i.
            text = unicodedata.normalize(self.unicode_form, text.replace("\u0130", "i")).lower()
        text = unicodedata.normalize(self.unicode_form, text)
        kept: list[str] = []
        bare = False  # the last character was taken away, and so is what stands on it
        for place, char in enumerate(text):
            bare = self.removes(text, place) or (bare and unicodedata.category(char) in _ON_ANOTHER)
            kept.append(" " if bare else char)
        return " ".join("".join(kept).split())

    def removes(self, text: str, place: int) -> bool:
        """Whether a character of a text in canonical form is taken away as punctuation."""
        char = text[place]
        if self.punctuation == "keep" or unicodedata.category(char)[0] not in "PS" or char in LETTER_SYMBOLS:
            return False
        around = text[place - 1 : place] + text[place + 1 : place + 2]
        return char not in self.inside_words or len(around) < 2 or not all(map(_is_letter, around))

    def describe(self) -> str:
        """The policy in one line, for printing beside a score.

        >>> TextPolicy(inside_words="'-").describe()
        "unicode:NFC|case:lower|punctuation:remove but '- in words|replace:none"
        """
        punctuation: str = self.punctuation
        if punctuation == "remove" and self.inside_words:
            punctuation += f" but {self.inside_words} in words"
        # A table of replacements does not fit on a line; its checksum tells two of them apart.
        table = f"{zlib.crc32(repr(self.replace).encode()):08x}" if self.replace else "none"
        letters = "|romanised" if self.romanise else f"|phones:{self.phonemise}" if self.phonemise else ""
        return (
            f"unicode:{self.unicode_form}|case:{self.case}|punctuation:{punctuation}|replace:{table}{letters}"
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON values that `from_dict` reads back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TextPolicy:
        """The policy that `to_dict` described.

        Raises:
            InputError: a key that no policy has, or a value of the wrong type.
        """
        return from_mapping(cls, values, "policy.")

    @classmethod
    def read(cls, path: Path) -> TextPolicy:
        """The policy of a model folder, of a ``tokenizer.json``, or in a JSON file of its own.

        Raises:
            InputError: it cannot be read, or holds none.
        """
        path = tokenizer_file(path)
        try:
            values = json.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else f"not JSON ({error})"
            raise InputError(
                f"{path}: {reason}. Give a model folder, its {TOKENIZER}, or the JSON file of a text policy."
            ) from error
        values = values.get("policy", values) if isinstance(values, dict) else None
        if not isinstance(values, dict):
            raise InputError(f"{path} holds no text policy. Give a model folder or its {TOKENIZER}.")
        return cls.from_dict(values)


def tokenizer_file(path: Path) -> Path:
    """The ``tokenizer.json`` of a model or experiment folder; any other path is itself."""
    return next((file for file in (path / TOKENIZER, path / "model" / TOKENIZER) if file.is_file()), path)


@cache
def _romaniser() -> Any:
    """uroman's tables, which take seconds to read.

    Raises:
        InputError: uroman is not installed.
    """
    try:
        from uroman import Uroman
    except ImportError as error:
        raise InputError(
            "text policy: romanise needs uroman. Install it: pip install 'loquela[uroman]'."
        ) from error
    return Uroman()


@cache
def _phonemiser(code: str) -> Any:
    """epitran's rules for a language and script.

    Raises:
        InputError: epitran is not installed, or has no such rules.
    """
    try:
        from epitran import Epitran
    except ImportError as error:
        raise InputError(
            "text policy: phonemise needs epitran. Install it: pip install 'loquela[phones]'."
        ) from error
    try:
        return Epitran(code)
    except Exception as error:  # its own classes differ from version to version
        raise InputError(
            f"text policy: epitran has no rules for {code!r} (phonemise). Codes are of language and script, as "
            "quy-Latn or spa-Latn; see https://github.com/dmort27/epitran."
        ) from error


def _is_letter(char: str) -> bool:
    return unicodedata.category(char)[0] in "LMN" or char in LETTER_SYMBOLS

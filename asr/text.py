"""What counts as the same text: one policy, named, saved with the model, printed with every score."""

from __future__ import annotations

import json
import re
import unicodedata
import zlib
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from asr.config import from_mapping
from asr.lookalikes import INVISIBLE
from lm.errors import InputError

LETTER_SYMBOLS = frozenset(
    map(
        chr,
        [
            *range(0x2D2, 0x2D8),  # raised, lowered and other letters of the phonetic alphabet; also tones
            *(0x2DE, 0x2DF),
            *range(0x2E5, 0x2EC),
            *(0x2ED, *range(0x2EF, 0x300)),
            *range(0x104C, 0x1050),  # Burmese words of one sign
            *range(0xA700, 0xA722),
            *(0xA789, 0xA78A, 0xAB5B, 0xAB6A, 0xAB6B),
        ],
    )
)
"""Tone letters, phonetic modifiers, the colon and equals sign of orthographies, Burmese words of one sign: symbols or
punctuation to Unicode, letters to writers."""

OVER_LETTERS = "\u055a\u055b\u055c\u055e"
"""Armenian marks of stress, exclamation and question. They stand inside a word, and leave no space there."""

_UNSPACED = (
    r"[\u0e01-\u0e30\u0e32\u0e33\u0e40-\u0e46"  # Thai
    r"\u0e81-\u0eb0\u0eb2\u0eb3\u0ebd-\u0ec6\u0edc-\u0edf"  # Lao
    r"\u0f00\u0f40-\u0f6c\u0f88-\u0f8c"  # Tibetan
    r"\u1000-\u102a\u103f\u104c-\u1055\u105a-\u105d\u1061\u1065\u1066\u106e-\u1070\u1075-\u1081\u108e"
    r"\uaa60-\uaa7a"  # Myanmar
    r"\u1780-\u17b3\u17d7\u17dc"  # Khmer
    r"\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"  # Han, Kana
)
WITHOUT_SPACES = re.compile(_UNSPACED)
"""A letter of the writings that put no space between words."""

_OPENING = "[(\u2018\u201c\u3008\u300a\u300c\u300e\u3010\uff08]"
_CLUSTER = (  # Thai and Lao vowels before and after their letter; Burmese and Khmer letters under another
    rf"(?:[\u0e40-\u0e44\u0ec0-\u0ec4](?={_UNSPACED}))?{_UNSPACED}"
    rf"(?:(?!{_OPENING})[^\w\s]|[\u0e30\u0e32\u0e33\u0e45\u0eb0\u0eb2\u0eb3]|(?<=[\u1039\u17d2]){_UNSPACED})*"
)
UNIT = re.compile(rf"\s*(?:{_OPENING}{{0,2}}{_CLUSTER}|(?:(?!{_OPENING}{{0,2}}{_UNSPACED})\S)+)")
"""What a text may be cut between: words; where the writing puts no spaces, letters with their marks and punctuation."""

TOKENIZER = "tokenizer.json"
"""Of a model folder; it holds the policy."""

WRITTEN = "written"
"""Column of a manifest: the key of the policy that wrote a row's text, where a model did."""

_ON_ANOTHER = ("Mn", "Me", "Mc", "Cf")
"""Categories of marks, variation selectors and joiners."""

_UNSEEN = {ord(char): " " if char == "\u200b" else "" for char in INVISIBLE}
_CHEROKEE_CAPITALS = {
    **{0xAB70 + place: 0x13A0 + place for place in range(80)},
    **{0x13F8 + place: 0x13F0 + place for place in range(6)},
}
_VOWEL_SIGNS: dict[int, int | str] = {
    **str.maketrans(
        "\u1b35\u1b36\u1b37\u1b38\u1b39\u1b3e\u1b3f\u1b40\u1b41\u1b42\u1b43"  # Balinese
        "\ua9b4\ua9b5\ua9b6\ua9b7\ua9b8\ua9b9\ua9ba\ua9bb\ua9bc"  # Javanese
        "\uabe3\uabe4\uabe5\uabe6\uabe7\uabe8\uabe9\uabea",  # Meetei Mayek
        "\u093e\u093f\u0940\u0941\u0942\u0947\u0948\u094b\u094c\u0947\u0947"
        "\u093e\u094b\u093f\u0940\u0941\u0942\u0947\u0948\u0947"
        "\u094b\u093f\u093e\u0947\u094c\u0941\u0948\u0902",
    ),
    0xA9BD: "\u094d\u0930\u0947",
    0xA9BE: "\u094d\u092f",
    0xA9BF: "\u094d\u0930",
}
"""Signs that uroman writes by their names, as pepet, and those of Devanagari for the same sound, which it knows."""
_OF_A_SOUND = re.compile("VOWEL|CONSONANT SIGN|LETTER|SARA")
"""In names of marks that may be romanised to three letters; any other is a tone or another sign that is spelt out."""

UnicodeForm = Literal["NFC", "NFD", "NFKC", "NFKD"]


@dataclass(frozen=True, kw_only=True)
class TextPolicy:
    """How a transcript is brought to the form that is trained on and scored.

    Combining marks are letters and are never stripped: a tone mark or a vowel sign changes the
    word. The zero-width joiners are kept for the same reason. Only what stands on a symbol that is taken away, as on
    most emoji, goes with it. Characters that no one sees (`asr.lookalikes.INVISIBLE`) are left out, but for those that
    ``replace`` names; the zero-width space parts words.

    >>> TextPolicy()("Ñukanchik, ¡SHAMUY!")
    'ñukanchik shamuy'
    """

    unicode_form: UnicodeForm = "NFC"
    """Canonical form; NFC by default, so that é is one label however it was typed."""
    case: Literal["lower", "lower-turkic", "keep"] = "lower"
    """`lower-turkic` writes I as \u0131, as Turkish and Azerbaijani do. Cherokee is in capitals, which is how it is
    written."""
    punctuation: Literal["remove", "keep"] = "remove"
    """`remove` takes away punctuation and symbols (Unicode categories P and S)."""
    inside_words: str = (
        "'\u2018\u2019`\u00b4\u2032-\u2010\u2011\u058a\u05be\u1400\u1806\u00b7\u05f3\u05f4\u201b\uff07"
    )
    """Punctuation that stays when it stands between two letters, as in g'oza, mama-papa or col·legi: whatever is
    typed for an apostrophe or a hyphen (of Armenian, Hebrew, Inuktitut and Mongolian too), the middle dot, geresh and
    gershayim."""
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
            "case": ("lower", "lower-turkic", "keep"),
            "punctuation": ("remove", "keep"),
        }
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise InputError(
                    f"text policy: {name} is {getattr(self, name)!r}. Give one of {', '.join(values)}."
                )

    def __call__(self, text: str) -> str:
        """Normalise one transcript."""
        unseen = _UNSEEN
        if self.replace:
            named = "".join(self.replace)
            unseen = {code: to for code, to in _UNSEEN.items() if chr(code) not in named}
        text = self.replaced(text.translate(unseen))
        if self.case != "keep":
            # Before phones are written: lower() would leave the dot of a Turkish \u0130 as a mark on the i.
            text = text.replace("\u0130", "i")
        if self.case == "lower-turkic":
            text = text.replace("I", "\u0131")
        if self.romanise:
            text = _romanised(text)
        if self.phonemise:
            text = _phonemiser(self.phonemise).transliterate(text)
        text = unicodedata.normalize(self.unicode_form, text)
        if self.case != "keep":
            # In canonical form before and after: NFKC finds capitals in symbols (№), and lower-casing can decompose.
            text = unicodedata.normalize(self.unicode_form, text.lower().translate(_CHEROKEE_CAPITALS))
        kept: list[str] = []
        gap: str | None = (
            None  # what the last character left, if it was taken away; what stands on it goes too
        )
        for place, char in enumerate(text):
            if self.removes(text, place):
                gap = "" if char in OVER_LETTERS else " "
            elif unicodedata.category(char) not in _ON_ANOTHER:
                gap = None
            kept.append(char if gap is None else gap)
        return unicodedata.normalize(self.unicode_form, " ".join("".join(kept).split()))

    def replaced(self, text: str) -> str:
        """A text in NFC to which `replace` is done, and nothing else."""
        text = unicodedata.normalize("NFC", text)
        for old, new in self.replace.items():
            text = text.replace(unicodedata.normalize("NFC", old), new)
        return text

    def of_output(self) -> TextPolicy:
        """The policy for what a model of this policy wrote: replaced, romanised and phonemised it is already.

        A second time would change it: epitran's rules read phones as letters.
        """
        return replace(self, replace={}, romanise=False, phonemise="")

    def of_phones(self) -> TextPolicy:
        """The policy for texts that are in phones already, if it writes phones, whoever wrote them."""
        return replace(self, phonemise="")

    @property
    def key(self) -> str:
        """Eight digits that tell this policy from others, for a text to say what wrote it."""
        return f"{zlib.crc32(json.dumps(self.to_dict()).encode()):08x}"

    def of_written(self, key: str) -> TextPolicy:
        """The policy for a text that the policy of this `key` wrote; none did, if it is empty."""
        return self.of_output() if key and key == self.key else self

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
    def read(cls, path: Path | None) -> TextPolicy:
        """The policy of a model folder, of a ``tokenizer.json``, or in a JSON file of its own; the default for None.

        Raises:
            InputError: it cannot be read, or holds none.
        """
        if path is None:
            return cls()
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


def _romanised(text: str) -> str:
    """A text in Latin letters, without what uroman has no letters for and writes by name, as a tone of N'Ko "tone"."""
    text = text.translate(_CHEROKEE_CAPITALS).translate(_VOWEL_SIGNS).replace("\u0947\u093e", "\u094b")
    romanised: str = _romaniser().romanize_string("".join(char for char in text if not _is_spelt_out(char)))
    return romanised


@cache
def _is_spelt_out(char: str) -> bool:
    if unicodedata.category(char)[0] != "M" or _OF_A_SOUND.search(unicodedata.name(char, "")):
        return False
    return len(_romaniser().romanize_string(f"x{char}x")) > len("xxxx")


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

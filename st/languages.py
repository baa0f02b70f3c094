"""Which languages rows and models are of, by codes that are written in several ways."""

from __future__ import annotations

import re
from collections.abc import Sequence

from asr.manifest import Utterance, languages_of_all
from lm.errors import InputError
from st.model import TextTranslator, TranslationModel

AMBIGUOUS = """
mis mul und zxx aav afa alg alv apa aqa aql art ath auf aus awd azc bad bai bat ber bih bnt btk cai cau cba ccn ccs
cdc cdd cel cmc cpe cpf cpp crp csu cus day dmn dra egx esx euq fiu fox gem gme gmq gmw grk hmx hok hyx iir ijo inc
ine ira iro itc jpx kar kdo khi kro map mkh mno mun myn nah nai ngf nic nub omq omv oto paa phi plf poz pqe pqw pra
qwe roa sai sal sdv sem sgn sio sit sla smi son sqj ssa syd tai tbq trk tup tut tuw urj wak wen xgn xnd ypk zhx zle
zls zlw znd celtic germanic north norway romance sami scandinavia

aka ara aym aze bal bik bnc bua chm cre del den din doi est fas ful gba gon grb grn hai hbs hmn iku ipk jrb kau kln
kok kom kon kpe kur lah lav luy man mlg mon msa mwr nep nor oji ori orm pus que raj rom sqi srd swa syr tmh uzb yid
zap zha zho zza ak ms no sh

alb arm baq bur chi cze dut fre geo ger gre ice mac mao may per rum slo tib wel
"""
"""Codes that do not tell one language of ISO 639-3 from all others: ``que`` may be the ``quy`` of another corpus.

First none, several, the groups of ISO 639-5 and those of Marian's models; then macrolanguages, those of two letters
where they have members of two letters; then what ISO 639-2 has beside another code.
"""


def language_pair(rows: Sequence[Utterance]) -> tuple[str, str]:
    """Source and target of the rows, several sources joined by ``+``; empty where some row names none."""
    targets = {row.translation_language for row in rows}
    return "+".join(languages_of_all(rows)), targets.pop() if len(targets) == 1 else ""


def differ(one: str, other: str) -> bool:
    """Whether two codes certainly name different languages; an empty one names none.

    Corpora and models write one language as ``quy``, ``quy_Latn``, ``qu`` or ``qu-EC``. So what follows the first part
    does not count, and codes of two letters, codes of three and names tell nothing about each other; nor does a code
    of many languages. Of several that are joined by ``+``, each must be another than each of the others.

    >>> differ("quy_Latn", "quy"), differ("qu-EC", "quy"), differ("", "es"), differ("fr", "es-MX")
    (False, False, False, True)
    >>> differ("quy", "mul"), differ("quy", "que"), differ("quy", "spa+quy"), differ("quy", "spa+fra")
    (False, False, False, True)
    """
    return all(_two_differ(first, second) for first in one.split("+") for second in other.split("+"))


def _two_differ(one: str, other: str) -> bool:
    parts, others = (re.split("[-_]", code.lower()) for code in (one, other))
    first, second = parts[0], others[0]
    if not (first and second) or {first, second} & set(AMBIGUOUS.split()):
        return False
    # Some of Marian's models of several languages say fi_nb_no_nn_ru_sv_en.
    return first not in others and second not in parts and min(len(first), 4) == min(len(second), 4)


def refuse_other_languages(
    name: str, model: TranslationModel, rows: Sequence[Utterance], *, source: bool = True, target: bool = True
) -> None:
    """Refuse a model that was trained on other languages than those of the rows, where both name them.

    Args:
        name: what to call the model.
        source: compare the languages of the transcripts.
        target: compare the languages of the translations.
    Raises:
        InputError: they differ.
    """
    text = isinstance(model, TextTranslator)
    read = list(model.source.languages) if isinstance(model, TextTranslator) else []
    sides = (
        (source, "reads" if text else "hears", read or [model.languages[0]], "language"),
        (target, "writes", [model.languages[1]], "translation_language"),
    )
    for (wanted, does, codes, column), code in zip(sides, language_pair(rows), strict=True):
        if wanted and all(differ(code, each) for each in codes):
            raise InputError(
                f"{name} {does} {', '.join(sorted(codes))}, and the manifest's column `{column}` says {code}. Give a "
                "model of this language, or correct the column where it is wrong."
            )


def refuse_other_code(setting: str, code: str, rows: Sequence[Utterance], *, target: bool) -> None:
    """Refuse a published model's code of another language than that of the rows, where they name one.

    Args:
        setting: what the code was given as.
        target: it is of the translations, and not of the transcripts.
    Raises:
        InputError: they differ.
    """
    column, written = ("translation_language" if target else "language"), language_pair(rows)[target]
    if differ(written, code):
        raise InputError(
            f"{setting} is {code}, and the manifest's column `{column}` says {written}. Give the code of this "
            "language, or correct the column where it is wrong."
        )

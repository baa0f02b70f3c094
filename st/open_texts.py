"""A text translator by folder or hub name: one of ours, or a published one."""

from __future__ import annotations

from pathlib import Path

from asr.card import own_folder
from lm.errors import InputError
from st.hub.texts import HubTranslator
from st.languages import differ
from st.model import TextTranslator, load_translator
from st.search import TranslationSearchConfig
from st.texts import OwnTranslator, TextToText, refuse_ctc_score


def open_text_translator(
    name: str | Path,
    *,
    source_language: str = "",
    target_language: str = "",
    language: str = "",
    written: str = "",
    device: str = "cpu",
    search: TranslationSearchConfig | None = None,
) -> TextToText:
    """A text translator of ours by folder, or one of transformers' by folder or hub name.

    Args:
        language: of the texts as others call it; taken where ``source_language`` is not given and the model knows it.
        written: key of the text policy that wrote the texts, where a recogniser did.
    Raises:
        InputError: there is none, it translates speech or other languages, or a CTC score is asked for.
    """
    if search is not None:
        refuse_ctc_score(name, search)
    translator: TextToText
    if own_folder(name):
        model = load_translator(name, device)
        if not isinstance(model, TextTranslator):
            raise InputError(f"MT model {name} translates speech. Give it as --model, without --cascade.")
        if source_language and model.source.languages and source_language not in model.source.languages:
            raise InputError(
                f"MT model {name} reads {', '.join(sorted(model.source.languages))}; --source-language is "
                f"{source_language}. Give one of these, or leave the option out."
            )
        codes = (source_language, language, model.languages[0])
        known = [code for code in codes if code in model.source.languages]
        translator = OwnTranslator(model, search, language=known[0] if known else "", written=written)
        reads = list(model.source.languages) or model.languages[0].split("+")
    else:
        translator = HubTranslator(
            str(name), source_language, target_language, device, search, language=language
        )
        reads = [translator.languages[0]]
    if language and not source_language and all(differ(language, code) for code in reads):
        raise InputError(
            f"MT model {name} reads {', '.join(sorted(reads))}; the transcripts are in {language}. Give a model that "
            f"reads it, or where this is one, --source-language {reads[0]}."
        )
    for argument, asked, has in zip(
        ("--source-language", "--target-language"),
        (source_language, target_language),
        translator.languages,
        strict=True,
    ):
        if asked and has and asked not in has.split("+"):
            pair = " to ".join(filter(None, translator.languages))
            raise InputError(
                f"MT model {name} translates {'' if translator.languages[0] else 'to '}{pair}; {argument} is {asked}. "
                "Give a model of this pair, or leave the option out."
            )
    return translator

"""`Translator` and `loquela translate`: both ways, every format, and what goes wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from asr.card import model_folder
from asr.decode import Hypothesis, build_decoder
from asr.formats import read_transcript
from asr.model import CTCModel, load_model, save_model
from asr.segment import Segment
from asr.text import TextPolicy
from asr.tokenizer import character_tokenizer
from asr.transcribe import Heard, TranscribeConfig, Transcriber
from asr.transcript import Transcript, TranscriptSegment
from lm.build import build_language_model
from lm.errors import InputError
from lm.folder import set_decoding
from st.cli import main
from st.decoder import DecoderConfig
from st.loss import framed
from st.model import SpeechTranslator, TextTranslator, load_translator, pack_translator, save_translator
from st.open_texts import open_text_translator
from st.search import TranslationHypothesis, TranslationSearchConfig
from st.text_encoder import TextEncoderConfig
from st.texts import OwnTranslator, Scored
from st.translate import Cascade, TranslateConfig, Translator, look, search_together
from tests.conftest import handed_on, spoken
from tests.st.conftest import translated

TEXT = "ab cde fa"


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """Two sentences with a pause between."""
    pause = np.zeros(16_000, dtype=np.float32)
    path = tmp_path / "talk.wav"
    soundfile.write(path, np.concatenate([spoken(TEXT, 7), pause, spoken("bad fed", 8)]), 16_000)
    return path


def test_one_model_transcribes_and_translates(st: Path, talk: Path) -> None:
    translator = Translator.load(st)
    transcript = translator.translate(talk, language="tone")
    assert transcript.translation_language == "es"
    assert all(segment.translation for segment in transcript.segments)
    assert set(" ".join(segment.text for segment in transcript.segments)) <= set("abcdef ")


def test_a_cascade_translates_what_the_recogniser_reads(siamese: Path, mt: Path, talk: Path) -> None:
    transcript = Translator.load(siamese, cascade=mt).translate(talk)
    texts = open_text_translator(mt)
    assert isinstance(texts, OwnTranslator)
    for segment in transcript.segments:
        assert segment.translation == texts.translate([segment.text])[0].text


def test_several_readings_may_be_handed_over(siamese: Path, mt: Path, talk: Path) -> None:
    config = TranslateConfig(hand_over=3)
    transcript = Translator.load(siamese, cascade=mt, config=config, decoding={"beam_width": 8}).translate(
        talk
    )
    assert all(segment.translation and not segment.alternatives for segment in transcript.segments)


def test_readings_are_counted_against_the_beam_that_was_tuned(
    siamese: Path, mt: Path, tmp_path: Path
) -> None:
    build_language_model([TEXT, "bad fed"], tmp_path / "lm", word_order=2, character_order=0, policy={})
    for beam in (128, 4):
        set_decoding(tmp_path / "lm", {"beam_width": beam})
        all_of_it, more = TranslateConfig(hand_over=beam), TranslateConfig(hand_over=beam + 1)
        Translator.load(siamese, cascade=mt, lm=tmp_path / "lm", config=all_of_it)
        with pytest.raises(InputError, match=rf"is {beam + 1}, and the recogniser's beam, {beam} wide"):
            Translator.load(siamese, cascade=mt, lm=tmp_path / "lm", config=more)


def test_the_reading_that_was_translated_is_the_transcript(
    siamese: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = [
        Hypothesis(text, (), score, 1.0) for text, score in (("ab", -1.0), ("ac", -1.1), ("ad", -1.2))
    ]
    scores = {"ab": -3.0, "ac": -0.2, "ad": -2.0}

    class Texts:
        languages = ("tone", "es")

        def unknown(self, text: str) -> tuple[int, int]:
            return 0, len(text)

        def translate(self, texts: Sequence[str]) -> list[Scored]:
            return [Scored(f"es {text}", scores[text]) for text in texts]

    monkeypatch.setattr(Transcriber, "heard", lambda *_: iter([(Segment(0, 1), Heard(readings))]))
    plain = Transcriber.load(siamese)
    for nbest, hand_over, texts in ((1, 3, ["ac"]), (3, 3, ["ac", "ab", "ad"]), (2, 1, ["ab", "ac"])):
        config = TranslateConfig(transcribe=TranscribeConfig(num_hypotheses=nbest), hand_over=hand_over)
        ((_, heard),) = Cascade(plain, Texts(), config, "mt").heard([])
        assert [each.text for each in heard.hypotheses] == texts
        assert heard.translation == f"es {texts[0]}"


@pytest.mark.parametrize("ctc_weight", [0.0, 0.3])
def test_memories_are_searched_together_as_they_are_alone(st: Path, ctc_weight: float) -> None:
    model = load_translator(st)
    assert isinstance(model, SpeechTranslator)
    search = TranslationSearchConfig(ctc_weight=ctc_weight, num_hypotheses=3)
    waveforms = [spoken(text, seed) for seed, text in enumerate(["ab cde fa", "f", "bad fed ab ab", "cab"])]
    seen = look(model, waveforms)
    memories = [memory for _, memory in seen]
    assert [memory.states.shape[1] for memory in memories] == [int(memory.num_frames) for memory in memories]
    for waveform, (emissions, _), together in zip(
        waveforms, seen, search_together(model, memories, search), strict=True
    ):
        ((own_emissions, own),) = look(model, [waveform])
        assert np.allclose(emissions, own_emissions, atol=1e-4)
        (alone,) = search_together(model, [own], search)
        assert [found.labels for found in together] == [found.labels for found in alone]
        assert [found.score for found in together] == pytest.approx([f.score for f in alone], abs=1e-4)


def test_readings_of_many_segments_are_translated_together(
    siamese: Path, mt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = ["ab cde", "", "f", "abc abc abc fed"] * 9
    pairs = [
        (Segment(place, place + 1), Heard([Hypothesis(text, (), -1.0, 1.0)]))
        for place, text in enumerate(said)
    ]
    texts = open_text_translator(mt)
    alone = {text: texts.translate([text])[0].text if text else "" for text in said}
    sizes: list[int] = []

    def counted(sources: Sequence[str]) -> list[Scored]:
        sizes.append(len(sources))
        return OwnTranslator.translate(texts, sources)

    monkeypatch.setattr(texts, "translate", counted)
    monkeypatch.setattr(Transcriber, "heard", lambda *_: iter(pairs))
    cascade = Cascade(Transcriber.load(siamese), texts, TranslateConfig(), "mt")
    found = list(cascade.heard([]))
    assert [segment for segment, _ in found] == [segment for segment, _ in pairs]
    assert [heard.translation for _, heard in found] == [alone[text] for text in said]
    assert len(sizes) == 3
    assert sum(sizes) == 27


@pytest.mark.parametrize("penalty", [0.0, 0.6, 2.0])
def test_the_score_of_a_text_is_per_label_whatever_the_penalty(mt: Path, penalty: float) -> None:
    sources = ["ab cde", "f"]
    model = load_translator(mt)
    assert isinstance(model, TextTranslator)
    search = TranslationSearchConfig(beam=1, length_penalty=penalty)
    for source, found in zip(sources, OwnTranslator(model, search).translate(sources), strict=True):
        labels = model.source.encode(source)
        read, wanted, _ = framed([model.tokenizer.encode(found.text)])
        with torch.inference_mode():
            logits, _ = model(torch.tensor([labels]), torch.tensor([len(labels)]), read)
        each = logits.log_softmax(dim=-1).gather(2, wanted[..., None])
        assert found.score == pytest.approx(float(each.mean()), abs=1e-4)


def test_the_transcript_may_be_left_out(st: Path, talk: Path) -> None:
    transcript = Translator.load(st, config=TranslateConfig(transcript=False)).translate(talk)
    assert all(segment.translation and not segment.text for segment in transcript.segments)


def test_texts_are_translated_alike_alone_and_together(mt: Path) -> None:
    texts = open_text_translator(mt)
    sources = ["ab", "cde fa bd", "", "f", "abc abc abc"]
    together = texts.translate(sources)
    assert together[2].text == ""
    assert [texts.translate([source])[0].text for source in sources] == [found.text for found in together]


@pytest.mark.parametrize("ending", ["eaf", "TextGrid", "json"])
def test_the_command_writes_both_tiers(st: Path, talk: Path, tmp_path: Path, ending: str) -> None:
    assert (
        main(["translate", str(talk), "--model", str(st), "--format", ending, "--out", str(tmp_path / "out")])
        == 0
    )
    transcript = read_transcript(tmp_path / "out" / f"talk.{ending}")
    assert transcript.segments
    assert all(segment.text and segment.translation for segment in transcript.segments)


def test_subtitles_have_two_lines(st: Path, talk: Path, tmp_path: Path) -> None:
    assert main(["translate", str(talk), "--model", str(st), "--format", "srt", "--out", str(tmp_path)]) == 0
    blocks = (tmp_path / "talk.srt").read_text().strip().split("\n\n")
    assert all(len(block.split("\n")) == 4 for block in blocks)


def test_the_command_prints_json_lines(st: Path, talk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["translate", str(talk), "--model", str(st)]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all({"text", "translation", "start"} <= row.keys() for row in rows)


def test_a_text_translator_is_no_model_for_speech(mt: Path, st: Path) -> None:
    with pytest.raises(InputError, match="translates text"):
        Translator.load(mt)
    for model in (st, mt):
        with pytest.raises(InputError, match=r"is a translator, not a recogniser\. .* leave out the cascade"):
            Translator.load(model, cascade=mt)
    with pytest.raises(InputError, match="translates speech"):
        open_text_translator(st)


def test_another_pair_of_languages_is_refused(siamese: Path, mt: Path, st: Path) -> None:
    with pytest.raises(InputError, match="translates tone to es; --target-language is fr"):
        Translator.load(siamese, cascade=mt, target_language="fr")
    with pytest.raises(InputError, match="translates into es, not fr"):
        Translator.load(st, target_language="fr")


def test_a_language_that_the_text_translator_does_not_read_is_refused(tmp_path: Path) -> None:
    of_two_languages(tmp_path / "two", "")
    with pytest.raises(
        InputError, match=r"reads gug, quy; the transcripts are in ayr\. .* --source-language"
    ):
        open_text_translator(tmp_path / "two", language="ayr")
    of_two_languages(tmp_path / "one", "gug", several=False)
    with pytest.raises(InputError, match=r"reads gug; the transcripts are in quy\."):
        open_text_translator(tmp_path / "one", language="quy")
    for language in ("", "gug_Latn", "gn", "Guarani"):
        open_text_translator(tmp_path / "one", language=language)
    open_text_translator(tmp_path / "one", language="quy", source_language="gug")


def test_a_transcript_in_another_script_is_left_without_a_translation_and_a_recording_of_such_refused(
    tmp_path: Path,
    tiny_model: CTCModel,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other, own = "это совсем другой язык и письмо", "abc cba abc cba abc cba"

    def says(*texts: str) -> list[str]:
        """The translations of a recording that says this, a segment each."""
        heard = [
            (Segment(place, place + 1), Heard([Hypothesis(text, (), -1.0, 1.0)]))
            for place, text in enumerate(texts)
        ]

        def transcribe(cascade: Transcriber, path: Path, **_: Any) -> Transcript:
            segments = tuple(
                TranscriptSegment(
                    start=segment.start,
                    end=segment.end,
                    text=each.hypotheses[0].text,
                    translation=each.translation,
                )
                for segment, each in cascade.heard([])
            )
            return Transcript(recording="talk", audio=path, duration=9.0, segments=segments)

        monkeypatch.setattr(Transcriber, "heard", lambda *_: iter(heard))
        monkeypatch.setattr(Transcriber, "transcribe", transcribe)
        return [each.translation for each in translator.translate("talk.wav").segments]

    texts = OwnTranslator(of_two_languages(tmp_path / "mt", ""), TranslationSearchConfig(max_labels=3))
    monkeypatch.setattr(texts, "translate", lambda sources: [Scored(f"es {each}", -1.0) for each in sources])
    decoder = build_decoder(tiny_model.tokenizer.surfaces, tiny_model.tokenizer.blank)
    plain = Transcriber(tiny_model, decoder, TranscribeConfig(), {})
    translator = Translator(Cascade(plain, texts, TranslateConfig(), "mt"), TranslateConfig(), "es")
    assert says(own, other, own, own, own) == [f"es {own}", "", *[f"es {own}"] * 3]
    assert capsys.readouterr().err == (
        "talk.wav: 1 segment(s) without a translation, which MT model mt cannot read\n"
        "talk.wav: 1 of 5 segments have no translation\n"
    )
    with pytest.raises(InputError, match=r"talk\.wav: MT model mt cannot read 5\d% of the transcripts"):
        says(other, own)
    # Each recording is judged by itself, and a few letters by themselves not at all.
    assert says(own, "это", own) == [f"es {own}", "es это", f"es {own}"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--hand-over", "3"], "--hand-over is for a cascade"),
        (["--source-language", "tone"], "--source-language is for a cascade"),
        (["--cascade", "MT", "--hand-over", "0"], "hand_over is 0"),
        (["--cascade", "MT", "--hand-over", "9", "--beam", "4"], "beam, 4 wide, keeps no more readings"),
        (["--cascade", "MT", "--hand-over", "99"], "beam, 64 wide, keeps no more readings"),
        (["--cascade", "MT", "--length-penalty", "nan"], "length_penalty is nan"),
        (["--cascade", "MT", "--ctc-weight", "0.3"], "MT translates text, which has no CTC layer"),
        (["--max-labels", "0"], "max_labels 0"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    st: Path, mt: Path, siamese: Path, talk: Path, capsys: pytest.CaptureFixture[str],
    options: list[str], says: str,
) -> None:  # fmt: skip
    model = siamese if "--cascade" in options else st
    words = [str(mt) if word == "MT" else word for word in options]
    assert main(["translate", str(talk), "--model", str(model), *words]) == 1
    err = capsys.readouterr().err
    assert says.replace("MT", str(mt)) in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "where", "value"),
    [
        ("", "cascade", "mt"),
        ("--source-language quy", "source_language", "quy"),
        ("--target-language es", "target_language", "es"),
        ("--language quz", "language", "quz"),
        ("--device cpu", "device", "cpu"),
        ("--lm none", "lm", "none"),
        ("--channel 2", "config.transcribe.channel", "2"),
        ("--translation-beam 7", "config.search.beam", 7),
        ("--length-penalty 0.5", "config.search.length_penalty", 0.5),
        ("--ctc-weight 0.25", "config.search.ctc_weight", 0.25),
        ("--max-labels 90", "config.search.max_labels", 90),
        ("--max-ratio 3", "config.search.max_ratio", 3),
        ("--hand-over 4", "config.hand_over", 4),
        ("--no-transcript", "config.transcript", False),
        ("--beam 9", "decoding", {"beam_width": 9}),
    ],
)
def test_what_an_option_says_reaches_the_translator(
    talk: Path, words: str, where: str, value: object
) -> None:
    command = ["translate", str(talk), "--model", "m", "--cascade", "mt", *words.split()]
    assert attrgetter(where)(handed_on(Translator, "load", lambda: main(command))) == value


@pytest.mark.parametrize(("language", "wanted"), [("quy", "quy"), ("", "tone")])
def test_the_recogniser_is_given_its_own_code(
    siamese: Path, mt: Path, talk: Path, monkeypatch: pytest.MonkeyPatch, language: str, wanted: str
) -> None:
    given: list[str] = []
    load = Transcriber.load

    def watching(model: Path, **settings: Any) -> Transcriber:
        given.append(settings["language"])
        return load(model, **settings)

    monkeypatch.setattr(Transcriber, "load", watching)
    models = ["--model", str(siamese), "--cascade", str(mt), "--source-language", "tone"]
    assert main(["translate", str(talk), *models, *(["--language", language] if language else [])]) == 0
    assert given == [wanted]


def test_formats_without_a_place_for_translations_are_told(
    siamese: Path, mt: Path, talk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["translate", str(talk), "--model", str(siamese), "--cascade", str(mt), "--format", "ctm,stm,srt"]
    assert main([*words, "--out", str(tmp_path)]) == 0
    assert ".ctm and .stm files have no place for translations: they get the tran" in capsys.readouterr().err
    assert main([*words, "--out", str(tmp_path / "bare"), "--no-transcript"]) == 1
    assert "Give another --format, as srt or json" in capsys.readouterr().err
    assert not (tmp_path / "bare").exists()


def test_recordings_of_another_language_than_a_translators_are_refused(
    st: Path, talk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = st / "model" / "loquela.json"
    assert json.loads(card.read_text(encoding="utf-8"))["languages"] == ["tone", "es"]
    assert main(["translate", str(talk), "--model", str(st), "--language", "quechua"]) == 1
    assert f"model {st} hears tone, and the recordings are said to be in quechua" in capsys.readouterr().err


@pytest.mark.parametrize("asked", ["gug", "quy"])
def test_a_text_translator_of_several_languages_reads_each(tmp_path: Path, asked: str) -> None:
    of_two_languages(tmp_path / "mt", "gug+quy", several=False)
    assert open_text_translator(tmp_path / "mt", source_language=asked).languages == ("gug+quy", "es")
    for given in ({"source_language": "mri"}, {"language": "mri"}):
        with pytest.raises(InputError, match=r"gug|quy"):
            open_text_translator(tmp_path / "mt", **given)


def of_two_languages(folder: Path, trained_on: str, *, several: bool = True) -> TextTranslator:
    """An untrained text translator that tells two source languages apart, or none, saved in a folder."""
    target = character_tokenizer(["ab c"], TextPolicy())
    source = target.with_languages(["gug", "quy"] if several else [])
    model = TextTranslator(
        source, target, TextEncoderConfig(width=16, layers=1, heads=2, inner=16),
        DecoderConfig(width=16, layers=1, heads=2, inner=16),
    )  # fmt: skip
    model.languages = (trained_on, "es")
    save_translator(model, folder)
    return model


@pytest.mark.parametrize(
    ("trained_on", "options", "opening"),
    [
        ("", {}, None),
        ("", {"language": "quy"}, "quy"),
        ("", {"language": "gug", "source_language": "quy"}, "quy"),
        ("gug", {"language": "gug_Latn"}, "gug"),
    ],
)
def test_texts_open_with_the_label_of_their_language(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trained_on: str,
    options: dict[str, str],
    opening: str | None,
) -> None:
    model = of_two_languages(tmp_path / "mt", trained_on)
    read: list[list[int]] = []

    def reading(_: TextTranslator, labels: Any, __: Any) -> list[list[TranslationHypothesis]]:
        read.extend(labels)
        return [[TranslationHypothesis((), 0.0)]]

    monkeypatch.setattr("st.texts.translate_labels", reading)
    open_text_translator(tmp_path / "mt", **options).translate(["ab"])  # type: ignore[arg-type]
    first = [model.source.languages[opening]] if opening else []
    assert read == [[*first, *model.tokenizer.encode("ab")]]


def with_rules(text: str) -> TextPolicy:
    """A policy whose rules would change their own output; ``hu`` stands for ``w``, ``j`` for ``h``."""
    policy = TextPolicy(replace={"hu": "w", "j": "h"})
    assert policy(policy(text)) != policy(text)
    return policy


def test_what_a_recogniser_wrote_is_normalised_once(
    tmp_path: Path, siamese: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = with_rules("jua huasi")
    source = character_tokenizer([policy("jua huasi")], policy)
    model = TextTranslator(
        source, source, TextEncoderConfig(width=16, layers=1, heads=2, inner=16),
        DecoderConfig(width=16, layers=1, heads=2, inner=16),
    )  # fmt: skip
    save_translator(model, tmp_path / "mt")
    read: list[list[int]] = []

    def reading(_: TextTranslator, labels: Any, __: Any) -> list[list[TranslationHypothesis]]:
        read.extend(labels)
        return [[TranslationHypothesis((), 0.0)]]

    monkeypatch.setattr("st.texts.translate_labels", reading)
    recogniser = load_model(model_folder(siamese))
    recogniser.tokenizer = replace(recogniser.tokenizer, policy=policy)
    save_model(recogniser, tmp_path / "asr")
    cascade = Translator.load(tmp_path / "asr", cascade=tmp_path / "mt").transcriber
    assert isinstance(cascade, Cascade)
    cascade.texts.translate([policy("jua huasi")])
    open_text_translator(tmp_path / "mt").translate(["jua huasi"])  # as a person writes it
    assert read == [source.encode("jua huasi")] * 2
    # x is no letter of either text; it counts once.
    assert cascade.texts.unknown("hua x") == (1, 4)


def test_a_recogniser_of_another_language_is_refused(tmp_path: Path, siamese: Path) -> None:
    of_two_languages(tmp_path / "mt", "gug", several=False)
    recogniser = load_model(model_folder(siamese))
    assert recogniser.languages == ("tone",)  # of the rows that it was trained on
    for languages in (("gug_Latn",), ("gug", "quy"), ("grn",), ()):
        recogniser.languages = languages
        save_model(recogniser, tmp_path / "asr")
        Translator.load(tmp_path / "asr", cascade=tmp_path / "mt")
    for languages in (("quy",), ("mri", "quy")):
        recogniser.languages = languages
        save_model(recogniser, tmp_path / "asr")
        with pytest.raises(
            InputError, match=rf"mt reads gug; the transcripts are in {re.escape('+'.join(languages))}\."
        ):
            Translator.load(tmp_path / "asr", cascade=tmp_path / "mt")
    Translator.load(tmp_path / "asr", cascade=tmp_path / "mt", source_language="gug")


def test_a_language_that_our_own_text_translator_does_not_know_is_refused(tmp_path: Path) -> None:
    of_two_languages(tmp_path / "mt", "")
    with pytest.raises(InputError, match=r"mt reads gug, quy; --source-language is ayr\. Give one of these"):
        open_text_translator(tmp_path / "mt", source_language="ayr", language="quy")


@pytest.mark.parametrize("way", ["st", "cascade"])
def test_translations_that_are_cut_off_are_counted(
    st: Path, mt: Path, siamese: Path, talk: Path, capsys: pytest.CaptureFixture[str], way: str
) -> None:
    models = ["--model", str(siamese), "--cascade", str(mt)] if way == "cascade" else ["--model", str(st)]
    for limit in ("1", "200"):
        assert main(["translate", str(talk), *models, "--max-labels", limit]) == 0
        said = capsys.readouterr()
        rows = said.out.splitlines()
        cut = [line for line in said.err.splitlines() if "cut off at" in line]
        if limit == "1":
            assert len(cut) == 1
            assert cut[0].startswith(f"{talk}: {len(rows)} translation(s) cut off at")
        else:
            assert not cut


@pytest.mark.parametrize(("translations", "says"), [(("", "uno", ""), "2 of 3"), (("uno",), ""), ((), "")])
def test_segments_without_a_translation_are_counted(
    siamese: Path, mt: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    translations: tuple[str, ...], says: str,
) -> None:  # fmt: skip
    segments = tuple(
        TranscriptSegment(start=place, end=place + 1, text="ab", translation=text)
        for place, text in enumerate(translations)
    )
    whole = Transcript(recording="talk", audio=Path("talk.wav"), duration=3.0, segments=segments)
    translator = Translator.load(siamese, cascade=mt)
    monkeypatch.setattr(translator.transcriber, "transcribe", lambda *_, **__: whole)
    translator.translate("talk.wav")
    assert capsys.readouterr().err == (f"talk.wav: {says} segments have no translation\n" if says else "")


def test_the_meaning_of_tones_is_what_the_tests_say() -> None:
    assert translated("ab f") == "Uno dos. seis."


def test_a_packed_translator_says_the_same_within_half_precision(
    st: Path, talk: Path, tmp_path: Path
) -> None:
    pack_translator(st, tmp_path / "packed")
    texts = [
        [segment.translation for segment in Translator.load(model).translate(talk).segments]
        for model in (st, tmp_path / "packed")
    ]
    assert texts[0] == texts[1]
    with pytest.raises(InputError, match="which goes into it"):
        pack_translator(st, st)

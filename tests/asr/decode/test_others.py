"""Other toolkits' searches behind our interface; run where their packages are installed."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asr.decode import BeamSearchConfig
from asr.decode.others import FlashlightDecoder, PyctcDecoder
from lm.build import build_language_model
from lm.errors import InputError
from lm.folder import LanguageModel
from tests.asr.decode.toy import peaky_emissions

SURFACES = ("", "a", " ", "b")
EMISSIONS = peaky_emissions([(2, 1), (4, 3), (9, 2), (12, 3)], 18, len(SURFACES))  # "ab b"
CONFIG = BeamSearchConfig(lm_weight=0.5, word_bonus=0.5, beam_threshold=25.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    folder = tmp_path_factory.mktemp("lm")
    build_language_model(["ab b", "b ab ab", "ab"], folder / "lm", word_order=2, character_order=0)
    return LanguageModel.load(folder / "lm")


@pytest.fixture(
    params=[("pyctcdecode", PyctcDecoder), ("flashlight", FlashlightDecoder)], ids=lambda pair: pair[0]
)
def decoder(request: pytest.FixtureRequest) -> type[PyctcDecoder] | type[FlashlightDecoder]:
    """Each of them whose package is installed."""
    package, found = request.param
    pytest.importorskip(package)
    made: type[PyctcDecoder] | type[FlashlightDecoder] = found
    return made


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_what_is_plainly_said_is_read(
    decoder: type[PyctcDecoder] | type[FlashlightDecoder], model: LanguageModel
) -> None:
    assert model.word is not None
    found = decoder(SURFACES, 0, model.word.path, model.vocabulary, CONFIG).decode(EMISSIONS)[0]
    assert found.text == "ab b"
    assert [word.text for word in found.words] == ["ab", "b"]
    parts = (found.ctc_score, found.lm_score, found.word_score, found.hotword_score)
    assert sum(parts) == pytest.approx(found.score, abs=1e-5)
    assert found.ctc_score == pytest.approx(-0.5, abs=0.5)
    assert found.word_score == 2 * CONFIG.word_bonus
    assert all(0 <= word.start_frame < word.end_frame <= 18 for word in found.words)
    assert found.words[0].end_frame <= found.words[1].start_frame + 1


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_the_weight_is_of_natural_logs(
    decoder: type[PyctcDecoder] | type[FlashlightDecoder], model: LanguageModel
) -> None:
    kenlm = pytest.importorskip("kenlm")
    assert model.word is not None
    said = kenlm.Model(str(model.word.path)).score("ab b", bos=True, eos=True) * math.log(10)
    config = replace(CONFIG, lm_weight=0.7)
    found = decoder(SURFACES, 0, model.word.path, model.vocabulary, config).decode(EMISSIONS)[0]
    assert found.text == "ab b"
    # flashlight-text adds up paths, and gives the acoustic score of one.
    assert found.lm_score == pytest.approx(0.7 * said, abs=0.1)


def test_hotwords_are_refused_rather_than_passed_over(
    decoder: type[PyctcDecoder] | type[FlashlightDecoder], model: LanguageModel
) -> None:
    assert model.word is not None
    config = replace(CONFIG, hotwords={"ab": 1.0})
    with pytest.raises(InputError, match="without hotwords"):
        decoder(SURFACES, 0, model.word.path, model.vocabulary, config)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_labels_that_write_nothing_part_letters_and_write_nothing(
    decoder: type[PyctcDecoder] | type[FlashlightDecoder], model: LanguageModel
) -> None:
    assert model.word is not None
    surfaces = ("", *SURFACES, "")  # the first writes nothing, and the blank is label 1
    emissions = np.full((18, 6), -20.0, dtype=np.float32)
    emissions[:, 1:5] = EMISSIONS
    emissions[[0, 3, 10, 17]] = [0.0, *[-20.0] * 5]
    emissions[[5, 11]] = [*[-20.0] * 5, 0.0]
    plain = EMISSIONS.copy()
    plain[[0, 3, 5, 10, 11, 17]] = [0.0, *[-20.0] * 3]
    search = decoder(surfaces, 1, model.word.path, model.vocabulary, CONFIG)
    (found,) = search.decode(emissions)
    assert search.decode(np.asfortranarray(emissions)) == [found]
    (expected,) = decoder(SURFACES, 0, model.word.path, model.vocabulary, CONFIG).decode(plain)
    assert found.text == "ab b"
    assert [(word.text, word.start_frame, word.end_frame) for word in found.words] == [
        (word.text, word.start_frame, word.end_frame) for word in expected.words
    ]
    assert found.score == pytest.approx(expected.score, abs=1e-4)


def test_words_in_another_writing_are_refused(
    decoder: type[PyctcDecoder] | type[FlashlightDecoder], model: LanguageModel
) -> None:
    assert model.word is not None
    with pytest.raises(InputError, match=r"1 of its 3 words otherwise \(ab for AB\). Build it with"):
        decoder(SURFACES, 0, model.word.path, ("AB", "b", "ab"), CONFIG)
    with pytest.raises(InputError, match=r"do not write 2 of the language model's 3 words \(კი, და\)"):
        decoder(SURFACES, 0, model.word.path, ("კი", "და", "ab"), CONFIG)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_where_no_path_is_possible_the_text_is_empty(
    decoder: type[PyctcDecoder] | type[FlashlightDecoder], model: LanguageModel
) -> None:
    assert model.word is not None
    search = decoder(SURFACES, 0, model.word.path, model.vocabulary, CONFIG)
    unheard = EMISSIONS.copy()
    unheard[7] = -np.inf
    for emissions in (np.full_like(EMISSIONS, -np.inf), unheard):
        (found,) = search.decode(emissions)
        assert (found.text, found.words, found.score, found.confidence) == ("", (), -np.inf, 0.0)


@pytest.mark.parametrize(
    ("module", "extra", "decoder"),
    [
        ("pyctcdecode.decoder", "pyctcdecode", PyctcDecoder),
        ("flashlight.lib.text.decoder", "flashlight", FlashlightDecoder),
    ],
)
def test_without_the_package_the_extra_is_named(
    module: str,
    extra: str,
    decoder: type[PyctcDecoder] | type[FlashlightDecoder],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=rf"pip install 'loquela\[{extra}\]'"):
        decoder(SURFACES, 0, Path("x"), (), CONFIG)

"""Other toolkits' searches behind our interface; run where their packages are installed."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

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


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize(
    ("package", "decoder"), [("pyctcdecode", PyctcDecoder), ("flashlight", FlashlightDecoder)]
)
def test_what_is_plainly_said_is_read(
    package: str, decoder: type[PyctcDecoder] | type[FlashlightDecoder], model: LanguageModel
) -> None:
    pytest.importorskip(package)
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


@pytest.mark.parametrize(
    ("package", "decoder"), [("pyctcdecode", PyctcDecoder), ("flashlight", FlashlightDecoder)]
)
def test_hotwords_are_refused_rather_than_passed_over(
    package: str, decoder: type[PyctcDecoder] | type[FlashlightDecoder], model: LanguageModel
) -> None:
    pytest.importorskip(package)
    assert model.word is not None
    config = replace(CONFIG, hotwords={"ab": 1.0})
    with pytest.raises(InputError, match="without hotwords"):
        decoder(SURFACES, 0, model.word.path, model.vocabulary, config)


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

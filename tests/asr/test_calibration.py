"""Confidences of words: measures against their definitions, a fit that mends a known distortion, the commands."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, strategies

from asr.calibration import fit_calibration, reliability, words_judged
from asr.cli import main
from asr.decode.confidence import calibrated, log_odds

WORDS = strategies.lists(
    strategies.tuples(strategies.floats(0, 1), strategies.booleans()), min_size=1, max_size=60
)


@given(WORDS)
def test_the_calibration_error_is_the_mean_gap_over_bins(words: list[tuple[float, bool]]) -> None:
    found = reliability([sure for sure, _ in words], [right for _, right in words])
    gap = 0.0
    for place in range(15):
        own = [each for each in words if min(14, math.floor(each[0] * 15)) == place]
        gap += abs(sum(sure for sure, _ in own) - sum(right for _, right in own))
    assert found.ece == pytest.approx(gap / len(words), abs=1e-9)
    assert sum(each.words for each in found.bins) == found.words == len(words)
    assert found.brier == pytest.approx(np.mean([(sure - right) ** 2 for sure, right in words]))
    # Fewer bins hide gaps, so one bin is a bound from below for any.
    assert found.adaptive_ece >= abs(found.confidence - found.right) - 1e-9


def test_bins_of_equal_counts() -> None:
    sure = np.linspace(0.001, 0.999, 150)
    right = np.arange(150) % 3 == 0
    gaps = [abs(sure[at : at + 10].sum() - right[at : at + 10].sum()) for at in range(0, 150, 10)]
    assert reliability(sure.tolist(), right.tolist()).adaptive_ece == pytest.approx(sum(gaps) / 150)


@given(WORDS, strategies.randoms(use_true_random=False))
def test_equal_confidences_share_a_bin_whatever_the_order(
    words: list[tuple[float, bool]], random: Random
) -> None:
    words = [(round(sure, 1), right) for sure, right in words]
    shuffled = random.sample(words, len(words))
    first, second = (reliability(*zip(*each, strict=True)).adaptive_ece for each in (words, shuffled))
    assert first == pytest.approx(second, abs=1e-9)


def test_what_is_calibrated_is_found_so_though_all_is_equal() -> None:
    assert reliability([0.5] * 100, [True] * 50 + [False] * 50).adaptive_ece == pytest.approx(0)
    # Those that are sure alike stay apart from the others, as their bin is that of most of them.
    sure, right = [1.0] * 90 + [0.5] * 10, [True] * 80 + [False] * 10 + [True] * 10
    assert reliability(sure, right).adaptive_ece == pytest.approx((10 + 5) / 100)


def test_entropy_of_what_knows_all_nothing_and_the_wrong_thing() -> None:
    right = [True, False] * 50

    def entropy(sure: list[float]) -> float | None:
        return reliability(sure, right).normalised_cross_entropy

    assert entropy([1.0, 0.0] * 50) == pytest.approx(1, abs=1e-4)
    assert entropy([0.5] * 100) == pytest.approx(0)
    assert (entropy([0.1, 0.9] * 50) or 0) < 0
    assert reliability([0.5], [True]).normalised_cross_entropy is None


@pytest.mark.parametrize(("scale", "shift"), [(0.5, -0.7), (1.6, 0.4)])
def test_a_known_distortion_is_found_and_mended(scale: float, shift: float) -> None:
    draw = np.random.default_rng(1)
    sure = draw.beta(4, 1.5, 6000).tolist()
    right = [bool(draw.random() < calibrated(each, scale, shift)) for each in sure]
    found = fit_calibration(sure, right)
    assert found == pytest.approx((scale, shift), abs=0.12)
    mended = [calibrated(each, *found) for each in sure]
    assert reliability(mended, right).ece < 0.02 < reliability(sure, right).ece
    assert np.argsort(mended).tolist() == np.argsort(sure).tolist()


def test_too_few_words_change_nothing() -> None:
    assert fit_calibration([0.9] * 49, [True] * 40 + [False] * 9) == (1.0, 0.0)
    assert fit_calibration([0.9] * 500, [True] * 498 + [False] * 2) == (1.0, 0.0)
    # Sure and always wrong: the scale stays above 0, so that the order does.
    sure = np.linspace(0.05, 0.95, 200).tolist()
    assert fit_calibration(sure, [each < 0.5 for each in sure])[0] > 0


def test_words_that_are_told_apart_without_an_error_keep_a_modest_scale() -> None:
    """Without the prior nothing would hold it: every confidence would become 0 or 1."""
    sure = np.concatenate([np.linspace(0.05, 0.4, 40), np.linspace(0.6, 0.95, 40)]).tolist()
    scale, shift = fit_calibration(sure, [each > 0.5 for each in sure])
    assert 1 < scale < 8
    assert abs(shift) < 2


def test_confidences_that_say_nothing_come_out_as_the_share_that_is_right() -> None:
    draw = np.random.default_rng(1)
    sure = draw.uniform(0.6, 0.98, 400)
    right = [bool(draw.random() < 1.4 - each) for each in sure]  # the surer, the more often wrong
    mended = [calibrated(each, *fit_calibration(sure.tolist(), right)) for each in sure]
    assert np.mean(mended) == pytest.approx(np.mean(right), abs=0.01)
    assert np.argsort(mended).tolist() == np.argsort(sure).tolist()


@given(strategies.floats(0, 1))
def test_nothing_to_mend_is_left_to_the_last_digit(confidence: float) -> None:
    assert calibrated(confidence, 1.0, 0.0) == confidence
    assert 0 < calibrated(confidence, 3.0, -2.0) <= 1
    assert math.isfinite(log_odds(confidence))


def test_words_are_judged_by_the_alignment() -> None:
    assert words_judged("a b c", "a x c d") == [True, False, True, False]
    assert words_judged("", "a") == [False]
    assert words_judged("a b", "") == []


@pytest.fixture
def scored(tmp_path: Path) -> list[str]:
    """Arguments of `loquela score` for two utterances of three words, two of them wrong."""
    (tmp_path / "ref.tsv").write_text("id\ttext\nu1\ta b c\nu2\td e f\n")
    (tmp_path / "hyp.tsv").write_text(
        "id\ttext\tword_confidences\nu1\ta b x\t0.9 0.9 0.2\nu2\td e f g\t0.9 0.8 0.8 0.3\n"
    )
    return ["score", "--reference", str(tmp_path / "ref.tsv"), "--hypothesis", str(tmp_path / "hyp.tsv")]


def test_the_command_says_how_far_confidences_can_be_trusted(
    scored: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*scored, "--calibration", "--json", "--plot", str(tmp_path / "new" / "plot.png")]) == 0
    found = json.loads(capsys.readouterr().out)["calibration"]
    assert (found["words"], found["right"]) == (7, pytest.approx(5 / 7))
    assert found["ece"] == pytest.approx((3 * 0.1 + 2 * 0.2 + 0.2 + 0.3) / 7)
    assert (tmp_path / "new" / "plot.png").stat().st_size > 1000
    assert main([*scored, "--calibration"]) == 0
    assert "expected calibration error 17.1 %" in capsys.readouterr().out


def test_where_every_word_is_right_there_is_no_entropy_to_tell(
    scored: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hyp.tsv").write_text("id\ttext\tword_confidences\nu1\ta b c\t0.9 0.9 0.2\nu2\t\t\n")
    assert main([*scored, "--calibration", "--json"]) == 0
    printed = capsys.readouterr().out
    assert "NaN" not in printed
    assert json.loads(printed)["calibration"]["normalised_cross_entropy"] is None
    assert main([*scored, "--calibration"]) == 0
    assert "normalised cross entropy -\n" in capsys.readouterr().out


def test_mistakes_are_one_line(
    scored: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert main([*scored, "--plot", "x.png"]) == 1
    assert "without --calibration" in capsys.readouterr().err
    assert main([*scored, "--calibration", "--plot", "x.txt"]) == 1
    assert "no picture ends so" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main([*scored, "--calibration", "--plot", "x.png"]) == 1
    assert "pip install 'loquela[plots]'" in capsys.readouterr().err
    (tmp_path / "hyp.tsv").write_text("id\ttext\nu1\ta b c\nu2\td e f\n")
    assert main([*scored, "--calibration"]) == 1
    assert "no column word_confidences" in capsys.readouterr().err
    (tmp_path / "hyp.tsv").write_text("id\ttext\tword_confidences\nu1\ta\t0.9 0.9\nu2\t\t\n")
    assert main([*scored, "--calibration"]) == 1
    assert "no word has a confidence that fits" in capsys.readouterr().err

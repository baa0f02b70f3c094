"""Tuning of the decoder's weights."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from asr.bootstrap import paired_bootstrap
from asr.decode import BeamDecoder, BeamSearchConfig, Decoder, EmissionArray, LanguageModel
from asr.decode.fusion import components
from asr.decode.hotwords import HOTWORD_WEIGHT
from asr.edits import error_counts
from asr.tune import Edge, default_grid, tune
from asr.tune.halving import Runs, Setting, halve
from asr.tune.pool import GRID, Base, Pool, rank
from lm.errors import InputError
from tests.asr.decode.toy import ToyModel, ToyNgram, hotword_score, peaky_emissions, toy_model

SURFACES = ("", "a", " ", "b")
MODEL = toy_model("both")
PIECES = ToyModel(word=MODEL.word, piece=ToyNgram(("a", "b", "▁"), seed=5))
ARMS = {
    "both": MODEL,
    "word": ToyModel(word=MODEL.word),
    "character": ToyModel(character=MODEL.character),
}
SMALL = {"lm_weight": (0.0, 0.5, 1.0), "char_weight": (0.0, 0.5), "word_bonus": (-1.0, 1.0)}
FIXED: dict[str, tuple[float, ...]] = {"unknown_offset": (-3.0,), "spelling_weight": (0.5,)}
BAD = BeamSearchConfig(lm_weight=0.0, char_weight=0.0, word_bonus=-8.0, beam_width=16)


def dev_set(num_utterances: int) -> tuple[list[EmissionArray], list[str]]:
    """Blurred emissions of texts that the language model finds likely."""
    rng = np.random.default_rng(11)
    emissions, texts = [], []
    for _ in range(num_utterances):
        drawn = [" ".join(rng.choice(["a", "ab", "b"], size=4)) for _ in range(6)]
        text = max(drawn, key=lambda text: components(MODEL, text).word)
        labels = [SURFACES.index(letter) for letter in text]
        frames = peaky_emissions(
            [(3 * place + 1, label) for place, label in enumerate(labels)], 3 * len(labels) + 2, 4
        )
        for place in range(len(labels)):
            if rng.random() < 0.5:
                frames[3 * place + 1] = np.log(rng.dirichlet([1, 1, 1, 1]))
        emissions.append(frames)
        texts.append(text)
    return emissions, texts


def decoder(model: LanguageModel, config: BeamSearchConfig) -> Decoder:
    return BeamDecoder(SURFACES, 0, model, config)


def word_errors(config: BeamSearchConfig, model: LanguageModel = MODEL) -> list[int]:
    emissions, texts = dev_set(12)
    found = [decoder(model, config).decode(frames)[0].text for frames in emissions]
    return [error_counts(a.split(), b.split()).errors for a, b in zip(texts, found, strict=True)]


def test_tuning_lowers_the_error_rate_and_tells_everything_it_tried() -> None:
    emissions, texts = dev_set(12)
    words = [len(text.split()) for text in texts]
    lines: list[str] = []
    result = tune(
        emissions, texts, ARMS, decoder, start=BAD, grid={**SMALL, **FIXED}, candidates=6, report=lines.append
    )

    for name, arm in result.arms.items():
        whole = [trial for trial in result.trials if trial.decoded == 12 and trial.arm == name]
        assert (arm.wer, arm.cer) == min((trial.wer, trial.cer) for trial in whole)
        assert arm.wer == pytest.approx(sum(word_errors(arm.config, ARMS[name])) / sum(words))
        assert [each.text for each in arm.hypotheses] == [
            decoder(ARMS[name], arm.config).decode(frames)[0].text for frames in emissions
        ]
    first = next(trial for trial in result.trials if trial.decoded and trial.arm == "both")
    assert first.weights == {"lm_weight": 0.0, "char_weight": 0.0, "word_bonus": -1.0} | {
        name: values[0] for name, values in FIXED.items()
    }
    assert first.wer == pytest.approx(sum(word_errors(replace(BAD, word_bonus=-1.0))) / sum(words))
    assert result.arms["both"].wer < first.wer
    best = result.arms[result.best]
    assert (best.wer, best.cer) == min((arm.wer, arm.cer) for arm in result.arms.values())
    assert set(result.against) == ARMS.keys() - {result.best}
    for name, comparison in result.against.items():
        ours, theirs = (word_errors(result.arms[arm].config, ARMS[arm]) for arm in (result.best, name))
        assert comparison == paired_bootstrap(ours, theirs, words)
    ranked = [trial.weights for trial in result.trials if not trial.decoded and trial.arm == "both"]
    fixed = {name: values[0] for name, values in FIXED.items()}
    for lm_weight in SMALL["lm_weight"]:
        for char_weight in SMALL["char_weight"]:
            for bonus in SMALL["word_bonus"]:
                weights = {"lm_weight": lm_weight, "char_weight": char_weight, "word_bonus": bonus, **fixed}
                assert weights in ranked
    assert best.config.beam_width == 16
    assert best.config.num_hypotheses == 1
    assert len(lines) == 2 * 3 + 3  # rounds with each language model, then the halving


def test_a_weight_with_one_value_is_fixed() -> None:
    emissions, texts = dev_set(6)
    grid = {**SMALL, **FIXED, "word_bonus": (-2.34567,), "lm_weight": (0.7, 0.7)}
    result = tune(emissions, texts, ARMS, decoder, start=BAD, grid=grid)
    assert {trial.weights["word_bonus"] for trial in result.trials} == {-2.34567}
    assert {trial.weights["lm_weight"] for trial in result.trials if trial.arm != "character"} == {0.7}


def test_tuning_twice_gives_the_same() -> None:
    emissions, texts = dev_set(6)

    def once() -> object:
        return tune(emissions, texts, ARMS, decoder, start=BAD, grid={**SMALL, **FIXED})

    assert once() == once()


def test_the_halving_decodes_ever_fewer_settings_on_more_and_nothing_twice() -> None:
    emissions, texts = dev_set(8)
    decoded: Counter[tuple[float, int]] = Counter()
    places = {id(frames): place for place, frames in enumerate(emissions)}

    class Counting(BeamDecoder):
        def decode_all(self, emissions):  # type: ignore[no-untyped-def]
            decoded.update((self._config.word_bonus, places[id(frames)]) for frames in emissions)
            return super().decode_all(emissions)

    runs = Runs(
        emissions, texts, ARMS, lambda model, config: Counting(SURFACES, 0, model, config), Base(BAD, {})
    )
    bonuses = (-8.0, -4.0, -2.0, 0.0, 1.0, 2.0, 3.0, 9.0)
    settings = [Setting("word" if bonus == 9 else "both", ("word_bonus",), (bonus,)) for bonus in bonuses]
    lines: list[str] = []
    halve(runs, settings, lines.append)

    assert set(decoded.values()) == {1}
    times = Counter(bonus for bonus, _ in decoded)
    assert all(times[bonus] in (2, 4, 8) for bonus in bonuses)
    assert times[9.0] == 8  # the only one of its language model goes to the end
    assert 2 <= list(times.values()).count(8) <= 4
    assert {setting.weights[0] for setting in runs.whole()} == {b for b, count in times.items() if count == 8}
    best = min(settings, key=lambda setting: runs.errors(setting, [0, 4]))
    assert times[best.weights[0]] >= 4
    assert lines[0].startswith("8 settings on 2 utterances; best ")


def test_an_optimum_on_the_edge_extends_the_grid_and_is_told_with_the_remedy() -> None:
    emissions, texts = dev_set(8)
    grid = {**SMALL, **FIXED, "word_bonus": (-9.0, -8.0)}
    result = tune(emissions, texts, {"both": MODEL}, decoder, start=BAD, grid=grid, rounds=1)
    tried = {trial.weights["word_bonus"] for trial in result.trials}
    assert max(tried) > -8.0
    found = result.arms["both"]
    assert found.config.word_bonus > -8.0
    for edge in found.edges:
        assert edge.value == found.weights[edge.name]
        assert edge.value <= min(edge.grid) or edge.value >= max(edge.grid)
    assert str(Edge("word_bonus", 6.0, (0.0, 2.0, 4.0, 6.0))) == (
        "word_bonus 6 lies on the edge of what was tried, 0 to 6: the best may lie beyond. "
        "Tune again with --grid word_bonus=4,6,8,10,14."
    )
    assert str(Edge("unknown_offset", -7.0, (-6.0, -2.0))).endswith(
        "--grid unknown_offset=-23,-15,-11,-7,-3."
    )
    assert str(Edge("lm_weight", 0.3, (0.3, 0.7, 2.3))).endswith("--grid lm_weight=0,0.3,0.7.")


@pytest.mark.parametrize("hotwords", [{}, {"ab": None, "a b": None, "b": 1.5}])
@pytest.mark.parametrize("arm", ["both", "word", "character"])
def test_ranking_the_pool_anew_agrees_with_the_search(arm: str, hotwords: dict[str, float | None]) -> None:
    emissions, texts = dev_set(4)
    config = BeamSearchConfig(lm_weight=0.6, char_weight=0.2, num_hypotheses=64)
    base = Base(config, hotwords)
    pool = Pool(texts, ARMS, base)
    weights = {name: getattr(config, name, 2.5) for name in GRID}
    scores = []
    for utterance, frames in enumerate(emissions):
        hypotheses = decoder(ARMS[arm], base.configured(weights)).decode(frames)
        scores.append([hypothesis.score for hypothesis in hypotheses])
        for hypothesis in hypotheses:
            pool.add(utterance, hypothesis.text, hypothesis.ctc_score)
    parts, wrong = pool.arrays(arm)
    ranked = rank(parts, weights)
    for utterance, row in enumerate(scores):
        assert ranked[utterance, : len(row)] == pytest.approx(row, abs=1e-6)
        assert (ranked[utterance, len(row) :] == -np.inf).all()
    assert wrong.shape == (4, ranked.shape[1], 2)
    count, fixed = base.occurrences("ab a b a b")
    own = {phrase: 1.0 if weight is None else 0.0 for phrase, weight in hotwords.items()}
    assert count == hotword_score("ab a b a b", own)
    assert fixed == pytest.approx(3.0 if hotwords else 0.0)


def test_hotwords_of_writings_without_spaces_count_inside_words() -> None:
    base = Base(BeamSearchConfig(), {"กข": None, "ข": 1.5, "a": None})
    assert base.occurrences("กขกข ข aa a") == (3, 4.5)


@pytest.mark.parametrize("engine", ["cpu", "torch"])
@pytest.mark.parametrize("order", [("word", "both"), ("both", "word")])
def test_ranking_asks_the_piece_model_for_the_likeliest_row_of_labels(
    order: tuple[str, str], engine: str
) -> None:
    surfaces = ("", "b", "a", " b", " ")
    words, pieces = ToyNgram(("ba", "a"), seed=1), ToyNgram(("▁b", "a"), seed=3)
    arms = {"both": ToyModel(word=words, piece=pieces), "word": ToyModel(word=words)}
    config = BeamSearchConfig(lm_weight=0.6, piece_weight=0.7, num_hypotheses=8, engine=engine)
    frames = [[0.94, 0.06, 0, 0, 0], [0.06, 0, 0, 0.94, 0], [1, 0, 0, 0, 0], [0, 0, 1, 0, 0]]
    with np.errstate(divide="ignore"):  # "ba" is " b" and "a" by 0.88, "b" and "a" by less than 0.01
        emissions = np.log(np.array(frames, dtype=np.float32))

    def make(model: LanguageModel, config: BeamSearchConfig) -> Decoder:
        return BeamDecoder(surfaces, 0, model, config)

    found = {
        arm: {each.text: each for each in make(model, config).decode(emissions)}
        for arm, model in arms.items()
    }
    likeliest = (" b", "a")
    assert found["both"]["ba"].written == likeliest
    assert found["word"]["ba"].written == ("b", "a")  # the first that it met
    base = Base(config, {})
    pool, runs = Pool(["ba"], arms, base), Runs([emissions], ["ba"], arms, make, base)
    for arm in order:
        runs.decode(Setting(arm, (), ()), [0], pool, nbest=8)
    place = list(found[order[0]]).index("ba")
    expected = components(arms["both"], "ba", likeliest)
    parts, _ = pool.arrays("both")
    assert parts[1:6, 0, place] == pytest.approx([expected.word, 0, 0, 0, expected.piece], abs=1e-6)
    ranked = rank(parts, {name: getattr(config, name, 0.0) for name in GRID})
    assert ranked[0, place] == pytest.approx(
        found["both"]["ba"].score, abs=0.03
    )  # the other row is 0.9 % of the sum


def test_texts_that_no_search_with_pieces_found_are_split_by_the_tokenizer() -> None:
    pool = Pool(["a b"], {"both": PIECES}, Base(BeamSearchConfig(), {}), split=lambda text: ["a", "▁", "b"])
    pool.add(0, "a b", -1.0, ("a", " ", " ", "b"))
    assert pool.arrays("both")[0][5, 0, 0] == components(PIECES, "a b", ("a", " ", "b")).piece
    pool.add(0, "a b", -1.0, (" ", "a", " ", "b"), by_pieces=True)
    pool.add(0, "a b", -1.0, ("a", " ", " ", "b"))
    assert pool.arrays("both")[0][5, 0, 0] == components(PIECES, "a b", (" ", "a", " ", "b")).piece


def test_words_and_pieces_are_tuned_like_words_and_characters() -> None:
    emissions, texts = dev_set(6)
    arms = {"both": PIECES, "word": ToyModel(word=PIECES.word), "piece": ToyModel(piece=PIECES.piece)}
    grid = {**SMALL, **FIXED, "piece_weight": (0.0, 0.5)}
    del grid["char_weight"]
    result = tune(emissions, texts, arms, decoder, start=BAD, grid=grid, candidates=6)
    for name, arm in result.arms.items():
        assert arm.wer == pytest.approx(
            sum(
                error_counts(
                    text.split(), decoder(arms[name], arm.config).decode(frames)[0].text.split()
                ).errors
                for text, frames in zip(texts, emissions, strict=True)
            )
            / sum(len(text.split()) for text in texts)
        )
    assert {trial.weights["piece_weight"] for trial in result.trials if trial.arm == "both"} >= {0.0, 0.5}


def test_the_weight_of_hotwords_is_tuned_and_their_own_weights_stay() -> None:
    emissions, texts = dev_set(8)
    unseen = {"bb": None, "ab": -0.5}
    texts = [text.replace("b a", "bb a") for text in texts]
    grid = {**SMALL, **FIXED, "hotword_weight": (0.0, 3.0)}
    result = tune(emissions, texts, {"both": MODEL}, decoder, start=BAD, grid=grid, hotwords=unseen)
    found = result.arms["both"]
    assert found.config.hotwords == {"bb": found.weights["hotword_weight"], "ab": -0.5}
    assert {0.0, 3.0} <= {trial.weights["hotword_weight"] for trial in result.trials}


def test_hotwords_that_dev_cannot_judge_keep_their_first_weight() -> None:
    emissions, texts = dev_set(8)

    def weight(**own: tuple[float, ...]) -> float:
        found = tune(
            emissions, texts, {"both": MODEL}, decoder, start=BAD, grid={**SMALL, **FIXED, **own},
            hotwords={"bbbbbbb": None}, rounds=1,
        )  # fmt: skip
        return found.arms["both"].weights["hotword_weight"]

    assert weight() == HOTWORD_WEIGHT
    assert weight(hotword_weight=(0.0,)) == 0.0


@pytest.mark.parametrize("hears", [True, False])
def test_hotwords_are_silenced_only_where_decoding_with_them_makes_more_errors(hears: bool) -> None:
    emissions, texts = dev_set(12)
    base = Base(BeamSearchConfig(char_weight=0.0, word_bonus=7.0, beam_width=16), {"b b": None, "bb": None})

    def make(model: LanguageModel, config: BeamSearchConfig) -> Decoder:
        return decoder(model, config if hears else replace(config, hotwords={}))

    runs = Runs(emissions, texts, ARMS, make, base)
    silent = Setting("both", ("lm_weight", "hotword_weight"), (2.5, 0.0))
    runs.decode(silent, runs.everything)
    runs.try_hotwords({"hotword_weight": (0.0,)})
    assert runs.whole() == [silent]  # it was asked for
    runs.try_hotwords({})
    heard = replace(silent, weights=(2.5, HOTWORD_WEIGHT))
    assert runs.whole() == [silent, heard]
    assert (runs.errors(silent, runs.everything) < runs.errors(heard, runs.everything)) == hears
    assert runs.firsts() == {"both": silent if hears else heard}


def test_weights_without_effect_are_not_tuned() -> None:
    assert set(default_grid(toy_model("character"))) == {"char_weight", "word_bonus"}
    assert "char_weight" not in default_grid(toy_model("word"))
    assert len(default_grid(MODEL)) == 5
    assert set(default_grid(PIECES)) == set(default_grid(toy_model("word"))) | {"piece_weight"}
    assert "hotword_weight" in default_grid(MODEL, {"ab": None})
    assert "hotword_weight" not in default_grid(MODEL, {"ab": 2.0})
    emissions, texts = dev_set(2)
    with pytest.raises(InputError, match="lm_wait has no effect here"):
        tune(emissions, texts, ARMS, decoder, grid={"lm_wait": (0.0, 1.0)})


def test_weights_become_settings() -> None:
    base = Base(BAD, {"ab": None, "b": 1.0})
    assert base.configured({"word_bonus": 1.0, "hotword_weight": 7.0}) == replace(
        BAD, word_bonus=1.0, hotwords={"ab": 7.0, "b": 1.0}
    )


def test_what_cannot_be_tuned_on_is_refused() -> None:
    with pytest.raises(InputError, match="no reference text"):
        tune([np.zeros((1, 4), dtype=np.float32)], [""], ARMS, decoder)
    with pytest.raises(InputError, match="0 utterances for 1"):
        tune([], ["a"], ARMS, decoder)

"""Shares of languages and corpora: exact over a training, the same after a resume, following the losses."""

from __future__ import annotations

import json
import math
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from asr.manifest import Utterance
from asr.mixing import GroupLosses, MixConfig, Mixture, temperature_shares
from lm.errors import InputError


def corpus(**hours: list[float]) -> list[Utterance]:
    """Utterances of the given seconds for each language; those of `a*` lie in another corpus than the rest."""
    return corpus_of(hours)


def corpus_of(hours: Mapping[str, list[float]]) -> list[Utterance]:
    """The same of any languages."""
    return [
        Utterance(
            id=f"{language}{number}", audio=Path("x.wav"), duration_s=seconds, language=language,
            extra={"corpus": "one" if language.startswith("a") else "two"},
        )
        for language, durations in hours.items()
        for number, seconds in enumerate(durations)
    ]  # fmt: skip


def test_without_levels_an_epoch_is_every_utterance_once() -> None:
    mixture = Mixture(corpus(a=[1, 2], b=[3]), MixConfig(), seed=1)
    assert mixture.draw(0) == mixture.draw(7) == [0, 1, 2]


def test_shares_by_temperature_on_two_levels() -> None:
    hours = {("one", "a"): 8.0, ("one", "aa"): 1.0, ("two", "b"): 1.0}
    shares = temperature_shares(hours, [0.5, 0.0])
    assert shares[("two", "b")] == pytest.approx(1 / (1 + 3))
    assert shares[("one", "a")] == shares[("one", "aa")] == pytest.approx(0.375)
    assert sum(temperature_shares(hours, [0.7, 0.3]).values()) == pytest.approx(1)


def test_shares_are_to_the_last_bit_what_their_definitions_add_up_and_thousands_of_groups_take_no_time() -> (
    None
):
    draw = random.Random(1)
    names = [f"{number:02}" for number in range(20)]
    hours = {(corpus, name): draw.uniform(0, 9) for corpus in "abc" for name in names}
    corpora = {corpus: sum([hours[corpus, name] for name in names]) ** 0.3 for corpus in "abc"}
    shares = temperature_shares(hours, [0.3, 0.7])
    for (corpus, name), share in shares.items():
        among = hours[corpus, name] ** 0.7 / sum([hours[corpus, other] ** 0.7 for other in names])
        assert share == corpora[corpus] / sum(corpora.values()) * among

    rows = [
        replace(row, id=f"{corpus}{row.id}", extra={"corpus": corpus})
        for corpus in "abc"
        for row in corpus_of({name: [1.0] for name in names})
    ]
    graph = {first: {second: draw.uniform(-1, 1) for second in names[::3]} for first in names[::2]}
    config = MixConfig(levels=("corpus", "language"), skill_eta=0.5, skill_graph=graph)
    mixture = Mixture(rows, config, seed=1)
    losses = {group: draw.uniform(1, 3) for group in mixture.groups}
    mixture.learn(losses)

    def edge(one: tuple[str, ...], other: tuple[str, ...]) -> float:
        return graph.get(one[-1], {}).get(other[-1], float(one == other))

    scores = [0.5 * sum([edge(one, other) * losses[other] for other in losses]) for one in mixture.groups]
    weights = [math.exp(score - max(scores)) for score in scores]
    assert list(mixture.shares.values()) == [weight / sum(weights) for weight in weights]

    started = time.process_time()
    many = {(str(number),): 1.0 + number for number in range(20_000)}
    assert sum(temperature_shares(many, [0.5]).values()) == pytest.approx(1)
    assert time.process_time() - started < 5


@settings(max_examples=40, deadline=None)
@given(
    some.lists(some.floats(0.5, 20), min_size=1, max_size=12),
    some.lists(some.floats(0.5, 20), min_size=1, max_size=12),
    some.sampled_from([0.0, 0.3, 0.7, 1.0]),
)
def test_what_is_drawn_is_the_share_to_within_one_utterance(
    a: list[float], b: list[float], temperature: float
) -> None:
    utterances = corpus(a=a, b=b)
    mixture = Mixture(utterances, MixConfig(levels=("language",), temperature=(temperature,)), seed=3)
    drawn: Counter[str] = Counter()
    epochs = 5
    for epoch in range(epochs):
        rows = mixture.draw(epoch)
        mixture.note(rows)
        for index in rows:
            drawn[utterances[index].language] += utterances[index].duration_s
    for language, durations in {"a": a, "b": b}.items():
        wanted = mixture.shares[(language,)] * (sum(a) + sum(b)) * epochs
        assert abs(drawn[language] - wanted) <= max(durations) + 1e-3


def test_at_temperature_one_every_epoch_is_every_utterance_once() -> None:
    mixture = Mixture(
        corpus(a=[1.3, 2.9, 0.7], b=[3.1, 0.11]), MixConfig(levels=("language",), temperature=(1.0,)), seed=3
    )
    for epoch in range(20):
        rows = mixture.draw(epoch)
        assert sorted(rows) == [0, 1, 2, 3, 4]
        mixture.note(rows)


def test_what_training_leaves_of_an_epoch_comes_first_in_the_next_and_the_shares_are_of_what_it_took() -> (
    None
):
    config = MixConfig(levels=("language",), temperature=(0.0,))
    utterances = corpus(a=[9.0] * 100, b=[3.0] * 100)
    mixture = Mixture(utterances, config, seed=1)
    left: list[int] = []
    for epoch in range(10):
        rows = mixture.draw(epoch)
        assert not Counter(left) - Counter(rows)
        # What an update does not fill is left out, and it is all of one kind: batches are of alike lengths.
        left = [index for index in rows if utterances[index].language == "a"][:7]
        mixture.note((Counter(rows) - Counter(left)).elements())
    a, b = (mixture.drawn_s[group] for group in mixture.groups)
    assert a == pytest.approx(b, abs=7 * 9.0 + 9.0)


def test_what_is_left_of_a_group_whose_share_falls_still_comes_in_its_round() -> None:
    """The next epoch draws less of it than was left: what it does not draw comes in later ones."""
    utterances = corpus(a=[1.0] * 40, b=[1.0] * 40)
    mixture = Mixture(utterances, MixConfig(levels=("language",), skill_eta=1.0), seed=1)
    mixture.note([index for index in mixture.draw(0) if utterances[index].language == "b"])
    mixture.learn({("a",): 1.0, ("b",): 5.0})
    taken = Counter(range(40))  # those of a, once each
    for epoch in range(1, 60):
        rows = mixture.draw(epoch)
        mixture.note(rows)
        taken.update(index for index in rows if utterances[index].language == "a")
    assert len(taken) == 40
    assert max(taken.values()) > 2
    assert max(taken.values()) - min(taken.values()) <= 1


def test_shares_are_of_the_seconds_that_are_heard() -> None:
    config = MixConfig(levels=("language",), temperature=(0.0,))
    utterances = corpus(a=[60.0] * 60, b=[4.0] * 900)
    mixture = Mixture(utterances, config, seed=1, longest_s=15.6)
    for epoch in range(5):
        mixture.note(mixture.draw(epoch))
    a, b = (mixture.drawn_s[group] for group in mixture.groups)
    assert a == pytest.approx(b, abs=16)
    assert a + b == pytest.approx(5 * (60 * 15.6 + 900 * 4.0), abs=32)


def test_moved_shares_hold_from_the_evaluation_on() -> None:
    """An epoch that is ended after a tenth of it, time and again: what was drawn is what the shares said."""
    config = MixConfig(levels=("language",), skill_eta=0.5)
    utterances = corpus(a=[1.0] * 300, b=[2.0] * 150)
    mixture = Mixture(utterances, config, seed=2)
    wanted: Counter[str] = Counter()
    for epoch in range(30):
        rows = mixture.draw(epoch)
        assert not mixture.stale
        mixture.note(rows[::10])
        seconds = sum(utterances[index].duration_s for index in rows[::10])
        for group, share in mixture.shares.items():
            wanted[group[0]] += share * seconds
        mixture.learn({("a",): 1.0 + epoch % 7, ("b",): 0.5})
        assert mixture.stale
    for group, seconds in mixture.drawn_s.items():
        assert seconds == pytest.approx(wanted[group[0]], rel=0.02)


def test_a_resumed_mixture_draws_the_same() -> None:
    config = MixConfig(levels=("language",), skill_eta=0.5)
    utterances = corpus(a=[1.0] * 30, b=[2.0] * 7)
    whole, parts = (Mixture(utterances, config, seed=2) for _ in range(2))
    for epoch in range(4):
        first = whole.draw(epoch)
        if epoch:
            resumed = Mixture(utterances, config, seed=2)
            resumed.load_state(json.loads(json.dumps(parts.state())))
            parts = resumed
        assert parts.draw(epoch) == first
        for mixture in (whole, parts):
            mixture.note(first[:: 1 + epoch])
            mixture.learn({("a",): 1.0 + epoch, ("b",): 0.5})


def test_skill_it_follows_the_losses_by_its_formula() -> None:
    graph = {"a": {"b": 0.5}}
    config = MixConfig(levels=("language",), skill_eta=0.8, skill_window=2, skill_graph=graph)
    mixture = Mixture(corpus(a=[1.0], b=[1.0]), config, seed=1)
    from math import exp

    assert mixture.shares[("a",)] == pytest.approx(exp(0.8 * 1.5) / (exp(0.8 * 1.5) + exp(0.8)))
    for losses in ((9.0, 9.0), (1.0, 2.0), (0.5, 1.5)):
        mixture.learn(dict(zip(mixture.groups, losses, strict=True)))
    a, b = exp(0.8 * (1.5 + 0.5 * 3.5)), exp(0.8 * 3.5)
    assert mixture.shares[("a",)] == pytest.approx(a / (a + b))


def test_an_empty_graph_makes_skill_it_loss_proportional() -> None:
    config = MixConfig(levels=("language",), skill_eta=1.0)
    mixture = Mixture(corpus(a=[1.0], b=[1.0]), config, seed=1)
    assert mixture.shares[("a",)] == pytest.approx(0.5)
    mixture.learn({("a",): 2.0, ("b",): 1.0})
    assert mixture.shares[("a",)] > mixture.shares[("b",)]


def test_a_group_none_of_whose_losses_is_finite_has_none() -> None:
    losses = GroupLosses(corpus(a=[1.0, 1.0], b=[1.0]), ["language"])
    assert math.isnan(losses.per_label())
    losses.add(["a0", "a1", "b0"], [6.0, math.inf, math.inf], [3, 5, 9])
    assert losses.per_label() == losses.by_group()[("a",)] == 2
    assert math.isnan(losses.by_group()[("b",)])


def test_the_table_says_what_was_drawn() -> None:
    mixture = Mixture(corpus(a=[1800], b=[1000, 800, 1800]), MixConfig(levels=("language",)), seed=1)
    assert mixture.note([0, 1, 2]) == 3600
    assert mixture.table().splitlines() == [
        "language\thours\tshare\tdrawn_hours\tdrawn_share",
        "a\t0.5000\t0.3333\t0.5000\t0.5000",
        "b\t1.0000\t0.6667\t0.5000\t0.5000",
    ]


def test_mistakes_are_named() -> None:
    with pytest.raises(InputError, match="the manifest has no column 'dialect' to group by"):
        Mixture(corpus(a=[1.0]), MixConfig(levels=("dialect",)), seed=1)
    with pytest.raises(InputError, match="1 values for 2 levels"):
        MixConfig(levels=("corpus", "language"), temperature=(0.5,))
    with pytest.raises(InputError, match=r"mix.skill_eta needs groups"):
        MixConfig(skill_eta=0.5)
    skill = MixConfig(levels=("language",), skill_eta=1.0)
    mixture = Mixture(corpus(a=[1.0], b=[1.0]), skill, seed=1)
    with pytest.raises(InputError, match="dev has nothing of language b"):
        mixture.check_dev(corpus(a=[1.0]))
    mixture.check_dev(corpus(a=[1.0], b=[1.0]))
    unnamed = Mixture(corpus_of({"": [1.0], "b": [1.0]}), skill, seed=1)
    with pytest.raises(InputError, match=r"dev has nothing of language \(none\)"):
        unnamed.check_dev(corpus(b=[1.0]))
    with pytest.raises(InputError, match=r"Set mix.skill_eta .*, or leave out the graph"):
        MixConfig(levels=("language",), skill_graph={"a": {"b": 1.0}})
    with pytest.raises(InputError, match="both say what the shares are"):
        replace(skill, temperature=(0.5,))
    with pytest.raises(InputError, match=r"mix.skill_window is 0. Give a number from 1"):
        replace(skill, skill_window=0)
    for graph in ({"a": {"c": 0.5}}, {"c": {"a": 0.5}}):
        with pytest.raises(InputError, match="skill_graph names 'c', which no training utterance has"):
            Mixture(corpus(a=[1.0], b=[1.0]), replace(skill, skill_graph=graph), seed=1)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused_and_hangs_nothing(value: float) -> None:
    levels = ("language",)
    with pytest.raises(InputError, match=r"mix.temperature is .*Give numbers from 0"):
        MixConfig(levels=levels, temperature=(value,))
    with pytest.raises(InputError, match=r"mix.skill_eta is .*Give a number from 0"):
        MixConfig(levels=levels, skill_eta=value)
    with pytest.raises(InputError, match=r"mix.skill_graph has .* from 'a' to 'b'"):
        MixConfig(levels=levels, skill_eta=0.5, skill_graph={"a": {"a": 0.5, "b": value}})
    mixture = Mixture(corpus(a=[1.0], b=[1.0]), MixConfig(levels=levels, skill_eta=0.5), seed=1)
    before = mixture.shares
    with pytest.raises(InputError, match=r"loss on dev of language a is .*mix.skill_eta=0"):
        mixture.learn({("a",): value, ("b",): 1.0})
    assert mixture.shares == before
    mixture.shares = dict.fromkeys(mixture.groups, math.nan)  # wherever it may come from
    assert mixture.draw(0) == []


def test_a_rate_below_0_is_refused() -> None:
    with pytest.raises(InputError, match=r"mix.skill_eta is -0.5"):
        MixConfig(levels=("language",), skill_eta=-0.5)

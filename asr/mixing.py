"""How much of each language and corpus an epoch holds: temperature sampling, and Skill-it's online weights."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from asr.manifest import Utterance
from lm.errors import InputError

Group = tuple[str, ...]
"""One value for each level: ``("killkan", "qu-ec")``."""


@dataclass(frozen=True, kw_only=True)
class MixConfig:
    """Shares of the groups that the manifest's columns make."""

    levels: tuple[str, ...] = ()
    """Columns, outermost first: [corpus, language]. Empty: every utterance once in an epoch."""
    temperature: tuple[float, ...] = ()
    """For each level the power of the hours that a share is proportional to: 1 as the hours are, 0 all alike
    (IndicWav2Vec: 0.7); empty is 1 for all."""
    skill_eta: float = 0.0
    """Skill-it: how sharply the shares follow the losses on dev (Chen et al. 2023: 0.1 to 0.8); 0 is off."""
    skill_window: int = 3
    """Skill-it: evaluations whose losses are added up."""
    skill_graph: dict[str, dict[str, float]] = field(default_factory=dict)
    """Skill-it: ``{from: {to: weight}}``, how much training on one group lowers the loss on another. Groups by
    their last level's value; a group helps itself by 1 unless said otherwise."""

    def __post_init__(self) -> None:
        if len(self.temperature) not in (0, len(self.levels)):
            raise InputError(
                f"mix.temperature has {len(self.temperature)} values for {len(self.levels)} levels "
                f"({', '.join(self.levels)}). Give one for each."
            )
        if any(value < 0 for value in self.temperature):
            raise InputError(f"mix.temperature is {list(self.temperature)}. Give numbers from 0.")
        if self.skill_eta and not self.levels:
            raise InputError("mix.skill_eta needs groups: name columns in mix.levels, as [language].")
        if self.skill_eta and self.temperature:
            raise InputError(
                "mix.temperature and mix.skill_eta both say what the shares are. Leave out one: mix.temperature=[] "
                "or mix.skill_eta=0."
            )


def group_of(utterance: Utterance, levels: Sequence[str]) -> Group:
    """Values of an utterance in the columns ``levels``.

    Raises:
        InputError: the manifest has no such column.
    """
    values = []
    for level in levels:
        value = getattr(utterance, level, None)
        if value is None:
            value = utterance.extra.get(level)
        if value is None:
            raise InputError(
                f"mix.levels names the column {level!r}, which the manifest has not. "
                "Name one of its columns, as language."
            )
        values.append(str(value))
    return tuple(values)


class GroupLosses:
    """Losses on dev, batch after batch: in all, and of each group."""

    def __init__(self, dev: Sequence[Utterance], levels: Sequence[str]) -> None:
        self.group = {utterance.id: group_of(utterance, levels) for utterance in dev}
        self._sums = dict.fromkeys(sorted(set(self.group.values())), 0.0)
        self._labels = dict.fromkeys(self._sums, 0)

    def add(self, ids: Sequence[str], losses: Sequence[float], num_labels: Sequence[int]) -> None:
        """Add utterances, each with its loss over all its labels; one whose loss is infinite is left out."""
        for name, loss, count in zip(ids, losses, num_labels, strict=True):
            if math.isfinite(loss):
                self._sums[self.group[name]] += loss
                self._labels[self.group[name]] += count

    def per_label(self) -> float:
        """Of all of dev."""
        return sum(self._sums.values()) / max(1, sum(self._labels.values()))

    def by_group(self) -> dict[Group, float]:
        """Per label, of each group."""
        return {group: total / max(1, self._labels[group]) for group, total in self._sums.items()}


def warn_of_lost_groups(
    before: Sequence[Utterance], after: Sequence[Utterance], levels: Sequence[str]
) -> None:
    """Name, on standard error, each group of which no training utterance is left."""
    kept = {group_of(utterance, levels) for utterance in after}
    lost: dict[Group, float] = {}
    for utterance in before:
        group = group_of(utterance, levels)
        if group not in kept:
            lost[group] = lost.get(group, 0.0) + utterance.duration_s
    for group, seconds in sorted(lost.items()):
        print(
            f"{' '.join(levels)} {' '.join(group) or '(none)'}: 0 hours to train on; its {seconds:.1f} s are in "
            "utterances too short to be used. The others go on without it.",
            file=sys.stderr,
        )


def temperature_shares(hours: Mapping[Group, float], temperature: Sequence[float]) -> dict[Group, float]:
    """Share of each group, level by level: ``hours ** temperature`` among its siblings.

    >>> temperature_shares({("a",): 1.0, ("b",): 4.0}, [0.5])
    {('a',): 0.3333333333333333, ('b',): 0.6666666666666666}
    """
    shares = dict.fromkeys(hours, 1.0)
    for depth, power in enumerate(temperature, start=1):
        nodes: dict[Group, float] = {}
        for group, value in hours.items():
            nodes[group[:depth]] = nodes.get(group[:depth], 0.0) + value
        weights = {node: value**power if value > 0 else 0.0 for node, value in nodes.items()}
        for group in shares:
            siblings = sum(weight for node, weight in weights.items() if node[:-1] == group[:depth][:-1])
            shares[group] *= weights[group[:depth]] / siblings if siblings else 0.0
    return shares


class Mixture:
    """Which utterances each epoch holds, in shares that may change from epoch to epoch.

    A group's utterances come in shuffled rounds, each one once in a round, and an epoch takes up
    where the last one stopped: over a training each group is drawn to within one utterance of its
    share. The draw follows from the seed and `state`, so a resumed run and every process of many
    draw the same.
    """

    def __init__(self, utterances: Sequence[Utterance], config: MixConfig, seed: int) -> None:
        """
        Raises:
            InputError: a column is missing, or the skill graph names a group that is not there.
        """
        self.config = config
        self.seed = seed
        self.durations = np.array([utterance.duration_s for utterance in utterances])
        self.group = [group_of(utterance, config.levels) for utterance in utterances]
        self.members: dict[Group, list[int]] = {}
        for index, group in enumerate(self.group):
            self.members.setdefault(group, []).append(index)
        self.seconds = {group: float(self.durations[rows].sum()) for group, rows in self.members.items()}
        self.groups = sorted(self.members)
        names = {group[-1] for group in self.groups if group}
        graph = config.skill_graph
        if strange := sorted({*graph, *(to for edges in graph.values() for to in edges)} - names):
            raise InputError(
                f"mix.skill_graph names {strange[0]!r}, which no training utterance has in the column "
                f"{config.levels[-1] if config.levels else ''!r}; there are {', '.join(sorted(names)) or 'no groups'}."
            )
        temperature = config.temperature or (1.0,) * len(config.levels)
        self.shares = temperature_shares(self.seconds, temperature)
        """Share of each group from the next epoch on."""
        if config.skill_eta:
            self.shares = self._skill_shares([])
        self.epoch = -1
        self.begun: dict[Group, float] = dict.fromkeys(self.groups, 0.0)
        """Seconds of each group's rounds that lie before this epoch."""
        self.taken: dict[Group, float] = dict.fromkeys(self.groups, 0.0)
        """Seconds of each group in this epoch."""
        self.losses: list[dict[Group, float]] = []
        self.drawn_s: dict[Group, float] = dict.fromkeys(self.groups, 0.0)
        """Seconds of each group that training has taken."""

    def check_dev(self, dev: Sequence[Utterance]) -> None:
        """Refuse, where Skill-it is on, a dev split that tells nothing of a group.

        Raises:
            InputError: it lacks one.
        """
        heard = {group_of(utterance, self.config.levels) for utterance in dev}
        missing = [group for group in self.groups if group not in heard]
        if self.config.skill_eta and missing:
            raise InputError(
                f"mix.skill_eta is on and dev has nothing of {' '.join(missing[0])}. "
                "Give every group of the training split dev utterances."
            )

    def draw(self, epoch: int) -> list[int]:
        """Utterances of an epoch, some of them more than once; the epochs are asked for in order."""
        if not self.config.levels:
            return list(range(len(self.durations)))
        assert epoch in (self.epoch, self.epoch + 1), "epochs are drawn one after the other"
        if epoch == self.epoch + 1:
            total = sum(self.seconds.values())
            for group in self.groups:
                self.begun[group] += self.taken[group]
                self.taken[group] = self.shares[group] * total
            self.epoch = epoch
        drawn: list[int] = []
        for number, group in enumerate(self.groups):
            drawn += self._stretch(number, self.begun[group], self.begun[group] + self.taken[group])
        return drawn

    def note(self, taken: Iterable[tuple[int, float]]) -> float:
        """Note the utterances that an update took, with their seconds; returns their sum."""
        total = 0.0
        for index, seconds in taken:
            self.drawn_s[self.group[index]] += seconds
            total += seconds
        return total

    def learn(self, losses: Mapping[Group, float]) -> dict[str, float]:
        """Follow the losses of an evaluation on dev, where Skill-it is on; from the next epoch on.

        Returns:
            for the history, each group's loss where there are several, and the shares where Skill-it moves them.
        """
        row = {f"loss/{'/'.join(group)}": loss for group, loss in losses.items()} if len(losses) > 1 else {}
        if not self.config.skill_eta:
            return row
        self.losses = [*self.losses, dict(losses)][-self.config.skill_window :]
        self.shares = self._skill_shares(self.losses)
        return row | {f"share/{'/'.join(group)}": share for group, share in self.shares.items()}

    def state(self) -> dict[str, Any]:
        """What a resumed run needs; JSON values."""
        return {
            "epoch": self.epoch,
            "begun": [self.begun[group] for group in self.groups],
            "taken": [self.taken[group] for group in self.groups],
            "shares": [self.shares[group] for group in self.groups],
            "drawn_s": [self.drawn_s[group] for group in self.groups],
            "losses": [[row[group] for group in self.groups] for row in self.losses],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken."""
        self.epoch = state["epoch"]
        for name in ("begun", "taken", "shares", "drawn_s"):
            setattr(self, name, dict(zip(self.groups, state[name], strict=True)))
        self.losses = [dict(zip(self.groups, row, strict=True)) for row in state["losses"]]

    def tables(self) -> dict[str, str]:
        """``drawn.tsv``, where there are groups."""
        return {"drawn.tsv": self.table()} if self.config.levels else {}

    def table(self) -> str:
        """What there is of each group and what was taken of it, tab-separated."""
        lines = ["\t".join([*self.config.levels, "hours", "share", "drawn_hours", "drawn_share"])]
        total, drawn = sum(self.seconds.values()), sum(self.drawn_s.values())
        for group in self.groups:
            own, seen = self.seconds[group], self.drawn_s[group]
            cells = [own / 3600, own / total, seen / 3600, seen / drawn if drawn else 0.0]
            lines.append("\t".join([*group, *(f"{cell:.4f}" for cell in cells)]))
        return "\n".join(lines) + "\n"

    def _stretch(self, number: int, start_s: float, end_s: float) -> list[int]:
        """Utterances that begin in a stretch of a group's endless shuffled rounds."""
        group = self.groups[number]
        rows, round_s = self.members[group], self.seconds[group]
        found: list[int] = []
        turn = int(start_s // round_s) if round_s else 0
        while turn * round_s < end_s and round_s:
            order = np.random.default_rng([self.seed, number, turn]).permutation(rows)
            begins = turn * round_s + np.concatenate([[0.0], np.cumsum(self.durations[order])[:-1]])
            # A hair's breadth: sums of seconds in two orders differ in their last digits.
            found += order[(begins >= start_s - 1e-6) & (begins < end_s - 1e-6)].tolist()
            turn += 1
        return found

    def _skill_shares(self, losses: Sequence[Mapping[Group, float]]) -> dict[Group, float]:
        """``p_i ~ exp(eta * sum_j A_ij * sum_t L_j(t))`` (Chen et al. 2023, algorithm 1)."""
        summed = {group: sum(row[group] for row in losses) if losses else 1.0 for group in self.groups}
        scores = {
            source: self.config.skill_eta
            * sum(self._edge(source, target) * summed[target] for target in self.groups)
            for source in self.groups
        }
        top = max(scores.values())
        weights = {group: math.exp(score - top) for group, score in scores.items()}
        return {group: weight / sum(weights.values()) for group, weight in weights.items()}

    def _edge(self, source: Group, target: Group) -> float:
        given = self.config.skill_graph.get(source[-1], {})
        return given.get(target[-1], 1.0 if source == target else 0.0)


class Mixed:
    """What a task of the trainer says of its mixture."""

    mixture: Mixture

    def tables(self) -> dict[str, str]:
        """What was drawn of each group."""
        return self.mixture.tables()

    def state(self) -> dict[str, Any]:
        """The mixture's."""
        return self.mixture.state()

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.mixture.load_state(state)

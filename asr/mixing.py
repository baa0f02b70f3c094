"""How much of each language and corpus an epoch holds: temperature sampling, and Skill-it's online weights."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np

from asr.manifest import Utterance
from lm.errors import InputError

Group = tuple[str, ...]
"""One value for each level: ``("killkan", "qu-ec")``."""
BY_GROUP = ("begun", "left", "owed", "in_force", "shares", "drawn_s")
"""What a mixture's state has of each group."""


@dataclass(frozen=True, kw_only=True)
class MixConfig:
    """Shares of the groups that the manifest's columns make."""

    levels: tuple[str, ...] = ()
    """Columns, outermost first: [corpus, language]. Empty: every utterance once in an epoch."""
    temperature: tuple[float, ...] = ()
    """For each level the power of the hours that a share is proportional to: 1 as the hours are, 0 all alike
    (IndicWav2Vec: 0.7); empty is 1 for all."""
    skill_eta: float = 0.0
    """Skill-it: how sharply the shares follow the losses on dev (Chen et al. 2023: 0.1 to 0.8); 0 is off. They move
    with each evaluation, which ends the epoch: what is left of it comes in the next, drawn by the new shares."""
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
        # A share that is NaN would never be filled.
        if not all(0 <= value < math.inf for value in self.temperature):
            raise InputError(f"mix.temperature is {list(self.temperature)}. Give numbers from 0.")
        if not 0 <= self.skill_eta < math.inf:
            raise InputError(f"mix.skill_eta is {self.skill_eta}. Give a number from 0.")
        for source, edges in self.skill_graph.items():
            for target, weight in edges.items():
                if not math.isfinite(weight):
                    raise InputError(
                        f"mix.skill_graph has {weight} from {source!r} to {target!r}. Give a finite number."
                    )
        if self.skill_window < 1:
            raise InputError(f"mix.skill_window is {self.skill_window}. Give a number from 1.")
        if self.skill_eta and not self.levels:
            raise InputError("mix.skill_eta needs groups: name columns in mix.levels, as [language].")
        if self.skill_graph and not self.skill_eta:
            raise InputError(
                "mix.skill_graph is for Skill-it, which mix.skill_eta=0 leaves out. Set mix.skill_eta (0.1 to 0.8), or "
                "leave out the graph."
            )
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
                f"the manifest has no column {level!r} to group by (mix.levels, --by). "
                "Name one of its columns, as language."
            )
        values.append(str(value))
    return tuple(values)


def named_group(group: Group, levels: Sequence[str]) -> str:
    """A group as messages name it.

    >>> named_group(("",), ["language"])
    'language (none)'
    """
    return f"{' '.join(levels)} {' '.join(group) or '(none)'}"


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
        """Of all of dev; NaN where every utterance is left out."""
        labels = sum(self._labels.values())
        return sum(self._sums.values()) / labels if labels else math.nan

    def by_group(self) -> dict[Group, float]:
        """Per label, of each group; NaN where all its utterances are left out."""
        return {
            group: total / self._labels[group] if self._labels[group] else math.nan
            for group, total in self._sums.items()
        }


def warn_of_lost_groups(
    before: Sequence[Utterance], after: Sequence[Utterance], levels: Sequence[str]
) -> None:
    """Name, on standard error, each group of which no training utterance is left, where others are."""
    kept = {group_of(utterance, levels) for utterance in after}
    lost: dict[Group, float] = {}
    for utterance in before:
        group = group_of(utterance, levels)
        if kept and group not in kept:
            lost[group] = lost.get(group, 0.0) + utterance.duration_s
    for group, seconds in sorted(lost.items()):
        print(
            f"{named_group(group, levels)}: 0 hours to train on; its {seconds:.1f} s are in "
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
        children: dict[Group, list[float]] = {}
        for node, weight in weights.items():
            children.setdefault(node[:-1], []).append(weight)
        totals = {parent: sum(found) for parent, found in children.items()}
        for group in shares:
            total = totals[group[: depth - 1]]
            shares[group] *= weights[group[:depth]] / total if total else 0.0
    return shares


class Mixture:
    """Which utterances each epoch holds, in shares that may change from epoch to epoch.

    A group's utterances come in shuffled rounds, each one once in a round, and an epoch takes up
    where the last one stopped: over a training each group is drawn to within one utterance of its
    share. What training leaves of an epoch comes first in the next, and what a group has had too
    much or too little of is made up for. The draw follows from the seed and `state`, so a resumed
    run and every process of many draw the same.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        config: MixConfig,
        seed: int,
        longest_s: float = math.inf,
    ) -> None:
        """
        Args:
            longest_s: seconds that are heard of a longer utterance.
        Raises:
            InputError: a column is missing, or the skill graph names a group that is not there.
        """
        self.config = config
        self.seed = seed
        self.durations = np.array([min(longest_s, utterance.duration_s) for utterance in utterances])
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
        self.begun: dict[Group, int] = dict.fromkeys(self.groups, 0)
        """Utterances of each group's rounds that earlier epochs drew."""
        self.left: dict[Group, list[int]] = {group: [] for group in self.groups}
        """Those of them that training did not come to."""
        self.owed: dict[Group, float] = dict.fromkeys(self.groups, 0.0)
        """Seconds that each group had too little of in the epochs before this one; below 0, too much."""
        self.in_force = dict(self.shares)
        """Share of each group in this epoch."""
        self.taken: list[int] = []
        """Utterances of this epoch that training has taken."""
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
                f"mix.skill_eta is on and dev has nothing of {named_group(missing[0], self.config.levels)}. "
                "Give every group of the training split dev utterances."
            )

    def draw(self, epoch: int) -> list[int]:
        """Utterances of an epoch, some of them more than once; the epochs are asked for in order."""
        if not self.config.levels:
            return list(range(len(self.durations)))
        assert epoch in (self.epoch, self.epoch + 1), "epochs are drawn one after the other"
        if epoch == self.epoch + 1:
            if self.epoch >= 0:
                self._close()
            self.in_force = dict(self.shares)
            self.epoch = epoch
        return [index for number in range(len(self.groups)) for index in self._drawn(number)]

    def note(self, taken: Iterable[int]) -> float:
        """Note the utterances that an update took; returns their seconds."""
        total = 0.0
        for index in taken:
            self.drawn_s[self.group[index]] += self.durations[index]
            total += self.durations[index]
            if self.config.levels:
                self.taken.append(index)
        return float(total)

    def learn(self, losses: Mapping[Group, float]) -> dict[str, float]:
        """Follow the losses of an evaluation on dev, where Skill-it is on; the epoch is over then (`stale`).

        Returns:
            for the history, each group's loss where there are groups, and the shares where Skill-it moves them.
        Raises:
            InputError: Skill-it is on and a loss is no finite number, which no share can follow.
        """
        row = {f"loss/{'/'.join(group)}": loss for group, loss in losses.items() if group}
        if not self.config.skill_eta:
            return row
        for group, loss in losses.items():
            if not math.isfinite(loss):
                raise InputError(
                    f"mix.skill_eta is on and the loss on dev of {named_group(group, self.config.levels)} is {loss}. "
                    "Look at its dev utterances, lower the learning rate, or set mix.skill_eta=0."
                )
        self.losses = [*self.losses, dict(losses)][-self.config.skill_window :]
        self.shares = self._skill_shares(self.losses)
        return row | {f"share/{'/'.join(group)}": share for group, share in self.shares.items()}

    @property
    def stale(self) -> bool:
        """Whether the shares have moved since this epoch was drawn: what is left of it is to be drawn anew."""
        return self.in_force != self.shares

    def state(self) -> dict[str, Any]:
        """What a resumed run needs; JSON values."""
        by_group = {name: [getattr(self, name)[group] for group in self.groups] for name in BY_GROUP}
        return {
            "epoch": self.epoch,
            "taken": list(self.taken),
            "losses": [[row[group] for group in self.groups] for row in self.losses],
            **by_group,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken.

        Raises:
            InputError: an earlier version took it.
        """
        if self.config.levels and "owed" not in state:
            raise InputError(
                "the checkpoint says in another way than this version what was drawn of each group. "
                "Begin in another exp, or end this training with the version that began it."
            )
        # Without levels every epoch is every utterance once, whatever came before.
        if self.config.levels:
            self.epoch, self.taken = state["epoch"], list(state["taken"])
        for name in BY_GROUP if self.config.levels else ("drawn_s",):
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

    def _drawn(self, number: int) -> list[int]:
        """A group's utterances in this epoch: those left over, then the next of its endless shuffled rounds."""
        group = self.groups[number]
        wanted = self.in_force[group] * sum(self.seconds.values()) + self.owed[group]
        found: list[int] = []
        if not self.seconds[group]:
            return found
        for index in chain(self.left[group], self._rounds(number, self.begun[group])):
            # A hair's breadth: sums of seconds in two orders differ in their last digits.
            if not wanted > 1e-6:  # NaN ends it, too
                break
            found.append(index)
            wanted -= self.durations[index]
        return found

    def _rounds(self, number: int, begin: int) -> Iterator[int]:
        """A group's utterances round after round, from the one numbered ``begin`` on."""
        rows = self.members[self.groups[number]]
        turn, place = divmod(begin, len(rows))
        while True:
            yield from np.random.default_rng([self.seed, number, turn]).permutation(rows)[place:].tolist()
            turn, place = turn + 1, 0

    def _close(self) -> None:
        """End this epoch: keep what training did not come to, and what each group was given too little of."""
        taken, taken_s = Counter(self.taken), dict.fromkeys(self.groups, 0.0)
        for index in self.taken:
            taken_s[self.group[index]] += self.durations[index]
        drawn = {group: self._drawn(number) for number, group in enumerate(self.groups)}
        drawn_s = sum(self.durations[index] for rows in drawn.values() for index in rows)
        # The share of the epoch that was heard: an evaluation of Skill-it may have ended it early.
        heard_s = sum(taken_s.values()) / drawn_s * sum(self.seconds.values()) if drawn_s else 0.0
        for group, rows in drawn.items():
            before = self.left[group]
            self.begun[group] += max(0, len(rows) - len(before))
            missed = []
            for index in rows:
                if taken[index]:
                    taken[index] -= 1
                else:
                    missed.append(index)
            self.left[group] = missed + before[len(rows) :]
            self.owed[group] += float(self.in_force[group] * heard_s - taken_s[group])
        self.taken = []

    def _skill_shares(self, losses: Sequence[Mapping[Group, float]]) -> dict[Group, float]:
        """``p_i ~ exp(eta * sum_j A_ij * sum_t L_j(t))`` (Chen et al. 2023, algorithm 1)."""
        summed = {group: sum(row[group] for row in losses) if losses else 1.0 for group in self.groups}
        named: dict[str, list[Group]] = {}
        for group in self.groups:
            named.setdefault(group[-1], []).append(group)
        scores = {}
        for source in self.groups:
            edges = self.config.skill_graph.get(source[-1], {})
            # In order, as sums of them all would be: the last digits of a share follow from it.
            targets = sorted({source, *(target for name in edges for target in named[name])})
            gains = (edges.get(target[-1], 1.0) * summed[target] for target in targets)
            scores[source] = self.config.skill_eta * sum(gains)
        top = max(scores.values())
        weights = {group: math.exp(score - top) for group, score in scores.items()}
        total = sum(weights.values())
        return {group: weight / total for group, weight in weights.items()}


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

    def plan_is_stale(self) -> bool:
        """Whether an evaluation has moved the mixture's shares."""
        return self.mixture.stale

"""The beam search in tensors: a batch of utterances side by side, on a GPU or any device that has float64.

It searches what `asr.decode.engine` says, under the same rules, and finds the same texts with the same scores, up
to rounding (some 1e-6: the compiled search adds the numbers of an n-gram in float32, this one in float64). One
thing may differ: where several rows of labels write a text (sentence pieces, boundaries before the first word),
which of them stands for it and so where its words lie.

Everything has a fixed size: K places for prefixes, and for each of them staying and the same V labels of a frame
to go on with. What lies between frames is in buffers, so that a step (`Batch.advance`) does the same whatever the
numbers are: no value is read by the host, no shape depends on one, and on a GPU the step is a CUDA graph that is
replayed for each frame. The host looks twice at a batch: before, at how many frames offer a label, for the others
(most, where a model is sure of its blanks) need no step; and after, at the finished texts. FlexCTC (Grigoryan et
al. 2025, arXiv 2508.07315) is built likewise for n-grams over labels; here a word model, unseen words, a closed
vocabulary and exact sums over the paths of a text come on top.

A text is known by a number (`asr.decode.tensors.TensorLabels`) without its last boundary, and by whether a word
is open. Prefixes with the same number, openness and last label are found by sorting, and their paths summed; with
a piece model, whose prefixes are rows of labels, those with the same number of the row and last label.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asr.decode.hypothesis import EmissionArray, Finished
from asr.decode.lexicon import Models
from asr.decode.tensors import TensorModels
from asr.decode.times import words_of_labels
from lm.errors import InputError

MAX_CANDIDATES = 1 << 17
"""Most ways to go on that are weighed for an utterance in a frame: K (V + 1)."""
KEPT_BATCHES = 4
"""Shapes of batches whose buffers and graphs are kept."""
MIN_STEPS = 64
"""Steps are rounded up to a power of two, at least this, so that few shapes of batches come up."""
NO_KEY = torch.iinfo(torch.int64).max
"""Key of what is no prefix."""
_MIX, _TURN = 0x2545F4914F6CDD1D, 0x369DEA0F31A53F85
"""Odd factors that make a prefix's key of its text, its openness and its label."""
CORE, LABEL, PLACE, NODE, OPEN, SPELT = range(6)
"""Columns of a prefix's integers: number of its text, last label, place in the lexicon, hotwords' node, whether
a word is open, and from there on the character model's history. With a piece model its history comes next, and last
the number of the row of labels that write something."""
SCORE, SPELLING, GAIN, BIAS, SAYING = range(5)
"""Columns of a prefix's floats, as in `asr.decode.engine.Tree`; the gain is that of hotwords. The last one is there
with a piece model."""
SHUT_CORE, HISTORY = range(2)
"""Columns of the integers at a prefix's last boundary: number of the text, from there on the word model's history, and
the piece model's behind it."""
SHUT_SCORE, SHUT_GAIN, SHUT_SAYING = range(3)
"""Columns of the floats at a prefix's last boundary: what the models and the hotwords give the text if it ends
there, but for the word model's end; and the weighted score of its labels, where there is a piece model."""


class Beam(NamedTuple):
    """The prefixes of a batch, (N, K, ...)."""

    ends_blank: Tensor
    """Log-probability of the paths that end in a blank, minus infinity in a free place, (N, K)."""
    ends_label: Tensor
    ints: Tensor
    floats: Tensor
    shut_ints: Tensor
    shut_floats: Tensor


class Frames(NamedTuple):
    """What steps read, a row for each step."""

    labels: Tensor
    """None, then the labels to try, (S, N, V + 1)."""
    log_probs: Tensor
    """Of the labels to try, minus infinity where they are not, (S, N, V)."""
    facts: Tensor
    """Log-probability of the blank, of the likeliest label, of the silent frames before, and 1 where there were
    any, (S, N, 4)."""
    emissions: Tensor
    """All labels and, at minus infinity, none, (S, N, C + 1)."""


class Ends(NamedTuple):
    """The texts of a batch's last beams, the likeliest first, (N, K)."""

    place: Tensor
    """In the beam."""
    total: Tensor
    """Log-probability of all paths, minus infinity where there is no text of its own."""
    models: Tensor
    """Weighted score of the language models and the word bonus."""
    gain: Tensor
    """Of the hotwords."""
    is_cut: Tensor
    """The text goes without its open word."""


class TorchSearch:
    """The engine ``torch``; one batch after the other, however many threads call."""

    def __init__(self, models: Models, device: str = "auto") -> None:
        """
        Args:
            device: ``cpu``, ``cuda`` or another of torch's, or ``auto``: a GPU where there is one.
        Raises:
            InputError: the beam is too wide for tensors.
        """
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self._models, self._device = models, torch.device(device)
        self._surfaces, self._blank = models.surfaces, models.labels.blank
        width, tried = models.settings.beam_width, min(models.settings.max_labels, len(models.surfaces))
        if width * (tried + 1) > MAX_CANDIDATES:
            raise InputError(
                f"decoding option engine=torch cannot weigh {width} prefixes with {tried} labels in each frame, "
                f"but {MAX_CANDIDATES} at most. Lower beam_width or max_labels, or give engine=cpu."
            )
        self._tried, self._label_threshold = tried, models.settings.label_threshold
        self._lock = threading.Lock()
        self._batches: OrderedDict[tuple[int, int], Batch] = OrderedDict()
        self.step = Step(TensorModels(models, self._device), tried, self._device)

    def __reduce__(self) -> tuple[type[TorchSearch], tuple[Models, str]]:
        """Without the buffers of this process, which hold a lock and a GPU's graphs."""
        return TorchSearch, (self._models, str(self._device))

    def __call__(self, emissions: Sequence[EmissionArray]) -> list[Finished]:
        """See `asr.decode.beam.Search`."""
        if not emissions:
            return []
        longest = max(map(len, emissions))
        padded = np.zeros((len(emissions), longest, len(self._surfaces)), np.float32)  # (N, T, C)
        for row, each in zip(padded, emissions, strict=True):
            row[: len(each)] = each
        lengths = torch.tensor([len(each) for each in emissions], device=self._device)
        with self._lock:
            frames, silent = self.frames(torch.from_numpy(padded).to(self._device), lengths)
            batch = self.batch(frames)
            for _ in range(len(frames.labels)):
                batch.advance()
            ends = self.step.finish(batch.beam)
            rows = batch.rows(ends.place, len(frames.labels)).cpu().numpy()  # (S, N, K)
            ends = Ends(*(each.cpu() for each in ends))
        return [
            self._finished(rows[:, n], Ends(*(each[n] for each in ends)), float(silent[n]))
            for n in range(len(emissions))
        ]

    def _finished(self, rows: NDArray[np.int64], ends: Ends, silent: float) -> Finished:
        """Texts of an utterance; ``silent`` is of the frames after the last step."""
        found = []
        parts = zip(ends.total.tolist(), ends.models.tolist(), ends.gain.tolist(), strict=True)
        for place, (total, models, gain) in enumerate(parts):
            if total + silent == -math.inf:
                continue
            labels = rows[rows[:, place] != len(self._surfaces), place].tolist()
            if ends.is_cut[place]:
                labels = labels[: words_of_labels(labels, self._surfaces)[-1][1]]
            found.append((labels, (total + silent, models, gain)))
        found.sort(key=lambda text: -sum(text[1]))
        if not found:  # every path is impossible
            found = [([], (-math.inf, self.step.empty_score, 0.0))]
        return Finished(
            np.array([label for labels, _ in found for label in labels], np.int32),
            np.cumsum([0, *(len(labels) for labels, _ in found)]),
            np.array([scores for _, scores in found]),
        )

    def batch(self, frames: Frames) -> Batch:
        """The buffers for a batch, with its frames in them, before the first step."""
        steps, size = frames.labels.shape[:2]
        shape = max(MIN_STEPS, 1 << (steps - 1).bit_length()), size
        if shape not in self._batches:
            self._batches[shape] = Batch(self.step, frames, shape[0])
            if len(self._batches) > KEPT_BATCHES:
                self._batches.popitem(last=False)
        self._batches.move_to_end(shape)
        self._batches[shape].begin(frames)
        return self._batches[shape]

    def frames(self, emissions: Tensor, num_frames: Tensor) -> tuple[Frames, Tensor]:
        """What the steps read, and the log-probability of the silent frames after the last of them, (N,).

        A frame is silent where no label is near its best. After the last frame of an utterance come steps
        that change nothing.

        Args:
            emissions: (N, T, C).
            num_frames: (N,).
        """
        size, longest, num_labels = emissions.shape
        time = torch.arange(longest, device=self._device)
        is_frame = time < num_frames[:, None]  # (N, T)
        stay = emissions[..., self._blank].double()
        others = emissions.clone()
        others[..., self._blank] = -math.inf
        log_probs, labels = others.topk(min(self._tried + 1, num_labels))
        top = torch.maximum(log_probs[..., 0].double(), stay)
        lowest = (top - self._label_threshold)[..., None]
        # Of labels tied at the last place `topk` takes any; the first ones are tried, as in the compiled search.
        tied = is_frame & (log_probs[..., -1:] >= lowest)[..., 0]
        tied &= log_probs[..., self._tried - 1] == log_probs[..., -1]
        labels = labels[..., : self._tried]  # (N, T, V)
        labels[tied] = others[tied].sort(dim=1, descending=True, stable=True).indices[:, : self._tried]
        labels = labels.sort(dim=2).values
        log_probs, order = others.gather(2, labels).double().sort(dim=2, descending=True, stable=True)
        labels = labels.gather(2, order)  # of equal ones the first label first
        is_tried = (log_probs >= lowest) & (log_probs > -math.inf) & is_frame[..., None]
        # From frames to steps: frames with labels to try move together, the silence before each is summed.
        is_step = is_tried.any(dim=2)
        counts = is_step.sum(dim=1)  # (N,)
        steps = int(counts.max())
        place = is_step.cumsum(dim=1) - is_step.long()  # steps before each frame
        is_silent = is_frame & ~is_step
        silent = stay.new_zeros(size, longest + 1)
        silent.scatter_add_(1, place, torch.where(is_silent, stay, 0.0))
        waited = torch.zeros_like(silent).scatter_add_(1, place, is_silent.double()) > 0
        frame_of = place.new_zeros(size, longest + 1)
        frame_of.scatter_(1, torch.where(is_step, place, longest), time.expand(size, -1))
        frame_of = frame_of[:, :steps]
        used = torch.arange(steps, device=self._device) < counts[:, None]  # (N, S)

        def at_steps(values: Tensor) -> Tensor:
            return values.gather(1, frame_of[..., None].expand(-1, -1, values.shape[2]))

        blank = torch.where(used, stay.gather(1, frame_of), 0.0)
        facts = [
            blank,
            top.gather(1, frame_of),
            torch.where(used, silent[:, :steps], 0.0),
            waited[:, :steps] & used,
        ]
        none = torch.full((size, steps, 1), num_labels, device=self._device)
        rows = torch.where(used[..., None], at_steps(emissions), -math.inf)
        frames = Frames(
            torch.cat([none, at_steps(labels)], dim=2),
            torch.where(used[..., None] & at_steps(is_tried), at_steps(log_probs), -math.inf),
            torch.stack([fact.double() for fact in facts], dim=2),
            torch.nn.functional.pad(rows, (0, 1), value=-math.inf),
        )
        frames = Frames(*(each.transpose(0, 1).contiguous() for each in frames))  # (S, N, ...)
        return frames, silent.gather(1, counts[:, None])[:, 0]


class Batch:
    """Buffers of one shape of batch; on a GPU with the graph of a step."""

    def __init__(self, step: Step, frames: Frames, steps: int) -> None:
        """
        Args:
            frames: of a batch, to be like.
            steps: room for this many.
        """
        self._step = step
        self._frames = Frames(*(each.new_zeros(steps, *each.shape[1:]) for each in frames))
        self._time = frames.labels.new_zeros(1)
        self.beam = step.begin(frames.labels.shape[1])
        self._parents = frames.labels.new_zeros(steps, *self.beam.ends_blank.shape)  # (S, N, K)
        self._written = torch.zeros_like(self._parents)
        self._graph: torch.cuda.CUDAGraph | None = None
        if self._time.device.type == "cuda":
            # Kernels are loaded and memory is found before, and beside, what is captured.
            aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                self._advance()
            torch.cuda.current_stream().wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._advance()
            self._graph = graph

    def begin(self, frames: Frames) -> None:
        """Before the first step of these frames."""
        for buffer, new in zip(self._frames, frames, strict=True):
            buffer[: len(new)] = new
        for buffer, new in zip(self.beam, self._step.begin(frames.labels.shape[1]), strict=True):
            buffer.copy_(new)
        self._time.zero_()

    def advance(self) -> None:
        """One step of all utterances."""
        if self._graph is None:
            self._advance()
        else:
            self._graph.replay()

    def _advance(self) -> None:
        frame = Frames(*(each.index_select(0, self._time)[0] for each in self._frames))
        beam, parents, written = self._step(frame, self.beam)
        for buffer, new in zip(self.beam, beam, strict=True):
            buffer.copy_(new)
        self._parents.index_copy_(0, self._time, parents[None])
        self._written.index_copy_(0, self._time, written[None])
        self._time += 1

    def rows(self, place: Tensor, steps: int) -> Tensor:
        """Label, or none, that each step wrote for the prefixes of the last beam in ``place``, (S, N, K)."""
        rows = self._written[:steps].clone()
        for step in range(steps - 1, -1, -1):
            rows[step] = self._written[step].gather(1, place)
            place = self._parents[step].gather(1, place)
        return rows


class Step:
    """From the prefixes before a frame to those after it; see `asr.decode.engine.search` for the rules."""

    def __init__(self, models: TensorModels, tried: int, device: torch.device) -> None:
        """
        Args:
            tried: labels tried in a frame.
        """
        settings = models.settings
        self._models, self._settings = models, settings
        self._width, self._slots = settings.beam_width, tried + 1
        self._char_weight = settings.char_weight if settings.has_char else 0.0
        # Where the piece model's columns begin, among a prefix's integers and those at its last boundary.
        self._said = SPELT + len(models.character.start)
        self._shut_said = HISTORY + (len(models.word.start) if models.word else 0)
        self._uses_lexicon = settings.has_word or settings.closed
        self._places = torch.arange(self._width, device=device)
        # Numbers for `torch.where`, which otherwise makes a tensor of them each time.
        self._zero = torch.zeros((), dtype=torch.int64, device=device)
        self._no_key = torch.tensor(NO_KEY, device=device)
        self._no_label = torch.tensor(models.labels.none, device=device)
        self._beyond = torch.tensor(self._width, device=device)
        self._naught = torch.tensor(0.0, dtype=torch.float64, device=device)
        self._impossible = torch.tensor(-math.inf, dtype=torch.float64, device=device)
        # The candidates in the order in which the other engine meets them: what stays, then what goes on.
        flat = torch.arange(self._width * self._slots, device=device).view(self._width, self._slots)
        self._order = torch.cat([flat[:, 0], flat[:, 1:].flatten()])
        self._candidates = torch.arange(len(self._order), device=device)
        self.empty_score = float(self.finish(self.begin(1)).models[0, 0])
        """Of the models, for an utterance without words."""

    def begin(self, size: int) -> Beam:
        """The empty text of each of ``size`` utterances."""
        models, device = self._models, self._places.device
        shut = [torch.ones(1, dtype=torch.int64, device=device)]
        if models.word:
            shut.append(models.word.start)
        text = torch.tensor([1, models.labels.none, 0, models.hotwords.start, 0], device=device)
        ints = [text, models.character.start]
        if models.piece:
            shut.append(models.piece.start)
            ints += [models.piece.start, torch.ones(1, dtype=torch.int64, device=device)]
        columns = BIAS + 1 + bool(models.piece)
        zeros = torch.zeros(size, self._width, columns, dtype=torch.float64, device=device)
        ends_blank = torch.full_like(zeros[..., 0], -math.inf)
        ends_blank[:, 0] = 0.0
        shut_floats = zeros[..., : SHUT_GAIN + 1 + bool(models.piece)].clone()
        if self._settings.score_end and self._settings.has_char:
            shut_floats[..., SHUT_SCORE] = self._char_weight * models.character.end(models.character.start)
        return Beam(
            ends_blank,
            torch.full_like(ends_blank, -math.inf),
            torch.cat(ints).repeat(size, self._width, 1),
            zeros,
            torch.cat(shut).repeat(size, self._width, 1),
            shut_floats,
        )

    def __call__(self, frame: Frames, beam: Beam) -> tuple[Beam, Tensor, Tensor]:
        """The prefixes after a frame, with the place of each one's parent and the label it wrote, (N, K).

        Args:
            frame: a row of the steps' frames.
        """
        settings = self._settings
        stay, top, silent, waited = (fact[:, None] for fact in frame.facts.unbind(dim=1))  # (N, 1)
        total = torch.logaddexp(beam.ends_blank, beam.ends_label) + silent  # (N, K)
        ends_blank = torch.where(waited > 0, total, beam.ends_blank)
        ends_label = torch.where(waited > 0, self._impossible, beam.ends_label)
        bounded = self._bounded(beam)
        ints, floats = self._written(frame.labels, beam, bounded)  # (N, K, V + 1, ...)

        # Paths that end in a label. No extension is worth making that starts below what the best prefix
        # reaches anyhow; a label repeated without a blank between is the same label, not a second one.
        last = beam.ints[..., LABEL]
        labels, log_probs = frame.labels[:, None, 1:], frame.log_probs[:, None]  # (N, 1, V)
        rank = total + beam.floats[..., BIAS]
        cutoff = rank.amax(dim=1, keepdim=True) + top - settings.beam_threshold - settings.hotword_step
        reached = log_probs + torch.where(labels == last[..., None], ends_blank[..., None], total[..., None])
        goes_on = (rank[..., None] + log_probs >= cutoff[..., None]) & (reached > -math.inf)
        stays = ends_label + frame.emissions.gather(1, last)
        reached = torch.cat([stays[..., None], reached], dim=2)  # (N, K, V + 1)
        is_prefix = torch.cat([(total > -math.inf)[..., None], goes_on], dim=2)
        if settings.closed:
            is_prefix = is_prefix & self._is_allowed(frame.labels, beam, ints)

        # Paths that write the same text, or row, with the same last label are of one prefix.
        if self._models.piece:
            key = ints[..., -1] * _MIX + ints[..., LABEL] * _TURN
        else:
            key = ints[..., CORE] * _MIX + (2 * ints[..., LABEL] + ints[..., OPEN]) * _TURN
        key = torch.where(is_prefix, key, self._no_key).flatten(1)[:, self._order]  # (N, M)
        reached = torch.where(is_prefix, reached, self._impossible).flatten(1)[:, self._order]
        ends_label = _sum_paths(key, reached)
        ends_blank = total + stay
        totals = torch.cat(
            [torch.logaddexp(ends_blank, ends_label[:, : self._width]), ends_label[:, self._width :]], dim=1
        )
        chosen, is_filled = self._best(totals, totals + floats[..., BIAS].flatten(1)[:, self._order])

        # The new beam.
        blanks = torch.nn.functional.pad(ends_blank, (0, totals.shape[1] - self._width), value=-math.inf)
        candidate = self._order[chosen]  # (N, K)
        parent = torch.div(candidate, self._slots, rounding_mode="floor")
        slot = candidate - parent * self._slots
        ints = _pick(ints.flatten(1, 2), candidate)
        # A boundary was written where the label begins with one.
        spaced = self._models.labels.spaced[frame.labels].gather(1, slot)
        if self._models.piece:  # labels that write nothing are said, also after a boundary
            spaced = spaced | (beam.ints[..., OPEN].gather(1, parent) == 0)
        shut = parent + self._width * spaced
        after = Beam(
            torch.where(is_filled, blanks.gather(1, chosen), self._impossible),
            torch.where(is_filled, ends_label.gather(1, chosen), self._impossible),
            ints,
            _pick(floats.flatten(1, 2), candidate),
            _pick(torch.cat([beam.shut_ints, bounded.shut_ints], dim=1), shut),
            _pick(torch.cat([beam.shut_floats, bounded.shut_floats], dim=1), shut),
        )
        return after, parent, torch.where(slot == 0, self._no_label, ints[..., LABEL])

    def finish(self, beam: Beam) -> Ends:
        """The texts of the last beam as whole utterances."""
        total = torch.logaddexp(beam.ends_blank, beam.ends_label)
        is_live = total > -math.inf
        bounded = self._bounded(beam)
        is_cut = torch.zeros_like(is_live)
        if self._settings.closed:
            is_open, place = beam.ints[..., OPEN] > 0, beam.ints[..., PLACE]
            is_unfinished = is_open & self._models.lexicon.no_word[place]
            is_cut = is_unfinished & (is_unfinished | ~is_live).all(dim=1, keepdim=True)
            is_live = is_live & (is_cut | ~is_unfinished)
        shut_ints = torch.where(is_cut[..., None], beam.shut_ints, bounded.shut_ints)
        shut_floats = torch.where(is_cut[..., None], beam.shut_floats, bounded.shut_floats)
        models = shut_floats[..., SHUT_SCORE]
        if self._models.word and self._settings.score_end:
            end = self._models.word.end(shut_ints[..., HISTORY : self._shut_said])
            models = models + self._settings.lm_weight * end
        said: Tensor | None = None
        if self._models.piece:
            said = shut_floats[..., SHUT_SAYING]
            if self._settings.score_end:
                end = self._models.piece.end(shut_ints[..., self._shut_said :])
                said = said + self._settings.piece_weight * end
        total, place = torch.where(is_live, total, -math.inf).sort(dim=1, descending=True, stable=True)
        key = torch.where(total > -math.inf, shut_ints[..., SHUT_CORE].gather(1, place), NO_KEY)
        gain = shut_floats[..., SHUT_GAIN].gather(1, place)
        models, ctc = models.gather(1, place), _sum_paths(key, total)
        if said is not None:
            together = _sum_paths(key, total + said.gather(1, place)) - ctc
            models = models + torch.where(ctc > -math.inf, together, 0.0)
        return Ends(place, ctc, models, gain, is_cut.gather(1, place))

    def _bounded(self, beam: Beam) -> _Bounded:
        """Each prefix with a boundary after it."""
        models, settings = self._models, self._settings
        place, node, is_open = (beam.ints[..., column] for column in (PLACE, NODE, OPEN))
        is_open = is_open > 0
        spelt = beam.ints[..., SPELT : self._said]
        history = beam.shut_ints[..., HISTORY : self._shut_said]
        score, spelling, gain = beam.floats[..., :BIAS].unbind(dim=2)
        space = self._zero.expand_as(place)  # number 0 among the characters
        after_spelt, log_prob = models.character.score(spelt, space)
        end = models.character.end(spelt) if settings.score_end else self._naught
        new_score, ended = score + self._char_weight * log_prob, score + self._char_weight * end
        after = history
        if models.word:
            after, word = models.word.score(history, models.lexicon.word[place])
            is_known = models.lexicon.is_known[place]
            unknown = word + settings.unknown_offset

            def closed(last: Tensor) -> Tensor:
                worth = torch.where(is_known, word, unknown + settings.spelling_weight * (spelling + last))
                return settings.lm_weight * worth

            new_score, ended = new_score + closed(log_prob), ended + closed(end)
            after = torch.where(is_open[..., None], after, history)
        if settings.has_hotwords:
            new_node, more = models.hotwords.step(node, space)
            node, gain = torch.where(is_open, new_node, node), torch.where(is_open, gain + more, gain)
        shut = torch.where(is_open, ended + settings.word_bonus, beam.shut_floats[..., SHUT_SCORE])
        shut_ints, shut_floats = [beam.ints[..., CORE, None], after], [shut, gain]
        if models.piece:
            shut_ints.append(beam.ints[..., self._said : -1])
            shut_floats.append(beam.floats[..., SAYING])
        return _Bounded(
            node,
            torch.where(is_open[..., None], after_spelt, spelt),
            torch.where(is_open, new_score + settings.word_bonus, score),
            gain,
            torch.cat(shut_ints, dim=2),
            torch.stack(shut_floats, dim=2),
        )

    def _written(self, labels: Tensor, beam: Beam, bounded: _Bounded) -> tuple[Tensor, Tensor]:
        """Each prefix with each label after it: integers and floats.

        Args:
            labels: none and the labels to try, (N, V + 1).
        Returns:
            (N, K, V + 1, ...).
        """
        models, settings, table = self._models, self._settings, self._models.labels
        spaced, lettered = table.spaced[labels][:, None], table.lettered[labels][:, None]  # (N, 1, V + 1)
        core, last, place, node, is_open = beam.ints[..., :SPELT, None].unbind(dim=2)  # (N, K, 1)
        score, spelling, gain = beam.floats[..., :BIAS, None].unbind(dim=2)
        is_open = is_open > 0
        spelt = torch.where(
            spaced[..., None], bounded.spelt[:, :, None], beam.ints[:, :, None, SPELT : self._said]
        )
        score = torch.where(spaced, bounded.score[..., None], score)
        spelling = torch.where(spaced, self._naught, spelling)
        shape = score.shape  # (N, K, V + 1)
        place = torch.where(spaced, self._zero, place)
        node = torch.where(spaced, bounded.node[..., None], node)
        gain = torch.where(spaced, bounded.gain[..., None], gain)
        # A boundary is in the text's number as soon as a letter comes after it.
        factor, boundary = table.boundary
        whole = torch.where(spaced | ~is_open, core * factor + boundary, core)
        whole = torch.where(
            lettered, whole * table.factor[labels][:, None] + table.sum[labels][:, None], core
        )
        for chars in table.letters[labels].unbind(dim=2):
            char = chars[:, None].expand(shape)
            spelt, log_prob = models.character.score(spelt, char)
            score = score + self._char_weight * log_prob
            spelling = spelling + log_prob
            if self._uses_lexicon:
                place = models.lexicon.step(place, char)
            if settings.has_hotwords:
                node, more = models.hotwords.step(node, char)
                gain = gain + more
        now_open = lettered | (is_open & ~spaced)
        estimate = self._naught + settings.word_bonus
        if models.word:
            # The open word may become the likeliest known one that begins so, or an unseen one.
            worth = settings.unknown + settings.unknown_offset + settings.spelling_weight * spelling
            worth = torch.maximum(worth, models.lexicon.best[place])
            estimate = estimate + settings.lm_weight * worth
        bias = score + torch.where(now_open, estimate, self._naught)
        if settings.has_hotwords:
            bias = bias + gain + models.hotwords.promise[node]
        new_last = torch.where(labels[:, None] == table.none, last, labels[:, None])
        ints = [whole, new_last, place, node, now_open.long()]
        columns = [torch.stack([each.expand(shape) for each in ints], dim=3), spelt]
        floats = [score, spelling, gain]
        if models.piece:
            said, row = beam.ints[:, :, None, self._said : -1], beam.ints[..., -1, None]
            said, log_prob = models.piece.score(
                said.expand(*shape, -1), table.piece[labels][:, None].expand(shape)
            )
            saying = beam.floats[..., SAYING, None] + settings.piece_weight * log_prob
            bias = bias + saying
            row = row * table.row_factor[labels][:, None] + table.code[labels][:, None]
            columns += [said, row[..., None]]
            floats += [bias, saying]
        else:
            floats.append(bias)
        return torch.cat(columns, dim=3), torch.stack(floats, dim=3)

    def _is_allowed(self, labels: Tensor, beam: Beam, ints: Tensor) -> Tensor:
        """Whether a closed vocabulary has words like those that the prefixes with their labels write."""
        lexicon, spaced = self._models.lexicon, self._models.labels.spaced[labels][:, None]
        is_unfinished = (beam.ints[..., OPEN] > 0) & lexicon.no_word[beam.ints[..., PLACE]]
        return (ints[..., PLACE] != lexicon.nowhere) & ~(spaced & is_unfinished[..., None])

    def _best(self, totals: Tensor, ranks: Tensor) -> tuple[Tensor, Tensor]:
        """Places of the candidates to keep, in their order, and which of them are there at all, (N, K).

        Of equal ones at the limit the first are kept.
        """
        lowest = ranks.amax(dim=1, keepdim=True) - self._settings.beam_threshold
        ranks = torch.where((ranks >= lowest) & (totals > -math.inf), ranks, self._impossible)
        limit = ranks.topk(self._width).values[:, -1:]
        is_above = ranks > limit
        is_tied = (ranks == limit) & (ranks > -math.inf)
        room = self._width - is_above.sum(dim=1, keepdim=True)
        is_kept = is_above | (is_tied & (is_tied.cumsum(dim=1) <= room))
        count = is_kept.cumsum(dim=1)
        place = torch.where(is_kept, count - 1, self._beyond)  # the others go where nobody looks
        chosen = place.new_zeros(len(place), self._width + 1)
        chosen = chosen.scatter(1, place, self._candidates.expand_as(place))[:, : self._width]
        return chosen, self._places < count[:, -1:]


class _Bounded(NamedTuple):
    """Prefixes with a boundary after them, (N, K, ...); columns as in `Beam`."""

    node: Tensor
    spelt: Tensor
    score: Tensor
    gain: Tensor
    shut_ints: Tensor
    shut_floats: Tensor


def _sum_paths(key: Tensor, log_prob: Tensor) -> Tensor:
    """Sum of the probabilities under each key, at the first place that has it, (N, M); elsewhere minus infinity."""
    ordered, order = key.sort(dim=1, stable=True)
    is_first = torch.nn.functional.pad(ordered[:, 1:] != ordered[:, :-1], (1, 0), value=True)
    place = (is_first * torch.arange(key.shape[1], device=key.device)).cummax(dim=1).values
    first = order.gather(1, place)
    log_prob = log_prob.gather(1, order)
    peak = torch.full_like(log_prob, -math.inf).scatter_reduce(1, first, log_prob, "amax")
    peak = peak.clamp(min=torch.finfo(peak.dtype).min)
    share = (log_prob - peak.gather(1, first)).exp()
    return torch.zeros_like(share).scatter_add(1, first, share).log() + peak


def _pick(values: Tensor, place: Tensor) -> Tensor:
    """Rows of (N, M, D) by place, (N, K) -> (N, K, D)."""
    return values.gather(1, place[..., None].expand(-1, -1, values.shape[2]))

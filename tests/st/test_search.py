"""The beam search: against every text there is, and the definition of CTC's prefix probability."""

from __future__ import annotations

import math
from itertools import count, product

import pytest
import torch
from torch import Tensor

from asr.model import Emissions
from asr.text import TextPolicy
from asr.tokenizer import character_tokenizer
from lm.errors import InputError
from st.decoder import Cache, DecoderConfig, TextDecoder
from st.model import END, Memory, TextTranslator
from st.search import TranslationSearchConfig, _PrefixScores, goes_round, translate
from st.text_encoder import TextEncoderConfig

LABELS = 5


@pytest.fixture
def model() -> TextTranslator:
    """A small untrained translator with decided opinions."""
    torch.manual_seed(0)
    tokenizer = character_tokenizer(["ab c"], TextPolicy())
    encoder = TextEncoderConfig(width=16, layers=1, heads=2, inner=16)
    model = TextTranslator(
        tokenizer, tokenizer, encoder, DecoderConfig(width=16, layers=1, heads=2, inner=16)
    )
    for parameter in model.parameters():
        parameter.data *= 3
    return model.eval()


def every_text(
    decoder: TextDecoder, memory: Memory, longest: int, power: float, *others: tuple[TextDecoder, Memory]
) -> list[tuple[float, tuple[int, ...]]]:
    """All texts with their scores by the definition, best first."""
    found = []
    for length in range(longest + 1):
        for text in product(range(1, LABELS), repeat=length):
            read, wanted = torch.tensor([[END, *text]]), torch.tensor([[*text, END]])
            steps = [
                each(read, seen.states, seen.num_frames).detach().softmax(dim=-1)
                for each, seen in ((decoder, memory), *others)
            ]
            score = float(torch.stack(steps).mean(0).log().gather(2, wanted[..., None]).sum())
            found.append((score / (length + 1) ** power, text))
    return sorted(found, reverse=True)


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_a_wide_beam_finds_the_best_text_of_all(model: TextTranslator, power: float) -> None:
    labels, num_labels = torch.tensor([[1, 2, 3], [2, 0, 0]]), torch.tensor([3, 1])
    config = TranslationSearchConfig(beam=300, length_penalty=power, max_labels=3, max_ratio=9)
    found = translate(model.decoder, model.memory(labels, num_labels), config)
    for number, hypotheses in enumerate(found):
        alone = model.memory(
            labels[number : number + 1, : num_labels[number]], num_labels[number : number + 1]
        )
        score, text = every_text(model.decoder, alone, 3, power)[0]
        assert hypotheses[0].labels == text
        assert hypotheses[0].score == pytest.approx(score, abs=1e-4)


def test_decoders_that_write_together_are_searched_by_their_mean(model: TextTranslator) -> None:
    torch.manual_seed(1)
    other = TextDecoder(LABELS, 24, DecoderConfig(width=16, layers=1, heads=2, inner=16)).eval()
    for parameter in other.parameters():
        parameter.data *= 3
    labels, num_labels = torch.tensor([[1, 2, 3], [2, 0, 0]]), torch.tensor([3, 1])
    memory = model.memory(labels, num_labels)
    seen = Memory(torch.randn(2, 6, 24), torch.tensor([0, 6]))  # nothing of the first
    config = TranslationSearchConfig(beam=300, max_labels=3, max_ratio=9)
    found = translate(model.decoder, memory, config, [(other, seen)])
    first, second = memory.apart()
    alone = every_text(model.decoder, first, 3, 1.0)[0]
    both = every_text(model.decoder, second, 3, 1.0, (other, seen.apart()[1]))[0]
    for hypotheses, (score, text) in zip(found, (alone, both), strict=True):
        assert hypotheses[0].labels == text
        assert hypotheses[0].score == pytest.approx(score, abs=1e-4)
    assert both != every_text(model.decoder, second, 3, 1.0)[0]


def test_a_decoder_with_nothing_to_look_at_has_no_say(model: TextTranslator) -> None:
    memory = model.memory(torch.tensor([[1, 2, 3]]), torch.tensor([3]))
    nothing = Memory(memory.states[:, :0], torch.tensor([0]))
    assert translate(model.decoder, nothing, None, [(model.decoder, nothing)])[0][0].labels == ()
    ((one, *_),) = translate(model.decoder, memory)
    ((same, *_),) = translate(model.decoder, nothing, None, [(model.decoder, memory)])
    assert same.labels == one.labels
    assert same.score == pytest.approx(one.score, abs=1e-5)


def test_an_utterance_is_translated_as_it_is_alone(model: TextTranslator) -> None:
    labels, num_labels = (
        torch.tensor([[1, 2, 3, 4, 1], [4, 2, 0, 0, 0], [3, 0, 0, 0, 0]]),
        torch.tensor([5, 2, 1]),
    )
    config = TranslationSearchConfig(beam=3, num_hypotheses=3, max_labels=6)
    together = translate(model.decoder, model.memory(labels, num_labels), config)
    for number in range(3):
        memory = model.memory(
            labels[number : number + 1, : num_labels[number]], num_labels[number : number + 1]
        )
        (alone,) = translate(model.decoder, memory, config)
        assert [found.labels for found in together[number]] == [found.labels for found in alone]
        assert [found.score for found in together[number]] == pytest.approx(
            [f.score for f in alone], abs=1e-4
        )


@pytest.mark.parametrize("beam", [1, 3])
@pytest.mark.parametrize("ctc_weight", [0.0, 0.4])
def test_what_is_done_takes_no_further_part(model: TextTranslator, beam: int, ctc_weight: float) -> None:
    generator = torch.Generator().manual_seed(3)
    frames = torch.tensor([4, 0, 7, 2, 5])
    states = torch.randn(5, 7, 16, generator=generator)
    emissions = torch.randn(5, 7, LABELS, generator=generator).log_softmax(dim=-1)
    memory = Memory(states, frames, None, Emissions(emissions, frames))
    config = TranslationSearchConfig(beam=beam, ctc_weight=ctc_weight, max_labels=30)
    sizes: list[int] = []
    step = model.decoder.step

    def counted(labels: Tensor, cache: Cache) -> Tensor:
        sizes.append(len(labels))
        return step(labels, cache)

    model.decoder.step = counted  # type: ignore[method-assign]
    together = translate(model.decoder, memory, config)
    assert sizes[0] == 5 * beam > sizes[1] > sizes[-1]
    for number, size in enumerate(frames.tolist()):
        row = slice(number, number + 1)
        own = Emissions(emissions[row, :size], frames[row])
        (alone,) = translate(model.decoder, Memory(states[row, :size], frames[row], None, own), config)
        assert [found.labels for found in together[number]] == [found.labels for found in alone]
        assert [found.score for found in together[number]] == pytest.approx(
            [found.score for found in alone], abs=1e-4
        )


def test_scores_are_the_forward_pass_and_fall_along_the_list(model: TextTranslator) -> None:
    memory = model.memory(torch.tensor([[1, 2, 3]]), torch.tensor([3]))
    (hypotheses,) = translate(model.decoder, memory, TranslationSearchConfig(beam=4, num_hypotheses=4))
    assert [found.score for found in hypotheses] == sorted(
        (found.score for found in hypotheses), reverse=True
    )
    assert len({found.labels for found in hypotheses}) == len(hypotheses)
    for found in hypotheses:
        read, wanted = torch.tensor([[END, *found.labels]]), torch.tensor([[*found.labels, END]])
        steps = model.decoder(read, memory.states, memory.num_frames).log_softmax(dim=-1)
        score = float(steps.detach().gather(2, wanted[..., None]).sum()) / (len(found.labels) + 1)
        assert found.score == pytest.approx(score, abs=1e-4)


def test_nothing_to_look_at_gives_the_empty_text(model: TextTranslator) -> None:
    memory = Memory(torch.zeros(2, 3, 16), torch.tensor([3, 0]))
    first, second = translate(model.decoder, memory, TranslationSearchConfig(beam=2))
    assert second[0].labels == ()
    assert len(first) == 1


def collapsed(path: tuple[int, ...]) -> tuple[int, ...]:
    kept, before = [], 0
    for label in path:
        if label not in (before, 0):
            kept.append(label)
        before = label
    return tuple(kept)


def test_prefix_scores_are_those_of_the_definition() -> None:
    emissions = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(0)).log_softmax(dim=-1)
    texts: dict[tuple[int, ...], float] = {}
    for path in product(range(3), repeat=4):
        mass = float(emissions[0, range(4), path].sum().exp())
        texts[collapsed(path)] = texts.get(collapsed(path), 0.0) + mass

    def beginning(prefix: tuple[int, ...]) -> float:
        return sum(mass for text, mass in texts.items() if text[: len(prefix)] == prefix)

    frames = torch.tensor([4])
    scores = _PrefixScores(Memory(torch.zeros(1, 4, 1), frames, None, Emissions(emissions, frames)), 1)
    prefix: tuple[int, ...] = ()
    for label in (1, 2, 1):
        steps = scores.steps(torch.zeros(1, 3))[0].exp() * beginning(prefix)
        expected = [texts.get(prefix, 0.0), *(beginning((*prefix, other)) for other in (1, 2))]
        assert steps.tolist() == pytest.approx(expected, abs=1e-7)
        scores.extend([0], [label])
        prefix = (*prefix, label)


def test_ctc_moves_the_search(model: TextTranslator) -> None:
    states = model.memory(torch.tensor([[1, 2, 3]]), torch.tensor([3]))
    wanted = torch.full((1, 3, LABELS), -9.0)
    for frame, label in enumerate((2, 1, 4)):
        wanted[0, frame, label] = 9.0
    target = Emissions(wanted.log_softmax(dim=-1), torch.tensor([3]))
    memory = Memory(states.states, states.num_frames, None, target)
    (plain,) = translate(model.decoder, memory, TranslationSearchConfig(beam=5))
    (joint,) = translate(model.decoder, memory, TranslationSearchConfig(beam=5, ctc_weight=0.9))
    assert plain[0].labels != (2, 1, 4)
    assert joint[0].labels == (2, 1, 4)


@pytest.mark.filterwarnings("error")
def test_what_ctc_cannot_write_is_last_and_has_a_score(model: TextTranslator) -> None:
    """One frame writes one label at most; a beam as wide as all texts goes on with the impossible ones."""
    states = model.memory(torch.tensor([[1]]), torch.tensor([1]))
    emissions = torch.randn(1, 1, LABELS, generator=torch.Generator().manual_seed(1)).log_softmax(dim=-1)
    memory = Memory(states.states, states.num_frames, None, Emissions(emissions, torch.tensor([1])))
    config = TranslationSearchConfig(beam=90, num_hypotheses=90, ctc_weight=0.3, max_labels=3)
    (found,) = translate(model.decoder, memory, config)
    assert sorted(each.labels for each in found[:LABELS]) == [(), *((label,) for label in range(1, LABELS))]
    assert all(math.isfinite(each.score) for each in found)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"beam": 0}, "beam 0"),
        ({"beam": 2, "num_hypotheses": 3}, "as wide as"),
        ({"ctc_weight": 1.0}, "below 1"),
        ({"max_labels": 0}, "max_labels 0"),
        ({"max_ratio": float("nan")}, "max_ratio is nan"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, float], says: str) -> None:
    with pytest.raises(InputError, match=says):
        TranslationSearchConfig(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(("source", "labels"), [(1, 47), (44, 274), (1, 29), (30, 129)])
def test_the_longest_references_fit(source: int, labels: int) -> None:
    """Of Killkan and Mboshi, read in 4,000 pieces and written in characters: by ratio, and by what exceeds it."""
    assert int(TranslationSearchConfig().limits(torch.tensor([source]))[0]) >= labels


def test_limits_grow_with_the_source_and_end() -> None:
    config = TranslationSearchConfig(max_ratio=1.5, max_labels=400)
    assert config.limits(torch.tensor([0, 1, 10, 200, 10**6])).tolist() == [0, 201, 215, 400, 400]


@pytest.mark.parametrize("beam", [1, 3])
def test_a_text_that_does_not_end_is_cut_off_and_says_so(
    model: TextTranslator, monkeypatch: pytest.MonkeyPatch, beam: int
) -> None:
    memory = model.memory(torch.tensor([[1, 2, 3], [1, 0, 0]]), torch.tensor([3, 1]))
    step = model.decoder.step

    def unending(labels: Tensor, cache: Cache) -> Tensor:
        steps = step(labels, cache)
        steps[:beam, END] = -50.0  # the first utterance's beams
        steps[beam:, 1:] = -50.0
        return steps

    monkeypatch.setattr(model.decoder, "step", unending)
    config = TranslationSearchConfig(beam=beam, max_labels=7)
    (first, *_), (second, *_) = translate(model.decoder, memory, config)
    assert (len(first.labels), first.cut) == (7, True)
    assert (second.labels, second.cut) == ((), False)


@pytest.mark.parametrize(
    ("first", "again", "times"),
    [((), (1,), 40), ((4,), (1, 2), 20), ((3, 4), (2, 2, 1), 14), ((1,), (2, 3, 1, 3, 4, 4), 8)],
)
def test_a_text_that_goes_round_is_closed_and_says_so(
    model: TextTranslator,
    monkeypatch: pytest.MonkeyPatch,
    first: tuple[int, ...],
    again: tuple[int, ...],
    times: int,
) -> None:
    memory = model.memory(torch.tensor([[1, 2, 3]]), torch.tensor([3]))
    wanted = (*first, *again * 100)
    written = count()

    def round_and_round(labels: Tensor, cache: Cache) -> Tensor:
        steps = torch.full((len(labels), LABELS), -30.0)
        steps[:, wanted[next(written)]] = -0.1
        return steps

    monkeypatch.setattr(model.decoder, "step", round_and_round)
    (best, *_), *_ = translate(model.decoder, memory, TranslationSearchConfig(beam=1))
    assert best.labels == (*first, *again * times)
    assert best.cut
    assert not goes_round(best.labels[:-1])


@pytest.mark.parametrize("beam", [1, 2, 4])
def test_poor_texts_that_close_do_not_end_the_search(
    model: TextTranslator, monkeypatch: pytest.MonkeyPatch, beam: int
) -> None:
    memory = model.memory(torch.tensor([[1, 2, 3]]), torch.tensor([3]))
    wanted = iter((1, 2, 3, 4, 2, 1, 3, 2, END))

    def sure(labels: Tensor, cache: Cache) -> Tensor:
        steps = torch.full((len(labels), LABELS), -9.0)
        steps[:, END] = -6.0  # a closing is always among the best
        steps[:, next(wanted)] = -0.01
        return steps

    monkeypatch.setattr(model.decoder, "step", sure)
    (best, *_), *_ = translate(model.decoder, memory, TranslationSearchConfig(beam=beam))
    assert best.labels == (1, 2, 3, 4, 2, 1, 3, 2)


def test_a_ctc_weight_needs_the_layer(model: TextTranslator) -> None:
    memory = model.memory(torch.tensor([[1, 2]]), torch.tensor([2]))
    with pytest.raises(InputError, match=r"no CTC layer.*st\.target_ctc_weight"):
        translate(model.decoder, memory, TranslationSearchConfig(ctc_weight=0.3))


def logits_of(values: list[float]) -> Tensor:
    return torch.tensor(values).log()


def test_prefix_scores_forbid_a_repeat_without_room() -> None:
    frames = torch.tensor([2])
    emissions = Emissions(logits_of([0.2, 0.5, 0.3, 0.1, 0.6, 0.3]).view(1, 2, 3), frames)
    scores = _PrefixScores(Memory(torch.zeros(1, 2, 1), frames, None, emissions), 1)
    scores.steps(torch.zeros(1, 3))
    scores.extend([0], [1])
    assert float(scores.steps(torch.zeros(1, 3))[0, 1]) < math.log(1e-30)

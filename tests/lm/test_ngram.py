"""The scorer: against backoff by definition, as values for a beam, and on damaged files."""

from __future__ import annotations

import math
import pickle
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies

from lm.arpa import write_arpa
from lm.binary import arpa_to_binary
from lm.errors import InputError
from lm.kneser_ney import estimate
from lm.ngram import NgramModel
from tests.lm.plain import read_plain

DATA = Path(__file__).parent / "data"
SENTENCES = [line.split() for line in (DATA / "sentences.txt").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def arpa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ngram") / "model.arpa"
    write_arpa(estimate(SENTENCES[:60], 3), path)
    return path


def test_scores_are_the_natural_logs_of_backoff_by_definition(arpa: Path) -> None:
    model, plain = NgramModel.load(arpa), read_plain(arpa)
    for sentence in [*SENTENCES[:10], *SENTENCES[100:110]]:  # seen and unseen
        tokens = ["<s>", *sentence, "</s>"]
        expected = [
            plain.log10_prob(tokens[:place], tokens[place]) * math.log(10) for place in range(1, len(tokens))
        ]
        assert model.log_probs(sentence) == pytest.approx(expected, abs=1e-5)


def test_one_token_at_a_time_gives_the_sentence(arpa: Path) -> None:
    model = NgramModel.load(arpa)
    state, total = model.start(), 0.0
    for token in SENTENCES[0]:
        before = hash(state)
        after, log_prob = model.score(state, token)
        assert hash(state) == before  # states are values
        state, total = after, total + log_prob
    assert total + model.end(state) == pytest.approx(sum(model.log_probs(SENTENCES[0])))


def test_histories_that_score_alike_have_equal_states(arpa: Path) -> None:
    model = NgramModel.load(arpa)
    words = SENTENCES[0][:2]

    def after(*tokens: str) -> object:
        state = model.start()
        for token in tokens:
            state, _ = model.score(state, token)
        return state

    # A trigram model remembers two words; an unknown word is forgotten at once.
    assert after("x", *words) == after("y", "z", *words)
    assert len({after("x", *words), after("y", "z", *words)}) == 1
    assert after("x") == after("y")
    assert after(words[0]) != after(words[1])
    assert model.start() != model.empty()


def test_unknown_tokens_score_as_unk(arpa: Path) -> None:
    model = NgramModel.load(arpa)
    assert SENTENCES[0][0] in model
    assert "nobody" not in model
    assert model.score(model.empty(), "nobody")[1] == pytest.approx(
        read_plain(arpa).log10_prob([], "<unk>") * math.log(10), abs=1e-5
    )


@pytest.mark.parametrize("form", ["model.arpa", "model.arpa.gz", "model.bin"])
def test_every_form_of_a_model_is_read(form: str, tmp_path: Path) -> None:
    model = estimate(SENTENCES[:30], 2)
    path = tmp_path / form
    if form == "model.bin":
        write_arpa(model, tmp_path / "model.arpa")
        arpa_to_binary(tmp_path / "model.arpa", path)
    else:
        write_arpa(model, path)
    loaded = NgramModel.load(path)
    assert loaded.order == 2
    assert set(loaded.vocabulary) == set(model.vocabulary)
    assert pickle.loads(pickle.dumps(loaded)).log_probs(SENTENCES[0]) == loaded.log_probs(SENTENCES[0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        (b"", "is empty"),
        (b"hello\n", "begins with 'hello'"),
        (b"\\data\\\nngram 1=2\n\n\\1-grams:\n-1\ta\n-1\tb\n\n\\end\\\n", "order 1"),
        (b"\\data\\\nngram 1=900000000000\nngram 2=1\n\n\\1-grams:\n", "ends too early"),
        (b"\\data\\\nngram 1=1\nngram 2=1\n\n\\1-grams:\n-1\tab\n\n\\2-grams:\n", "ends too early"),
        (
            b"\\data\\\nngram 1=3\nngram 2=1\n\n\\1-grams:\n-1\t<s>\n-1\t</s>\n-1\ta\t0\n\n\\2-grams:\n-1\ta zz\n",
            "'zz' is not among the unigrams",
        ),
        (b"mmap lm http://kheafield.com/code format version 5\n\0", "damaged"),
        (b"mmap lm http://kheafield.com/code format version 4\n\0" + bytes(200), "of another version than 5"),
        (b"mmap lm http://kheafield.com/code incomplete\n" + bytes(200), "damaged"),
    ],
)
def test_what_is_no_model_is_one_line_that_says_why(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "given.arpa"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as error:
        NgramModel.load(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_any_order_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lm.kneser_ney.MAX_ORDER", 20)  # another tool made it
    path = tmp_path / "long.arpa"
    write_arpa(estimate(SENTENCES[:5], 20), path)
    plain, sentence = read_plain(path), SENTENCES[0]
    tokens = ["<s>", *sentence, "</s>"]
    expected = [plain.log10_prob(tokens[:at], tokens[at]) * math.log(10) for at in range(1, len(tokens))]
    assert NgramModel.load(path).log_probs(sentence) == pytest.approx(expected, abs=1e-5)


def test_what_cannot_be_has_a_finite_score(tmp_path: Path) -> None:
    path = tmp_path / "never.arpa"
    path.write_text(
        "\\data\\\nngram 1=4\nngram 2=1\n\n\\1-grams:\n-99\t<s>\t0\n-1\t</s>\n-1\ta\t0\n-inf\tb\n\n"
        "\\2-grams:\n-inf\t<s> a\n\n\\end\\\n"
    )
    assert NgramModel.load(path).log_probs("ab")[:2] == pytest.approx([-100 * math.log(10)] * 2)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=strategies.data(), form=strategies.sampled_from(["arpa", "bin"]))
def test_a_cut_or_changed_file_loads_or_is_refused(
    data: strategies.DataObject, form: str, arpa: Path, tmp_path: Path
) -> None:
    whole = arpa.with_suffix(".bin")
    if not whole.exists():
        arpa_to_binary(arpa, whole)
    raw = bytearray((arpa if form == "arpa" else whole).read_bytes())
    near = data.draw(strategies.sampled_from([150, len(raw)]))  # headers break in more ways than bodies
    start = data.draw(strategies.integers(0, near - 1))
    cut = data.draw(strategies.sampled_from([0, 1, 5, len(raw)]))
    raw[start : start + cut] = data.draw(strategies.binary(max_size=3))
    path = tmp_path / "fuzzed"
    path.write_bytes(raw)
    with suppress(InputError):
        NgramModel.load(path)

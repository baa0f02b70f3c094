"""ARPA files, written and read."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies

from lm.arpa import read_arpa, read_counts, read_unigrams, write_arpa
from lm.errors import InputError
from lm.kneser_ney import estimate
from tests.lm.plain import read_plain

SENTENCES = [["ñuka", "rini"], ["kan", "rinki"], ["ñuka", "shamuni"], ["kan"]]
WHOLE = """\\data\\
ngram 1=4
ngram 2=2

\\1-grams:
-1.5\t<unk>
0\t<s>\t-0.3
-0.5\t</s>
-0.7\ta\t-0.2

\\2-grams:
-0.2\t<s> a
-0.4\ta </s>

\\end\\
"""


@pytest.fixture
def arpa(tmp_path: Path) -> Path:
    path = tmp_path / "toy.arpa"
    path.write_text(WHOLE, encoding="utf-8")
    return path


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    model = estimate(SENTENCES, 3)
    for name in ("model.arpa", "model.arpa.gz"):
        write_arpa(model, tmp_path / name)
        read = read_plain(tmp_path / name)
        for table, grams in zip(model.tables, read.grams, strict=True):
            assert [tuple(model.vocabulary[w] for w in words) for words in table.words] == list(grams)
            assert [prob for prob, _ in grams.values()] == pytest.approx(table.log10_prob, abs=5e-6)
            assert [backoff for _, backoff in grams.values()] == pytest.approx(table.log10_backoff, abs=5e-6)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.arpa", "model.arpa.gz"]


def test_a_file_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write_arpa(estimate(SENTENCES, 2), tmp_path / folder / "model.arpa.gz")
    one, two = (tmp_path / folder / "model.arpa.gz" for folder in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_backoff_adds_the_weight_of_each_context_that_failed(arpa: Path) -> None:
    model = read_plain(arpa)
    assert model.log10_prob(["<s>"], "a") == pytest.approx(-0.2)
    assert model.log10_prob(["<s>"], "</s>") == pytest.approx(-0.3 - 0.5)
    assert model.log10_prob(["<s>", "a"], "b") == pytest.approx(-0.2 - 1.5)  # b is <unk>
    assert model.log10_prob(["b"], "a") == pytest.approx(-0.7)  # <unk> has no backoff weight
    assert read_counts(arpa) == [4, 2]
    assert list(read_unigrams(arpa)) == ["<unk>", "<s>", "</s>", "a"]
    assert read_unigrams(arpa)["</s>"] == -0.5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\\data\\", "hello", "begins with 'hello'"),
        ("ngram 2=2", "ngram 3=2", "line 3"),
        ("ngram 2=2\n", "ngram 2=2\nnonsense\n", "line 4"),
        ("\\1-grams:", "\\2-grams:", "line 5"),
        ("ngram 1=4", "ngram 1=5", "line 11"),
        ("-0.5\t</s>", "0.5\t</s>", "line 8"),
        ("-0.5\t</s>", "-o.5\t</s>", "line 8"),
        ("-0.3", "nan", "line 7"),
        ("-0.4\ta </s>", "-0.4\t</s>", "line 13"),
        ("-0.4\ta </s>", "-0.4\tb </s>", "'b' is not among the unigrams"),
        ("-0.7\ta", "-0.7\t</s>", "'</s>' comes twice"),
        ("\\end\\\n", "", "ends too early"),
    ],
)
def test_a_damaged_file_is_one_line_that_names_the_place(
    arpa: Path, old: str, new: str, message: str
) -> None:
    assert old in WHOLE
    arpa.write_text(WHOLE.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_arpa(arpa)
    assert message in str(error.value)
    assert str(arpa) in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_files_folders_broken_gzip_and_other_encodings_are_user_errors(tmp_path: Path) -> None:
    (tmp_path / "broken.arpa.gz").write_bytes(b"\x1f\x8b\x08\x00 nothing of the kind")
    (tmp_path / "latin.arpa").write_bytes(WHOLE.replace("a", "ñ").encode("latin-1"))
    (tmp_path / "broken.arpa.bz2").write_bytes(b"BZh9 nothing of the kind")
    (tmp_path / "broken.arpa.xz").write_bytes(lzma.compress(WHOLE.encode())[:40])
    for name in ("missing.arpa", ".", "broken.arpa.gz", "latin.arpa", "broken.arpa.bz2", "broken.arpa.xz"):
        with pytest.raises(InputError):
            read_arpa(tmp_path / name)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_files_and_those_with_a_mark_of_byte_order_are_read(
    arpa: Path, compress: Callable[[bytes], bytes]
) -> None:
    arpa.write_bytes(compress(b"\xef\xbb\xbf" + WHOLE.encode()))
    assert read_counts(arpa) == [4, 2]
    assert read_plain(arpa).log10_prob(["<s>"], "a") == pytest.approx(-0.2)


def test_a_weight_of_zero_behind_the_longest_is_none(arpa: Path) -> None:
    arpa.write_text(WHOLE.replace("-0.4\ta </s>", "-0.4\ta </s>\t-0.0"), encoding="utf-8")
    assert read_plain(arpa).log10_prob(["a"], "</s>") == pytest.approx(-0.4)
    arpa.write_text(WHOLE.replace("-0.4\ta </s>", "-0.4\ta </s>\t-0.1"), encoding="utf-8")
    with pytest.raises(InputError, match="line 13"):
        read_arpa(arpa)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=strategies.data())
def test_no_damage_makes_reading_fail_in_another_way(data: strategies.DataObject, tmp_path: Path) -> None:
    raw = bytearray(WHOLE.encode())
    start = data.draw(strategies.integers(0, len(raw)))
    raw[start : start + data.draw(strategies.integers(0, 30))] = data.draw(strategies.binary(max_size=6))
    path = tmp_path / "fuzzed.arpa"
    path.write_bytes(raw)
    with suppress(InputError):
        read_plain(path).log10_prob(["<s>"], "a")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=strategies.binary(max_size=300))
def test_random_bytes_are_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "random.arpa"
    path.write_bytes(data)
    with pytest.raises(InputError):
        read_arpa(path)

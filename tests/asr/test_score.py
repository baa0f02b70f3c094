"""Error rates: by the definition, against jiwer, and at the edges."""

from __future__ import annotations

import itertools
import math
import random
import unicodedata
from functools import cache
from pathlib import Path

import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hs

import asr.edits
from asr.bootstrap import Bootstrap, Interval, paired_bootstrap, rate_interval
from asr.edits import num_errors
from asr.manifest import Utterance, write_manifest
from asr.score import (
    METRICS,
    Counts,
    edit_operations,
    error_counts,
    format_alignment,
    score_corpus,
    score_recordings,
)
from asr.score_files import (
    places_by_name,
    read_confidences,
    read_hypotheses,
    read_recordings,
    read_references,
    read_table,
    read_transcripts,
)
from asr.score_report import format_report, score_report
from asr.text import TextPolicy
from lm.errors import InputError

POLICY = TextPolicy()

TOKENS = hs.lists(hs.sampled_from("abcd"), max_size=12)
TEXTS = hs.text("abc ", max_size=30)


def fewest_errors(reference: tuple[str, ...], hypothesis: tuple[str, ...]) -> int:
    """The edit distance by its recursive definition."""

    @cache
    def distance(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        same = reference[i - 1] == hypothesis[j - 1]
        return min(
            distance(i - 1, j) + 1,
            distance(i, j - 1) + 1,
            distance(i - 1, j - 1) + (not same),
        )

    return distance(len(reference), len(hypothesis))


def replay(reference: list[str], hypothesis: list[str], operations: str) -> bool:
    """Whether the operations are true steps from the one to the other."""
    i = j = 0
    for operation in operations:
        if operation in "CS" and (reference[i] == hypothesis[j]) != (operation == "C"):
            return False
        i += operation in "CSD"
        j += operation in "CSI"
    return (i, j) == (len(reference), len(hypothesis))


@given(TOKENS, TOKENS)
def test_operations_lead_from_reference_to_hypothesis_with_the_fewest_errors(
    reference: list[str], hypothesis: list[str]
) -> None:
    operations = edit_operations(reference, hypothesis)
    assert replay(reference, hypothesis, operations)
    assert Counts.of(operations).errors == fewest_errors(tuple(reference), tuple(hypothesis))
    assert num_errors(reference, hypothesis) == Counts.of(operations).errors


@given(TOKENS, TOKENS)
def test_blocks_of_columns_change_nothing(reference: list[str], hypothesis: list[str]) -> None:
    whole = edit_operations(reference, hypothesis)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asr.edits, "_BLOCK", 3)
        assert edit_operations(reference, hypothesis) == whole
        assert num_errors(reference, hypothesis) == Counts.of(whole).errors


def test_every_short_pair_has_the_fewest_errors() -> None:
    texts = ["".join(t) for n in range(5) for t in itertools.product("ab", repeat=n)]
    for reference, hypothesis in itertools.product(texts, repeat=2):
        counts = error_counts(reference, hypothesis)
        assert counts.errors == fewest_errors(tuple(reference), tuple(hypothesis)), (reference, hypothesis)
        assert counts.length == len(reference)
        assert counts.correct + counts.substitutions + counts.insertions == len(hypothesis)


@settings(max_examples=200)
@given(hs.lists(hs.tuples(TEXTS, TEXTS), min_size=1, max_size=5))
def test_totals_are_those_of_jiwer(pairs: list[tuple[str, str]]) -> None:
    pairs = [(" ".join(r.split()), " ".join(h.split())) for r, h in pairs]
    pairs = [(r, h) for r, h in pairs if r] or [("a", "")]
    references, hypotheses = [r for r, _ in pairs], [h for _, h in pairs]
    words = jiwer.process_words(references, hypotheses)
    characters = jiwer.process_characters(references, hypotheses)
    scored = score_corpus(_numbered(references), _numbered(hypotheses), POLICY)
    for ours, theirs in ((scored.counts("wer"), words), (scored.counts("cer"), characters)):
        assert ours.errors == theirs.substitutions + theirs.deletions + theirs.insertions
        assert ours.length == theirs.substitutions + theirs.deletions + theirs.hits
    assert scored.counts("wer").rate == pytest.approx(words.wer)
    assert scored.counts("cer").rate == pytest.approx(characters.cer)


def test_a_long_text_is_scored_across_blocks() -> None:
    draw = random.Random(0)
    reference = draw.choices("abcdefgh", k=3000)
    hypothesis = [token for token in reference if draw.random() > 0.2]
    counts = error_counts(reference, hypothesis)
    # Only tokens were taken away: the fewest errors are those deletions.
    assert counts == Counts(0, len(reference) - len(hypothesis), 0, len(hypothesis))


def test_counts_of_the_classic_example() -> None:
    """kitten -> sitting: three edits (Wagner and Fischer's k/s, e/i, and g)."""
    assert error_counts("kitten", "sitting") == Counts(substitutions=2, deletions=0, insertions=1, correct=4)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "counts", "rate"),
    [
        ([], [], Counts(), 0.0),
        ([], ["a"], Counts(insertions=1), math.inf),
        (["a"], [], Counts(deletions=1), 1.0),
        (["a"], ["b", "c", "d"], Counts(substitutions=1, insertions=2), 3.0),
    ],
)
def test_rates_at_the_edges(reference: list[str], hypothesis: list[str], counts: Counts, rate: float) -> None:
    assert error_counts(reference, hypothesis) == counts
    assert counts.rate == rate


def test_the_rate_is_the_corpus_rate_and_not_the_mean() -> None:
    scored = score_corpus({"1": "a b c d", "2": "e"}, {"1": "a b c d", "2": "f"}, POLICY)
    assert scored.counts("wer").rate == pytest.approx(1 / 5)


def test_what_the_policy_wrote_is_not_replaced_again() -> None:
    policy = TextPolicy(replace={"k": "q", "c": "k"})
    texts = {"a": "Cusi kaka"}
    heard = {"a": policy("Cusi kaka")}
    assert score_corpus(texts, heard, policy, written=policy.key).counts("cer").errors == 0
    assert score_corpus(texts, heard, policy).counts("cer").errors == 1
    assert score_corpus(texts, texts, policy).counts("cer").errors == 0  # another system's


def test_the_policy_is_applied_to_both_sides_and_printed() -> None:
    phones = TextPolicy(phonemise="spa-Latn")
    texts = {"0": "hielo y joven, llave", "1": "gente guerra cena"}
    heard = {name: phones(text) for name, text in texts.items()}
    assert score_corpus(texts, heard, phones).counts("wer").errors == 0
    recordings = {name: [(name, text)] for name, text in texts.items()}
    assert score_recordings(recordings, heard, phones).counts("cer").errors == 0
    scored = score_corpus({"1": "Ñuka, SHAMUY!"}, {"1": "n\u0303uka shamuy"}, POLICY)
    assert scored.counts("cer").errors == 0
    assert POLICY.describe() in scored.signature("wer")
    kept = score_corpus({"1": "Ñuka"}, {"1": "ñuka"}, TextPolicy(case="keep"))
    assert kept.counts("wer").errors == 1
    assert "case:keep" in kept.signature("wer")


def test_spaces_count_as_characters_unless_told_otherwise() -> None:
    references, hypotheses = {"1": "a b c"}, {"1": "a bc"}
    counted = score_corpus(references, hypotheses, POLICY)
    ignored = score_corpus(references, hypotheses, POLICY, spaces=False)
    assert counted.counts("cer") == Counts(deletions=1, correct=4)
    assert ignored.counts("cer") == Counts(correct=3)
    assert "spaces:counted" in counted.signature("cer")
    assert "spaces:ignored" in ignored.signature("cer")


def test_combining_marks_are_characters_of_their_own() -> None:
    """An open e with a tone has no precomposed form: taking the tone away is one error in three."""
    scored = score_corpus({"1": "wɛ\u0301"}, {"1": "wɛ"}, POLICY)
    assert scored.counts("cer") == Counts(deletions=1, correct=2)


def test_what_is_missing_is_reported_and_never_dropped() -> None:
    references = {"1": "a b", "2": "  ", "3": "c", "4": "..."}
    scored = score_corpus(references, {"1": "a b", "4": "d"}, POLICY)
    assert scored.no_reference == ("2",)
    assert scored.missing == ("3",)
    # 4 has a reference that the policy empties: what was heard there is an insertion.
    assert scored.counts("wer") == Counts(deletions=1, insertions=1, correct=2)


def test_an_unknown_id_is_an_error_unless_it_is_to_be_ignored() -> None:
    with pytest.raises(InputError, match=r"1 of 2 hypotheses have an id .*'other'"):
        score_corpus({"1": "a"}, {"1": "a", "other": "b"}, POLICY)
    scored = score_corpus({"1": "a"}, {"1": "a", "other": "b"}, POLICY, ignore_unknown=True)
    assert scored.unknown == ("other",)
    assert scored.counts("wer") == Counts(correct=1)


@pytest.mark.parametrize("ignore_unknown", [False, True])
@pytest.mark.parametrize("hypotheses", [{"x": "a", "y": "b"}, {"blank": "a"}, {}])
def test_hypotheses_of_other_references_are_no_score(
    hypotheses: dict[str, str], ignore_unknown: bool
) -> None:
    """Whatever is to be ignored: nothing but deletions would be left."""
    texts = {"1": "a", "blank": ""}
    recordings = {"1": [("u1", "a")], "blank": [("u2", " ")]}
    said = rf"none of the {len(hypotheses)} hypotheses has an id .*; reference: '1'\. Give "
    with pytest.raises(InputError, match=said) as raised:
        score_corpus(texts, hypotheses, POLICY, ignore_unknown=ignore_unknown)
    assert "--ignore-unknown" not in str(raised.value)
    said = rf"none of the {len(hypotheses)} hypotheses has a recording's name .*; reference: '1'\. Name "
    with pytest.raises(InputError, match=said) as raised:
        score_recordings(recordings, hypotheses, POLICY, ignore_unknown=ignore_unknown)
    assert "--ignore-unknown" not in str(raised.value)


def test_nothing_to_score_is_an_error() -> None:
    for references in ({}, {"1": " "}):
        with pytest.raises(InputError, match="no text to score"):
            score_corpus(references, {}, POLICY)


def test_references_that_the_policy_empties_have_no_rate_in_the_report() -> None:
    heard = score_report(score_corpus({"1": "!"}, {"1": "a"}, POLICY))
    assert heard["all"]["wer"]["score"] is None
    assert "-" in format_report(heard)
    silent = score_report(score_corpus({"1": "!"}, {"1": ""}, POLICY))
    assert silent["all"]["wer"]["score"] == 0


def test_groups_add_up_to_the_whole() -> None:
    references = {str(n): "a b c" for n in range(6)}
    hypotheses = {str(n): "a b c"[: 2 * n] for n in range(5)}
    scored = score_corpus(references, hypotheses, POLICY)
    groups = scored.group_by({"0": "x", "1": "x", "2": "y", "5": "y"})
    assert list(groups) == ["", "x", "y"]
    assert sum((group.counts("cer") for group in groups.values()), Counts()) == scored.counts("cer")
    assert groups["y"].missing == ("5",)


def test_an_alignment_shows_words_gaps_and_edits_in_columns() -> None:
    scored = score_corpus({"u": "ari wɛ\u0301 shamuy kan"}, {"u": "ari kay wɛ shamuy"}, POLICY)
    lines = format_alignment(scored.utterances[0]).split("\n")
    assert lines == [
        "u  C 2  S 1  D 1  I 1",
        "REF: ari *** wɛ\u0301 shamuy kan",
        "HYP: ari kay wɛ shamuy ***",
        "         I   S         D",
    ]


def _numbered(texts: list[str]) -> dict[str, str]:
    return {str(number): text for number, text in enumerate(texts)}


# Intervals


def _made_errors(seed: int, size: int, rate: float) -> tuple[list[int], list[int]]:
    draw = random.Random(seed)
    lengths = [draw.randint(3, 12) for _ in range(size)]
    return [sum(draw.random() < rate for _ in range(length)) for length in lengths], lengths


def test_the_interval_of_two_units_is_that_of_all_their_draws() -> None:
    """Four draws of two units, with rates 0, 1/4, 1/4 and 1/2, a quarter each: 25 % lie in each tail."""
    interval = rate_interval([0, 2], [4, 4], resamples=2000)
    assert interval == Interval(0.0, 0.5)
    assert rate_interval([0, 2], [4, 4], resamples=2000, percent=40) == Interval(0.25, 0.25)


def test_the_interval_is_as_wide_as_the_normal_approximation_says() -> None:
    errors, lengths = [1, 0] * 200, [1] * 400
    interval = rate_interval(errors, lengths, resamples=4000)
    half = 1.96 * math.sqrt(0.25 / 400)
    assert interval.low == pytest.approx(0.5 - half, abs=0.004)
    assert interval.high == pytest.approx(0.5 + half, abs=0.004)


def test_the_interval_covers_the_true_rate_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(200):
        interval = rate_interval(*_made_errors(seed, 80, 0.3), resamples=300, seed=seed)
        covered += interval.low <= 0.3 <= interval.high
    assert 180 <= covered <= 199  # 190 expected


def test_draws_are_seeded_and_the_same_for_every_piece_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    errors, lengths = _made_errors(1, 50, 0.2)
    first = rate_interval(errors, lengths)
    assert rate_interval(errors, lengths) == first
    assert rate_interval(errors, lengths, seed=1) != first
    monkeypatch.setattr("asr.bootstrap._DRAWS", 120)
    assert rate_interval(errors, lengths) == first


@pytest.mark.parametrize(("errors", "lengths"), [([1, 2], [0, 0]), ([1], [4]), ([], [])])
def test_no_tokens_or_one_unit_give_no_interval(errors: list[int], lengths: list[int]) -> None:
    interval = rate_interval(errors, lengths)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    found = paired_bootstrap(errors, errors, lengths)
    assert (found.p_value, found.verdict) == (1.0, "")


def test_a_system_is_no_better_than_itself() -> None:
    errors, lengths = _made_errors(2, 60, 0.2)
    found = paired_bootstrap(errors, errors, lengths)
    assert (found.difference, found.interval, found.p_value, found.verdict) == (0, Interval(0, 0), 1.0, "")


def test_pairing_finds_a_small_difference_that_separate_intervals_hide() -> None:
    worse, lengths = _made_errors(3, 200, 0.4)
    better = [max(0, errors - (number % 3 == 0)) for number, errors in enumerate(worse)]
    a, b = rate_interval(better, lengths), rate_interval(worse, lengths)
    assert a.high > b.low  # the separate intervals overlap
    found = paired_bootstrap(better, worse, lengths)
    assert found.verdict == "a"
    assert found.p_value == pytest.approx(2 / 1001)
    assert paired_bootstrap(worse, better, lengths).verdict == "b"


def test_equal_systems_are_called_different_about_one_time_in_twenty() -> None:
    called = 0
    for seed in range(200):
        errors, lengths = _made_errors(seed, 60, 0.3)
        draw = random.Random(seed + 1000)
        others = [sum(draw.random() < 0.3 for _ in range(length)) for length in lengths]
        called += bool(paired_bootstrap(errors, others, lengths, resamples=300, seed=seed).verdict)
    assert 2 <= called <= 22  # 10 expected


def test_p_and_interval_agree_about_zero() -> None:
    for seed in range(30):
        errors, lengths = _made_errors(seed, 60, 0.3)
        others, _ = _made_errors(seed + 500, 60, 0.35)
        found = paired_bootstrap(errors, others, lengths, seed=seed)
        if abs(found.p_value - 0.05) > 0.005:
            assert (found.p_value < 0.05) == bool(found.verdict)


def test_drawing_speakers_widens_the_interval_when_speakers_differ() -> None:
    references = {f"{s}{n}": "a b c d" for s in "xyz" for n in range(30)}
    hypotheses = {name: "a b c d" if name[0] == "x" else "a b" for name in references}
    scored = score_corpus(references, hypotheses, POLICY)
    by_utterance = scored.interval("wer")
    by_speaker = scored.interval("wer", Bootstrap(units={name: name[0] for name in references}))
    assert by_speaker.high - by_speaker.low > 2 * (by_utterance.high - by_utterance.low)


def test_systems_with_different_references_are_not_compared() -> None:
    one, two = (score_corpus({"1": text}, {"1": text}, POLICY) for text in "ab")
    with pytest.raises(InputError, match="different references"):
        one.compare(two, "wer")


# Whole recordings


def test_a_recording_is_aligned_wherever_it_was_cut() -> None:
    references = {"talk": [("u1", "ari ari kan"), ("u2", "kayman shamuy")]}
    scored = score_recordings(references, {"talk": "ari ari\nkan kayman\nna shamuy"}, POLICY)
    assert scored.counts("wer") == Counts(insertions=1, correct=5)
    assert [utterance.hypothesis for utterance in scored.utterances] == ["ari ari kan", "kayman na shamuy"]
    assert scored.counts("cer").length == len("ari ari kan kayman shamuy")


@given(hs.lists(hs.text("ab ", max_size=12), min_size=1, max_size=5), hs.text("ab ", max_size=40))
def test_dealing_out_changes_no_total(parts: list[str], heard: str) -> None:
    parts = [part for part in parts if part.strip()] or ["a"]
    scored = score_recordings({"r": list(_numbered(parts).items())}, {"r": heard}, POLICY)
    said = " ".join(" ".join(parts).split())
    heard = " ".join(heard.split())
    assert scored.counts("wer") == error_counts(said.split(), heard.split())
    assert scored.counts("cer") == error_counts(said, heard)
    assert " ".join(u.hypothesis for u in scored.utterances if u.hypothesis) == heard


def test_a_recording_without_a_transcript_is_all_deletions() -> None:
    references = {"a": [("u1", "x y")], "b": [("u2", "z"), ("u3", "")]}
    scored = score_recordings(references, {"a": "x y"}, POLICY)
    assert scored.missing == ("b",)
    assert scored.no_reference == ("u3",)
    assert scored.counts("wer") == Counts(deletions=1, correct=2)
    with pytest.raises(
        InputError, match=r"1 of 2 hypotheses have a recording's name .* 'c'; it has 'a', 'b'"
    ):
        score_recordings(references, {"a": "x", "c": "x"}, POLICY)
    assert score_recordings(references, {"a": "x", "c": "x"}, POLICY, ignore_unknown=True).unknown == ("c",)


def test_a_recording_without_any_text_is_left_out() -> None:
    references = {"a": [("u1", "x y"), ("u2", "")], "b": [("u3", "")], "c": [("u4", " ")]}
    scored = score_recordings(references, {"a": "x y z", "b": "v w"}, POLICY)
    assert scored.counts("wer") == Counts(correct=2, insertions=1)
    assert scored.no_reference == ("u2", "u3", "u4")
    assert scored.inserted == ("u2",)
    assert scored.missing == ()


def test_the_signature_tells_what_was_aligned() -> None:
    texts = {"u1": "one two three", "u2": "four five"}
    heard = {"u1": "one two", "u2": "three four five"}
    apart = score_corpus(texts, heard, POLICY)
    whole = score_recordings({"r": list(texts.items())}, {"r": " ".join(heard.values())}, POLICY)
    assert (apart.counts("wer").errors, whole.counts("wer").errors) == (2, 0)
    for metric in METRICS:
        assert "aligned" not in apart.signature(metric)
        assert "|aligned:recording|version:" in whole.signature(metric)
        assert whole.group_by({"u1": "x"})["x"].signature(metric) == whole.signature(metric)


def test_a_recording_whose_references_are_all_emptied_keeps_the_insertions() -> None:
    scored = score_recordings({"r": [("u1", "!"), ("u2", "?")]}, {"r": "a b"}, POLICY)
    assert scored.counts("wer") == Counts(insertions=2)


# Files

MANIFEST = (
    "id\taudio\toffset_s\tduration_s\ttext\tspeaker\tsplit\trecording\n"
    "u2\ta.wav\t0\t1\tari kan\tx\ttest\ttalk@4.5-5.5\n"
    "u1\ta.wav\t0\t1\tkayman\ty\ttest\ttalk@1-2\n"
    "u3\tb.wav\t3\t1\t\ty\tdev\t\n"
)


@pytest.mark.parametrize(
    "text",
    [
        "id\ttext\tscore\nu1\ta b\t-1\nu2\t\t-2\n",
        "text\tid\na b\tu1\n\tu2\n",
        "u1\ta b\r\nu2\t\r\n",
        "\ufeffa b (u1)\n;; a comment\n(u2)\n",
        "u1 a b\nu2\n",
    ],
)
def test_every_form_of_text_is_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "hyp.txt"
    path.write_text(text, encoding="utf-8")
    assert read_table(path) == {"u1": "a b", "u2": ""}


def test_ids_and_columns_are_compared_by_letter(tmp_path: Path) -> None:
    apart, together = (unicodedata.normalize(form, "hội_1") for form in ("NFD", "NFC"))
    (tmp_path / "hyp.txt").write_text(f"{apart} a\n", encoding="utf-8")
    (tmp_path / f"{apart}.txt").write_text("a", encoding="utf-8")
    (tmp_path / "conf.tsv").write_text(f"id\tword_confidences\n{apart}\t0.5\n", encoding="utf-8")
    assert (
        read_table(tmp_path / "hyp.txt") == read_transcripts([tmp_path / f"{apart}.txt"]) == {together: "a"}
    )
    assert read_confidences([tmp_path / "conf.tsv"]) == {together: [0.5]}
    assert read_transcripts([tmp_path / f"{apart}.txt"], recordings=[apart]) == {apart: "a"}
    row = Utterance(id=apart, audio=Path("a.wav"), duration_s=1.0, text="a", extra={apart: "x"})
    write_manifest([row], tmp_path / "manifest.tsv")
    references = read_references(tmp_path / "manifest.tsv")
    assert (references.texts, references.labels(together)) == ({together: "a"}, {together: "x"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("u1 a\nu1 b\n", "line 2: the id 'u1' occurs twice"),
        ("u1\ta\n\tb\n", "line 2: no id"),
        ("start\tend\ttext\n0\t1\ta\n", "has no columns id and text"),
        ("id\tscore\nu1\t3\n", "has no columns id and text"),
        ("id\tscore\ttext\nu1\n", "line 2: 'u1' has no text column"),
    ],
)
def test_a_bad_text_is_named_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "hyp.tsv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        read_table(path)


def test_a_manifest_gives_texts_and_labels(tmp_path: Path) -> None:
    path = tmp_path / "manifest.tsv"
    path.write_text(MANIFEST, encoding="utf-8")
    references = read_references(path, split="test")
    assert references.texts == {"u2": "ari kan", "u1": "kayman"}
    assert references.labels("speaker") == {"u2": "x", "u1": "y"}
    assert references.labels("recording") == {"u2": "talk", "u1": "talk"}
    with pytest.raises(InputError, match="no column 'dialect'"):
        references.labels("dialect")


@pytest.mark.parametrize("name", ["talk.eaf", "talk.json", "talk.TextGrid", "talk.srt"])
def test_a_transcript_of_one_recording_is_no_table(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("u1 a\nu2 b\n", encoding="utf-8")
    with pytest.raises(InputError, match=f"{name} is the transcript of one recording. Add --recording-level"):
        read_references(path)


def test_recordings_of_a_manifest_are_in_order_of_time(tmp_path: Path) -> None:
    path = tmp_path / "manifest.tsv"
    path.write_text(MANIFEST, encoding="utf-8")
    assert read_recordings(path) == {"talk": [("u1", "kayman"), ("u2", "ari kan")], "b": [("u3", "")]}


def test_the_place_in_a_recording_comes_from_the_column_or_the_audio() -> None:
    row = Utterance(id="u", audio=Path("x/talk.wav"), offset_s=2.5, duration_s=1)
    assert places_by_name([row]) == [("talk", 2.5)]
    for column, place in (("ch1@3.100-6.4", ("ch1", 3.1)), ("a@b", ("a@b", 2.5)), ("ch2", ("ch2", 2.5))):
        cut = Utterance(id="u", audio=Path("u.wav"), offset_s=2.5, duration_s=1, extra={"recording": column})
        assert places_by_name([cut]) == [place]


@pytest.mark.parametrize(
    ("audios", "names"),
    [
        (["c/day1/talk.wav", "c/day2/talk.wav", "c/day1/b.wav"], ["day1/talk", "day2/talk", "b"]),
        (["/c/talk.wav", "/c/day2/talk.wav"], ["talk", "day2/talk"]),
        (["c/talk.wav", "c/talk.mp3", "d/talk.wav"], ["c/talk.wav", "c/talk.mp3", "d/talk"]),
    ],
)
def test_recordings_of_one_name_are_told_apart_by_their_folders(audios: list[str], names: list[str]) -> None:
    rows = [Utterance(id=audio, audio=Path(audio), duration_s=1) for audio in audios]
    assert [name for name, _ in places_by_name(rows)] == names


def test_transcripts_are_named_after_what_they_transcribe(tmp_path: Path) -> None:
    for name, text in (("u1", "ari\nkan\n"), ("u2", "kayman\n")):
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
    expected = {"u1": "ari\nkan", "u2": "kayman"}
    assert read_hypotheses([tmp_path]) == expected
    assert read_hypotheses(sorted(tmp_path.glob("*.txt"))) == expected
    tables = [tmp_path / "a.tsv", tmp_path / "b.tsv"]
    for table in tables:
        table.write_text("id\ttext\nu1\tari kan\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"a.tsv is a table .* 2 files are given. Score one at a time"):
        read_hypotheses(tables)
    with pytest.raises(InputError, match="a second transcript of 'u1'"):
        read_hypotheses([tmp_path, tmp_path / "u1.txt"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no transcript"):
        read_hypotheses([tmp_path / "empty"])


def test_transcripts_in_subfolders_are_found_and_are_of_the_form_that_lies_nearest(tmp_path: Path) -> None:
    for name in ("u1.txt", "morning/u2.txt", "morning/u3.srt", "model/loquela.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("ari\n", encoding="utf-8")
    assert read_hypotheses([tmp_path]) == {"u1": "ari", "u2": "ari"}
    (tmp_path / "u1.txt").unlink()
    (tmp_path / "model" / "loquela.json").unlink()
    (tmp_path / "morning" / "u3.srt").unlink()
    assert read_hypotheses([tmp_path]) == {"u2": "ari"}


EAF = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" DATE="2024-01-01T00:00:00+00:00" FORMAT="3.0" VERSION="3.0">
<HEADER TIME_UNITS="milliseconds"/>
<TIME_ORDER>
<TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="0"/><TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="900"/>
<TIME_SLOT TIME_SLOT_ID="ts3" TIME_VALUE="1000"/><TIME_SLOT TIME_SLOT_ID="ts4" TIME_VALUE="2000"/>
</TIME_ORDER>
<TIER LINGUISTIC_TYPE_REF="t" TIER_ID="A"><ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1"
 TIME_SLOT_REF1="ts3" TIME_SLOT_REF2="ts4"><ANNOTATION_VALUE>second</ANNOTATION_VALUE>
</ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
<TIER LINGUISTIC_TYPE_REF="t" TIER_ID="B"><ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a2"
 TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2"><ANNOTATION_VALUE>first</ANNOTATION_VALUE>
</ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
<LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="t" TIME_ALIGNABLE="true"/>
</ANNOTATION_DOCUMENT>
"""


def test_tiers_are_merged_in_order_of_time_and_must_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "talk.eaf"
    path.write_text(EAF, encoding="utf-8")
    texts = [text for _, text in read_recordings(path, tiers=["A", "B"])["talk"]]
    assert texts == ["first", "second"]
    assert [text for _, text in read_recordings(path, tiers=["A"])["talk"]] == ["second"]
    with pytest.raises(InputError, match="2 tiers that may be the transcript"):
        read_recordings(path)
    with pytest.raises(InputError, match="no tier 'C'"):
        read_recordings(path, tiers=["C"])
    with pytest.raises(InputError, match="no split 'test'"):
        read_recordings(path, split="test")

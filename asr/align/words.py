"""The words of a corpus in time: each utterance's text aligned to its own audio."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from asr.align.search import BLANK, SearchConfig
from asr.align.texts import Columns, line_of
from asr.decode.confidence import acoustic_confidences
from asr.decode.times import align_labels, word_frames
from asr.emissions import utterance_emissions
from asr.manifest import Utterance
from asr.model import CTCModel
from asr.transcript import TranscriptSegment, Word
from lm.errors import InputError


def words_in_time(
    model: CTCModel, rows: Sequence[Utterance]
) -> Iterator[tuple[Utterance, list[Word] | InputError]]:
    """Each utterance that has a text with its words, in seconds of its recording; or why it gives none.

    The words are those of the text as it is written; punctuation that stands alone is none. One of which the model
    writes no letter, as a number, has a place of its own all the same, and confidence 0.

    Yields:
        in batches of like lengths, not in the order of the rows.
    """
    tokenizer, grid = model.tokenizer, model.grid
    told = [row for row in rows if row.text.strip()]
    for row, emissions in utterance_emissions(model, told):
        if isinstance(emissions, InputError):
            yield row, emissions
            continue
        end = row.offset_s + row.duration_s
        line = line_of(TranscriptSegment(start=row.offset_s, end=end, text=row.text), tokenizer)
        if not line.findable:
            yield (
                row,
                InputError(
                    f"{row.id}: the model writes no letter of its text {row.text[:40]!r}. "
                    "Give a model of this language and script, or leave the row out."
                ),
            )
            continue
        columns = Columns(tokenizer, [line], SearchConfig().star_cost)
        labels, taken = columns.of(line.labels).tolist(), columns.take(emissions)
        try:
            frames = align_labels(taken, labels, BLANK)
        except ValueError:
            yield (
                row,
                InputError(
                    f"{row.id}: its text has more letters than its {row.duration_s:g} s have frames. "
                    "Run `loquela corpus check`."
                ),
            )
            continue
        spans = word_frames(line.words, frames, len(taken))
        sure = acoustic_confidences(taken, labels, frames, line.words, columns.surfaces)
        yield (
            row,
            [
                Word(
                    text=text,
                    start=min(row.offset_s + grid.start_s(first), end),
                    end=min(row.offset_s + grid.start_s(last), end),
                    confidence=confidence if written else 0.0,
                )
                for (text, _, _), (first, last), confidence, written in zip(
                    line.words, spans, sure, line.written, strict=True
                )
            ],
        )

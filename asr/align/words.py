"""The words of a corpus in time: each utterance's text aligned to its own audio."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from asr.decode.confidence import acoustic_confidences
from asr.decode.times import align_labels, word_frames, words_of_labels
from asr.emissions import utterance_emissions
from asr.manifest import Utterance
from asr.model import CTCModel
from asr.transcript import Word
from lm.errors import InputError


def words_in_time(
    model: CTCModel, rows: Sequence[Utterance], *, batch_s: float = 0.0
) -> Iterator[tuple[Utterance, list[Word] | InputError]]:
    """Each utterance that has a text with its words, in seconds of its recording; or why it gives none.

    Args:
        batch_s: as for `asr.emissions.encoded_utterances`.
    Yields:
        in batches of like lengths, not in the order of the rows.
    """
    tokenizer, grid = model.tokenizer, model.grid
    for row, emissions in utterance_emissions(model, [row for row in rows if row.text], batch_s=batch_s):
        if isinstance(emissions, InputError):
            yield row, emissions
            continue
        labels = tokenizer.encode(row.text)
        try:
            frames = align_labels(emissions, labels, tokenizer.blank)
        except ValueError:
            yield (
                row,
                InputError(
                    f"{row.id}: its text has more letters than its {row.duration_s:g} s have frames. "
                    "Run `loquela corpus check`."
                ),
            )
            continue
        words = words_of_labels(labels, tokenizer.surfaces)
        spans = word_frames(words, frames, len(emissions))
        sure = acoustic_confidences(emissions, labels, frames, words, tokenizer.surfaces)
        end = row.offset_s + row.duration_s
        yield (
            row,
            [
                Word(
                    text=text,
                    start=min(row.offset_s + grid.start_s(first), end),
                    end=min(row.offset_s + grid.start_s(last), end),
                    confidence=confidence,
                )
                for (text, _, _), (first, last), confidence in zip(words, spans, sure, strict=True)
            ],
        )

"""How well a translator does on dev while it is trained."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from asr.manifest import Utterance
from asr.mixing import GroupLosses
from st.loss import smoothed_cross_entropy
from st.model import Memory, TranslationModel
from st.score import bleu, chrf, one_line
from st.search import TranslationSearchConfig, translate


class DevScores:
    """Greedy translations and losses, batch after batch."""

    def __init__(self, model: TranslationModel, dev: Sequence[Utterance], levels: Sequence[str] = ()) -> None:
        """
        Args:
            levels: columns whose groups have losses of their own.
        """
        self.model = model
        self.dev = dev
        self.losses = GroupLosses(dev, levels)
        self.found: dict[str, str] = {}
        # What never ends, as of a model that has learned little, need not be written out. One limit for all, so that
        # no translation, and no choice of a checkpoint, depends on the batches.
        longest = max(len(model.tokenizer.encode(each.translation)) + 1 for each in dev)
        self.search = TranslationSearchConfig(beam=1, max_labels=2 * longest)

    def add(
        self, ids: Sequence[str], memory: Memory, read: Tensor, wanted: Tensor, num_wanted: Tensor
    ) -> None:
        """Translate a batch; the labels are those of `framed`."""
        device = memory.states.device
        wanted, num_wanted = wanted.to(device), num_wanted.to(device)
        logits = self.model.decoder(read.to(device), memory.states, memory.num_frames)
        losses = smoothed_cross_entropy(logits, wanted, num_wanted, 0.0)
        self.losses.add(ids, losses.tolist(), num_wanted.tolist())
        hypotheses = translate(self.model.decoder, memory, self.search)
        for name, texts in zip(ids, hypotheses, strict=True):
            self.found[name] = self.model.tokenizer.decode(texts[0].labels)

    def row(self) -> dict[str, float]:
        """The evaluation; chrF is selected on, because BLEU of few sentences jumps."""
        hypotheses = [one_line(self.found[each.id]) for each in self.dev]
        references = [one_line(each.translation) for each in self.dev]
        found, loss = chrf(hypotheses, references), self.losses.per_label()
        return {
            # As long as a model writes nothing right, what it has learned shows in its loss alone.
            "score": 1 - found / 100 if found else 1 + loss,
            "chrf": found,
            "bleu": bleu(hypotheses, references),
            "loss": loss,
        }

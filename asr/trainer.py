"""One training loop for every task: updates, evaluation, checkpoints, and a resume that changes nothing."""

from __future__ import annotations

import copy
import json
import math
import os
import signal
import sys
import threading
import time
import zlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, broadcast_object_list, set_seed
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from tqdm import tqdm

from asr.batches import prefetch
from asr.card import own_folder
from asr.checkpoint import checkpoint_of, put_back, remove_checkpoint, save_checkpoint
from asr.encoder.padding import share_statistics
from asr.fingerprint import BATCH_SIZES
from asr.frames import samples_to_seconds
from asr.memory import is_lack_of_memory
from asr.optimizers import bfloat16_is_fast, build_optimizers, learning_rate
from asr.resume import find_checkpoint, load_optimizers, optimizer_tensors
from asr.sharding import divided_state, local, shard, whole
from asr.task import Adaptive, Task
from asr.trainer_config import TrainerConfig
from asr.watchdog import alarmed, look_after
from lm.errors import InputError

# oneDNN, which computes bfloat16 on a CPU, keeps a compiled kernel for each of the last thousand shapes. No two
# batches have one shape, so that gigabytes are held for nothing; a batch has some fifty, which its layers share.
# Read at oneDNN's first product.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")


STATE = (
    *("update", "epoch", "batch", "audio_s", "seconds"),
    *("best", "best_update", "begun", "history", "sound"),
)
"""What a checkpoint says of a trainer."""


def batch_seed(seed: int, epoch: int, number: int) -> int:
    """Seed of whatever torch draws for one batch: dropout, masks, negatives."""
    return int(np.random.SeedSequence([seed, epoch, number]).generate_state(1, np.uint64)[0] >> 1)


class Trainer:
    """Trains a task in an experiment folder, from the last whole checkpoint where there is one.

    An update takes ``accumulate`` batches of each process (``accelerate launch`` starts several).
    Whatever is drawn at random for a batch follows from the seed, the epoch and the batch's number:
    a resumed run repeats exactly, and two processes do what one does with twice the ``accumulate``.
    """

    def __init__(
        self,
        task: Task[Any],
        config: TrainerConfig,
        exp: Path,
        beginning: Mapping[str, Any] | None = None,
        usual: Mapping[str, Any] | None = None,
    ) -> None:
        """
        Args:
            beginning: settings that say what the model was made of, JSON values; as `Task.fingerprint`.
            usual: what settings are where nothing is said, by the names of both.
        Raises:
            InputError: ``exp`` holds checkpoints of another training, or none that is whole.
        """
        self.beginning = beginning or {}
        self.usual = usual or {}
        if config.threads:
            torch.set_num_threads(config.threads)
        self.task = task
        self.config = config
        self.exp = exp
        self.checkpoints = exp / "checkpoints"
        # Layers are dropped at random and heads may be frozen, so not every update reaches every parameter.
        reach = DistributedDataParallelKwargs(find_unused_parameters=True)
        self.accelerator = Accelerator(mixed_precision="no", kwargs_handlers=[reach])
        self.device = self.accelerator.device
        bfloat16 = config.precision == "bfloat16" or (
            config.precision == "auto" and bfloat16_is_fast(self.device)
        )
        self.precision = torch.bfloat16 if bfloat16 else torch.float32
        set_seed(config.seed)
        self.unsharded: nn.Module | None = None
        """A copy in the main memory of the first process, to save a divided model from."""
        if config.shard:
            if self.accelerator.is_main_process:
                self.unsharded = copy.deepcopy(task.model).cpu()
            shard(task.model, self.accelerator.num_processes, self.device)
            self.model = task.model
            self.optimizers = build_optimizers(task, config, self.precision)
        else:
            self.model, *self.optimizers = self.accelerator.prepare(
                task.model, *build_optimizers(task, config, self.precision)
            )
        self.ema = {name: value.detach().clone().float() for name, value in self._weights().items()}
        self.update = 0
        self.epoch = 0
        self.batch = 0
        """Batches of this epoch that are done, by all processes."""
        self.audio_s = 0.0
        self.seconds = 0.0
        self.best = math.inf
        self.best_update = 0
        self.history: list[dict[str, float]] = []
        self.begun = 0
        """Update after which the scores are comparable: of this dev set and this loss."""
        self.kept: list[Path] = []
        """Checkpoints that are known to be whole, oldest first."""
        self.sound = 0
        """Update of the last evaluation within the bounds of the watches; its checkpoint is kept."""
        self.saved = 0
        """Update of the last checkpoint."""
        self.stopping = False
        self._resume()

    def run(self) -> dict[str, float]:
        """Train to the end; returns the best evaluation."""
        if (processes := self.accelerator.num_processes) > 1:
            self._say(
                f"{processes} processes; an update takes {processes * self.config.accumulate} batches, "
                f"{self.config.accumulate} of each"
            )
        writer = self._tensorboard()
        bar = tqdm(
            total=self.config.updates,
            initial=self.update,
            unit="update",
            dynamic_ncols=True,
            mininterval=2,
            disable=not self.accelerator.is_main_process,
        )
        started, seconds_before = time.monotonic(), self.seconds
        audio_before = self.audio_s
        waited: dict[str, float] = {}
        handlers = self._catch_signals()
        self.model.train()  # as after each evaluation, whatever mode its parts came in
        try:
            if self._evaluation_left():
                self._evaluate(bar, writer)
            while self.update < self.config.updates and not self._stalled():
                epoch = self.epoch
                updates = self._updates()
                for items, batches in updates:
                    self._step(batches, waited)
                    self.audio_s += self.task.seen(items)
                    self.seconds = seconds_before + time.monotonic() - started
                    speed = (self.audio_s - audio_before) / max(1e-9, time.monotonic() - started)
                    bar.update()
                    bar.set_postfix_str(
                        f"loss {waited['loss']:.3f}, epoch {self.epoch}, {speed:.0f} h audio/h"
                    )
                    if writer and self.update % 20 == 0:
                        for name, value in waited.items():
                            writer.add_scalar(f"train/{name}", value, self.update)
                    if self._due():
                        self._evaluate(bar, writer)
                    if self._asked_to_stop():
                        self._save()
                        raise KeyboardInterrupt(f"update {self.saved} is saved")
                    if self.update >= self.config.updates or self._stalled() or self.epoch != epoch:
                        break
                else:
                    self.epoch, self.batch = self.epoch + 1, 0
                updates.close()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            bar.close()
            if writer:
                writer.close()
        if not self.best_update:
            since = f" since update {self.begun}" if self.begun else ""
            raise InputError(
                f"{self.exp / 'model'} was not written: in every evaluation{since} the score was no number, or the "
                "model was out of bounds (see the warnings). Begin anew in another exp, as these advise or with less "
                "trainer.lr."
            )
        return next(row for row in self.history if row["update"] == self.best_update)

    def _catch_signals(self) -> dict[signal.Signals, Any]:
        """Finish the update and save when asked to stop; stop at once when asked again."""

        def stop(number: int, frame: object) -> None:
            # A terminal that closes says so twice, itself and by its shell.
            if self.stopping and number != signal.SIGHUP:
                raise KeyboardInterrupt(f"what came after update {self.saved} is lost")
            if not self.stopping and self.accelerator.is_main_process:
                said = (
                    "stopping after this update, which is saved; again to stop at once and lose what came after "
                    f"update {self.saved}"
                )
                # Past Python's own buffer, which may be in the middle of a write; a closed terminal takes none.
                with suppress(OSError):
                    os.write(sys.stderr.fileno(), f"\n{said}\n".encode())
            self.stopping = True

        if threading.current_thread() is not threading.main_thread():
            return {}
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup leaves it
            numbers.append(signal.SIGHUP)
        return {number: signal.signal(number, stop) for number in numbers}

    def _asked_to_stop(self) -> bool:
        """Whether any process was asked to: all must stop after the same update."""
        return self._anywhere(self.stopping)

    def _anywhere(self, own: bool) -> bool:
        """Whether it is so in any process; all must ask."""
        if self.accelerator.num_processes == 1:
            return own
        total: Tensor = self.accelerator.reduce(torch.tensor(int(own), device=self.device), reduction="sum")
        return bool(total)

    def _due(self) -> bool:
        """Whether an evaluation follows this update."""
        if not self.update:
            return False
        return self.update % self.config.evaluate_every == 0 or self.update == self.config.updates

    def _evaluation_left(self) -> bool:
        """Whether this update was not evaluated as it was due, for which the last run had too little memory."""
        return self._due() and all(row["update"] != self.update for row in self.history)

    @property
    def unfinished(self) -> bool:
        """Whether a run has anything left to do."""
        return self.update < self.config.updates or self._evaluation_left()

    def _updates(self) -> Generator[tuple[Sequence[Any], list[tuple[int, Any]]]]:
        """For each update that is left of the epoch: what all processes take, and this one's numbered batches.

        What is left of an epoch after its last whole update is left out; the next epoch is in another order.
        """
        plan = self.task.plan(self.epoch)
        processes, rank = self.accelerator.num_processes, self.accelerator.process_index
        together = processes * self.config.accumulate
        if len(plan) < together:
            raise InputError(
                f"an epoch has {len(plan)} batches, and an update takes {together} (trainer.accumulate times "
                f"{processes} processes). Make batches shorter, or lower trainer.accumulate."
            )
        firsts = range(self.batch, len(plan) - together + 1, together)
        numbers = [number for first in firsts for number in range(first + rank, first + together, processes)]
        epoch = self.epoch
        loaded = prefetch(
            iter(numbers),
            lambda number: (number, self.task.load(epoch, plan[number])),
            threads=self.config.loader_threads,
        )
        try:
            for first in firsts:
                yield plan[first : first + together], list(islice(loaded, self.config.accumulate))
        finally:
            loaded.close()  # type: ignore[attr-defined]

    def _step(self, batches: Sequence[tuple[int, Any]], waited: dict[str, float]) -> None:
        """One update."""
        config = self.config
        rate = learning_rate(config, self.update)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
        logs: list[dict[str, float]] = []
        for place, (number, batch) in enumerate(batches, start=1):
            torch.manual_seed(batch_seed(config.seed, self.epoch, number))
            last = place == len(batches)
            if isinstance(self.model, FSDPModule):
                self.model.set_requires_gradient_sync(last)
            synced = nullcontext() if last else self.accelerator.no_sync(self.model)
            with self._enough_memory(batch), synced:
                with torch.autocast(
                    self.device.type, dtype=torch.bfloat16, enabled=self.precision == torch.bfloat16
                ):
                    out = self.task.step(self.model, batch, self.update / config.updates)
                if not bool(torch.isfinite(out.loss)):
                    raise InputError(
                        f"update {self.update}: the loss is {float(out.loss.detach())} "
                        f"on the utterances {', '.join(batch.ids)}. {self.task.explain(batch)}"
                    )
                self.accelerator.backward(out.loss / len(batches))
            share_statistics(self.model)
            logs.append({"loss": float(out.loss.detach()), **out.logs})
        if self.update < config.freeze_updates:
            heads = {id(parameter) for parameter in self.task.head_parameters()}
            for parameter in self.model.parameters():
                if id(parameter) not in heads:
                    parameter.grad = None
        norm = whole(self.accelerator.clip_grad_norm_(self.model.parameters(), config.clip_norm or math.inf))
        if not math.isfinite(float(norm)):
            names = ", ".join(name for _, batch in batches for name in batch.ids)
            raise InputError(
                f"update {self.update}: the gradient is {float(norm)} on the utterances {names}. "
                "Lower trainer.lr or set trainer.precision=float32."
            )
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        waited |= {name: sum(row[name] for row in logs) / len(logs) for name in logs[-1]}
        waited |= {"lr": rate, "grad_norm": float(norm)}
        self.batch += len(batches) * self.accelerator.num_processes
        self.update += 1
        self._average()

    @contextmanager
    def _enough_memory(self, batch: Any) -> Iterator[None]:
        """Say of a batch that is too much for the memory what makes it less."""
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not is_lack_of_memory(error):
                raise
            heard: Tensor | None = getattr(batch, "waveforms", None)  # of texts there are none
            size = "" if heard is None else f" ({samples_to_seconds(heard.numel()):.0f} s with padding)"
            raise InputError(
                f"update {self.update}: out of memory on the utterances {', '.join(batch.ids)}{size}. "
                f"Lower {self._batch_size('their size')} and raise trainer.accumulate."
            ) from error

    def _batch_size(self, otherwise: str) -> str:
        """The setting that says how much a batch holds."""
        fingerprint = self.task.fingerprint()
        return next((name for group, name in BATCH_SIZES.items() if group in fingerprint), otherwise)

    @torch.no_grad()
    def _average(self) -> None:
        if not self.config.ema_decay:
            return
        # The average follows closely at first, so that it is never dominated by the initial weights.
        decay = min(self.config.ema_decay, (1 + self.update) / (10 + self.update))
        weights = self._weights()
        floats = [name for name in self.ema if weights[name].is_floating_point()]
        torch._foreach_lerp_(
            [local(self.ema[name]) for name in floats],
            [local(weights[name]).float() for name in floats],
            1 - decay,
        )

    def _evaluate(self, bar: Any, writer: Any) -> None:
        model = self.accelerator.unwrap_model(self.model)
        own = {name: value.detach().clone() for name, value in model.state_dict().items()}
        if self.config.ema_decay:
            model.load_state_dict({name: self.ema[name].to(value.dtype) for name, value in own.items()})
        model.eval()
        if isinstance(model, FSDPModule):
            model.unshard()  # a task may call parts of it alone, which do not gather it
        scores = self._scores(model)
        if isinstance(model, FSDPModule):
            model.reshard()
        if self._anywhere(scores is None):
            model.load_state_dict(own)
            model.train()
            self._save()
            raise InputError(
                f"{self._lack_on_dev()} Update {self.update} is saved: run again, it goes on there."
            )
        assert scores is not None
        row = {"update": self.update, "epoch": self.epoch, "hours": self.seconds / 3600, **scores}
        if self.accelerator.num_processes > 1:
            # Of two GPUs each may round in its own way, and what is decided by it must be one thing.
            said = [row, self.task.state()]
            row, state = broadcast_object_list(said)
            self.task.load_state(state)
        self.history.append(row)
        # The score of a model that collapses may fall: codes that are all alike are easily told.
        sound = not alarmed(self.task.watches(), self.history)
        if sound:
            self.sound = self.update
        if sound and row["score"] < self.best:
            self.best, self.best_update = row["score"], self.update
            if self.config.shard:
                weights = self._gathered(model.state_dict())
                if self.unsharded is not None:
                    self.unsharded.load_state_dict(weights)
                    model = self.unsharded
            if self.accelerator.is_main_process:
                facts = {"trained": {**row, "audio_hours": self.audio_s / 3600, "seed": self.config.seed}}
                self.task.save(model, self.exp / "model", facts)
        model = self.accelerator.unwrap_model(self.model)
        model.load_state_dict(own)
        model.train()
        if self.accelerator.is_main_process:
            shown = ", ".join(f"{name} {value:.4g}" for name, value in row.items())
            bar.write(f"dev: {shown}" + (" (best)" if self.best_update == self.update else ""))
            with (self.exp / "history.jsonl").open("w", encoding="utf-8") as stream:
                stream.writelines(json.dumps(entry) + "\n" for entry in self.history)
            for name, table in self.task.tables().items():
                (self.exp / name).write_text(table, encoding="utf-8")
            if writer:
                for name, value in row.items():
                    writer.add_scalar(f"dev/{name}", value, self.update)
        if isinstance(self.task, Adaptive) and self.task.plan_is_stale():
            self.epoch, self.batch = self.epoch + 1, 0
        self._save()
        look_after(self.task.watches(), self.history, self.sound)

    def _scores(self, model: nn.Module) -> dict[str, float] | None:
        """The task's evaluation; None where memory is too small for it."""
        try:
            return self.task.evaluate(model)
        except (MemoryError, RuntimeError) as error:
            if not is_lack_of_memory(error):
                raise
            if self.config.shard:  # others may wait for this process within a layer, and cannot save with it
                raise InputError(self._lack_on_dev()) from error
        return None

    def _lack_on_dev(self) -> str:
        setting = self._batch_size("the size of its batches").replace("ctc.batch_s", "ctc.dev_batch_s")
        return (
            f"update {self.update}: out of memory in the evaluation on dev. Lower {setting}, or cut or leave out the "
            "longest utterances of dev."
        )

    def _save(self) -> None:
        weights = self._weights()
        # Without an average one that a later run turns on begins with the weights.
        ema = self.ema if self.config.ema_decay else {name: value.float() for name, value in weights.items()}
        groups = {"weights": weights, "ema": ema, "optimizer": optimizer_tensors(self.optimizers)}
        tensors = {group: self._gathered(values) for group, values in groups.items()}
        if self.accelerator.is_main_process:
            self._write_checkpoint(tensors)
        self.accelerator.wait_for_everyone()
        self.saved = self.update

    def _gathered(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whole tensors, on the main process's CPU where they are divided; the other processes keep none of those."""
        if not self.config.shard:
            return dict(tensors)
        found = {}
        for name, value in tensors.items():
            gathered = whole(value)
            if self.accelerator.is_main_process:
                found[name] = gathered.cpu()
        return found

    def _write_checkpoint(self, tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
        folder = checkpoint_of(self.checkpoints, self.update)
        save_checkpoint(
            folder,
            tensors,
            {
                "fingerprint": self._fingerprint(),
                "task": self.task.state(),
                **{name: getattr(self, name) for name in STATE},
            },
        )
        self.kept = [*(each for each in self.kept if each != folder and each.is_dir()), folder]
        for old in self.kept[: -self.config.keep_checkpoints]:
            if old != checkpoint_of(self.checkpoints, self.sound):
                remove_checkpoint(old)

    def _resume(self) -> None:
        """Take up what `find_checkpoint` finds, if there is one.

        Where it was trained with other settings of those that may change, the rest of its epoch gives way to the next:
        what of it was done is told by batches, of which there are others now.

        Raises:
            InputError: there is none that this training may go on from.
        """
        found = find_checkpoint(self.exp, self._fingerprint(), self.usual, self.task.watches(), self._say)
        if found is None:
            return
        if found.collapsed:
            self.accelerator.wait_for_everyone()  # to have read what is removed
            if self.accelerator.is_main_process:
                for later in found.collapsed:
                    remove_checkpoint(later)
        self.kept = found.until
        own = self._weights()
        weights = divided_state(load_file(found.folder / "weights.safetensors"), own)
        self.accelerator.unwrap_model(self.model).load_state_dict(weights)
        averages = divided_state(load_file(found.folder / "ema.safetensors"), own)
        self.ema = {name: value.to(self.device) for name, value in averages.items()}
        if not load_optimizers(found.folder, self.optimizers):
            raise InputError(
                f"{self.exp} holds checkpoints of a training in which other weights learn than in this one. "
                "Give another exp, or remove its checkpoints to begin anew."
            )
        for name in STATE:
            if name in found.state:
                setattr(self, name, found.state[name])
        self.task.load_state(found.state.get("task", {}))
        self.saved = self.update
        if found.changed.keys() - {"dev"} and self.batch:
            self.epoch, self.batch = self.epoch + 1, 0
        if self.accelerator.is_main_process:
            put_back(self.exp / "model")
        self.accelerator.wait_for_everyone()
        if self.unfinished:
            self._begin_anew(found.changed)
        elif self.best_update and own_folder(self.exp / "model") is None:
            raise InputError(
                f"{self.exp / 'model'} is not there, and training is at its end. Copy it again, or raise "
                "trainer.updates."
            )

    def _begin_anew(self, changed: Mapping[str, Any]) -> None:
        """Let the next model be the best, where the scores so far are none to compare it with."""
        model = self.exp / "model"
        if "dev" in changed:
            why = "dev is another one than before"
        elif any(name.startswith("objective.") for name in changed):
            why = "the loss is another one than before"
        elif self.best_update and own_folder(model) is None:
            why = f"{model} is not there"
        else:
            return
        self.best, self.best_update, self.begun = math.inf, 0, self.update
        self._say(f"{why}: scores begin anew, and the next evaluation writes {model}")

    def _say(self, line: str) -> None:
        """On stderr, once for all processes."""
        if self.accelerator.is_main_process:
            print(line, file=sys.stderr)

    def _fingerprint(self) -> dict[str, Any]:
        shapes = sorted((name, list(value.shape)) for name, value in self._weights().items())
        return {
            **self.task.fingerprint(),
            **self.beginning,
            "trainer.optimizer": self.config.optimizer,
            "weights": zlib.crc32(repr(shapes).encode()),
        }

    def _weights(self) -> dict[str, Tensor]:
        return dict(self.accelerator.unwrap_model(self.model).state_dict())

    def _stalled(self) -> bool:
        if not self.config.patience or not self.history:
            return False
        since = max(self.best_update, self.begun)
        return sum(row["update"] > since for row in self.history) >= self.config.patience

    def _tensorboard(self) -> Any:
        if not self.accelerator.is_main_process:
            return None
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(self.exp / "tensorboard"))

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
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

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
from asr.checkpoint import all_checkpoints, is_whole, put_back, remove_checkpoint, save_checkpoint
from asr.encoder.padding import share_statistics
from asr.fingerprint import BATCH_SIZES, CHANGEABLE, described, differences
from asr.frames import samples_to_seconds
from asr.memory import is_lack_of_memory
from asr.muon import Muon
from asr.sharding import divided, divided_state, local, shard, whole
from asr.watchdog import Watch, alarmed, collapsed, look_after
from lm.errors import InputError

# oneDNN, which computes bfloat16 on a CPU, keeps a compiled kernel for each of the last thousand shapes. No two
# batches have one shape, so that gigabytes are held for nothing; a batch has some fifty, which its layers share.
# Read at oneDNN's first product.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """How long, how fast, how often."""

    updates: int = 20_000
    """Optimiser updates in all."""
    lr: float = 1e-3
    """Peak learning rate. Fine-tuning a pretrained encoder: 3e-5 to 3e-4 (XLS-R)."""
    warmup: float = 0.1
    """Share of the updates with a rising rate (tri-stage; wav2vec 2.0 fine-tuning: 0.1/0.4/0.5)."""
    hold: float = 0.4
    """Share of the updates at the peak; the rest decays exponentially."""
    final_lr_scale: float = 0.05
    """Last learning rate over the peak."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """`muon` makes the update of each hidden matrix orthogonal, at the size of AdamW's, so that ``lr`` means
    the same; AdamW keeps the output layer and the rest. From scratch it needs far fewer updates."""
    beta1: float = 0.9
    beta2: float = 0.98
    weight_decay: float = 0.01
    clip_norm: float = 5.0
    """Largest gradient norm; steeper ones are scaled down. 0 scales none."""
    accumulate: int = 1
    """Batches per update, of each process; they weigh alike in it, whatever each of them holds."""
    loader_threads: int = 1
    freeze_updates: int = 0
    """Updates during which only the output layer learns (wav2vec 2.0 10 h: 10,000)."""
    ema_decay: float = 0.999
    """Decay of the averaged weights that are evaluated and shipped; 0 turns averaging off."""
    evaluate_every: int = 500
    keep_checkpoints: int = 2
    patience: int = 0
    """Evaluations without a better score before stopping early; 0 never stops early."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """`auto` is bfloat16 where the hardware computes it, on a GPU or a CPU with AVX-512 BF16."""
    seed: int = 1
    shard: bool = False
    """Divide weights, gradients and optimiser state among the processes (FSDP2), for an encoder that one GPU
    cannot train (XLS-R 1B and 2B); each process otherwise holds all of them."""
    threads: int = 0
    """CPU threads; 0 leaves torch's own choice."""

    def __post_init__(self) -> None:
        for name in ("updates", "accumulate", "evaluate_every", "keep_checkpoints", "loader_threads"):
            if getattr(self, name) < 1:
                raise InputError(f"trainer.{name} is {getattr(self, name)}. Give a number from 1.")
        for name in ("seed", "clip_norm", "freeze_updates", "patience", "threads", "weight_decay"):
            if getattr(self, name) < 0:
                raise InputError(f"trainer.{name} is {getattr(self, name)}. Give a number from 0.")
        if self.seed >= 2**32:
            raise InputError(f"trainer.seed is {self.seed}. Give a number below 2**32.")
        if not self.lr > 0:
            raise InputError(f"trainer.lr is {self.lr}. Give a number above 0.")
        if not (self.warmup >= 0 and self.hold >= 0 and self.warmup + self.hold <= 1):
            raise InputError(
                f"trainer.warmup and trainer.hold are {self.warmup} and {self.hold}. They are shares of the updates, "
                "not numbers of them: give two that add up to at most 1."
            )
        if not 0 < self.final_lr_scale <= 1:
            raise InputError(
                f"trainer.final_lr_scale is {self.final_lr_scale}. Give a share above 0, at most 1."
            )
        if self.shard and self.optimizer == "muon":
            raise InputError("trainer.shard has no whole matrices for Muon. Set trainer.optimizer=adamw.")
        for name in ("beta1", "beta2", "ema_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"trainer.{name} is {getattr(self, name)}. Give a number from 0 to below 1.")


DIVERGED = "Training diverged. Lower trainer.lr, lengthen trainer.warmup, or set trainer.precision=float32."
"""What a task's `explain` says where the batch is not to blame."""


@dataclass(frozen=True)
class StepOutput:
    """What one batch gave."""

    loss: Tensor
    """Scalar to minimise."""
    logs: dict[str, float] = field(default_factory=dict)


class Batch(Protocol):
    """Anything with the ids of its utterances."""

    @property
    def ids(self) -> Sequence[str]: ...


BatchT = TypeVar("BatchT", bound=Batch)


class Task(Protocol[BatchT]):
    """What differs between recognition, pretraining and translation."""

    @property
    def model(self) -> nn.Module: ...

    def plan(self, epoch: int) -> Sequence[Any]:
        """What each batch of an epoch holds, the same whenever it is asked for; epochs come in order."""

    def load(self, epoch: int, item: Any) -> BatchT:
        """The batch that an item of the plan stands for; called from threads."""

    def seen(self, items: Sequence[Any]) -> float:
        """Note what an update took of the plan, in all processes; returns its seconds of audio."""

    def step(self, model: nn.Module, batch: BatchT, progress: float) -> StepOutput:
        """Loss of a batch; ``progress`` is the share of the training that is done."""

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        """Scores on dev; ``score`` is the one to select on, lower is better."""

    def tables(self) -> dict[str, str]:
        """What stands in the experiment folder beside the history, by file name."""

    def state(self) -> dict[str, Any]:
        """What of the task changes in training, for a checkpoint; JSON values."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""

    def fingerprint(self) -> dict[str, Any]:
        """What a checkpoint must have been trained with to be gone on from; JSON values."""

    def head_parameters(self) -> list[nn.Parameter]:
        """Parameters that learn while the rest is frozen."""

    def watches(self) -> Sequence[Watch]:
        """What tells, in the evaluations, that the model has collapsed."""

    def explain(self, batch: BatchT) -> str:
        """The likely cause of a loss on this batch that is not a number, and the remedy."""

    def save(self, model: nn.Module, folder: Path, facts: dict[str, Any]) -> None:
        """Write the model folder."""


@runtime_checkable
class Adaptive(Protocol):
    """A task whose plan may follow from the evaluations."""

    def plan_is_stale(self) -> bool:
        """Whether the last evaluation has changed it, so that what is left of the epoch gives way to the next."""


def learning_rate(config: TrainerConfig, update: int) -> float:
    """Tri-stage schedule: linear rise, hold, exponential decay; ``update`` counts from 0."""
    rise = max(1, round(config.warmup * config.updates))
    hold = round(config.hold * config.updates)
    if update < rise:
        return config.lr * (update + 1) / rise
    decay = max(1, config.updates - rise - hold)
    done = min(1.0, max(0, update - rise - hold) / decay)
    return config.lr * math.exp(math.log(config.final_lr_scale) * done)


def batch_seed(seed: int, epoch: int, number: int) -> int:
    """Seed of whatever torch draws for one batch: dropout, masks, negatives."""
    return int(np.random.SeedSequence([seed, epoch, number]).generate_state(1, np.uint64)[0] >> 1)


def bfloat16_is_fast(device: torch.device) -> bool:
    """Whether the hardware computes bfloat16; on a CPU that emulates it, it is 20 times slower."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())


def build_optimizers(
    task: Task[Any], config: TrainerConfig, precision: torch.dtype
) -> list[torch.optim.Optimizer]:
    """AdamW for every parameter that learns, or Muon for the hidden matrices and AdamW for the rest.

    Args:
        precision: of Muon's products.
    """
    learning = [parameter for parameter in task.model.parameters() if parameter.requires_grad]
    optimizers: list[torch.optim.Optimizer] = []
    if config.optimizer == "muon":
        heads = {id(parameter) for parameter in task.head_parameters()}
        hidden = [p for p in learning if p.ndim == 2 and id(p) not in heads]
        taken = {id(parameter) for parameter in hidden}
        learning = [p for p in learning if id(p) not in taken]
        if hidden:
            optimizers.append(
                Muon(hidden, lr=config.lr, weight_decay=config.weight_decay, precision=precision)
            )
    # Weight decay pulls matrices, not biases and norms.
    groups = [
        {"params": [p for p in learning if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if groups := [group for group in groups if group["params"]]:
        betas = (config.beta1, config.beta2)
        optimizers.append(torch.optim.AdamW(groups, lr=config.lr, betas=betas, fused=True))
    return optimizers


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
        if self.accelerator.is_main_process and self.accelerator.num_processes > 1:
            processes = self.accelerator.num_processes
            print(
                f"{processes} processes; an update takes {processes * self.config.accumulate} batches, "
                f"{self.config.accumulate} of each",
                file=sys.stderr,
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
        try:
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
                    if self.update % self.config.evaluate_every == 0 or self.update == self.config.updates:
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
        if self.accelerator.num_processes == 1:
            return self.stopping
        asked = torch.tensor(int(self.stopping), device=self.device)
        total: Tensor = self.accelerator.reduce(asked, reduction="sum")
        return bool(total)

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
            fingerprint = self.task.fingerprint()
            setting = next(
                (name for group, name in BATCH_SIZES.items() if group in fingerprint), "their size"
            )
            heard: Tensor | None = getattr(batch, "waveforms", None)  # of texts there are none
            size = "" if heard is None else f" ({samples_to_seconds(heard.numel()):.0f} s with padding)"
            raise InputError(
                f"update {self.update}: out of memory on the utterances {', '.join(batch.ids)}{size}. "
                f"Lower {setting} and raise trainer.accumulate."
            ) from error

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
        row = {
            "update": self.update,
            "epoch": self.epoch,
            "hours": self.seconds / 3600,
            **self.task.evaluate(model),
        }
        if isinstance(model, FSDPModule):
            model.reshard()
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

    def _save(self) -> None:
        optimizer = {
            f"{number}.{index}.{name}": value
            for number, each in enumerate(self.optimizers)
            for index, values in each.state_dict()["state"].items()
            for name, value in values.items()
        }
        weights = self._weights()
        # Without an average one that a later run turns on begins with the weights.
        ema = self.ema if self.config.ema_decay else {name: value.float() for name, value in weights.items()}
        groups = {"weights": weights, "ema": ema, "optimizer": optimizer}
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
        names = (
            *("update", "epoch", "batch", "audio_s", "seconds"),
            *("best", "best_update", "begun", "history", "sound"),
        )
        folder = self._checkpoint(self.update)
        save_checkpoint(
            folder,
            tensors,
            {
                "fingerprint": self._fingerprint(),
                "task": self.task.state(),
                **{name: getattr(self, name) for name in names},
            },
        )
        self.kept = [*(each for each in self.kept if each != folder and each.is_dir()), folder]
        for old in self.kept[: -self.config.keep_checkpoints]:
            if old != self._checkpoint(self.sound):
                remove_checkpoint(old)

    def _checkpoint(self, update: int) -> Path:
        return self.checkpoints / f"update_{update:07d}"

    def _resume(self) -> None:
        """Take up the last whole checkpoint, if there is one; after a collapse, the last one before it.

        Where it was trained with other settings of those that may change, the rest of its epoch gives way to the next:
        what of it was done is told by batches, of which there are others now.

        Raises:
            InputError: it comes from another training, none is whole, or this one had collapsed from its beginning.
        """
        there = all_checkpoints(self.checkpoints)
        if not there:
            return
        found = [folder for folder in there if is_whole(folder)]
        if not found:
            raise InputError(
                f"{self.checkpoints} holds no whole checkpoint: of {', '.join(each.name for each in there)} files are "
                f"missing or altered. Copy them again, or remove them and {self.exp / 'model'} to begin anew."
            )
        folder = found[-1]
        damaged = [each.name for each in there if each > folder]
        if damaged and self.accelerator.is_main_process:
            print(
                f"passed over in {self.checkpoints}: {', '.join(damaged)}, of which files are missing or altered",
                file=sys.stderr,
            )
        saved = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        changed = self._changed(saved)
        if refused := {name: pair for name, pair in changed.items() if not name.endswith(CHANGEABLE)}:
            raise InputError(
                f"{self.exp} holds checkpoints of a training with other settings: {described(refused)}. "
                "Give another exp, or remove its checkpoints to begin anew."
            )
        if collapsed(self.task.watches(), saved["history"]):
            folder = self._checkpoint(saved.get("sound", 0))
            if folder not in found:
                raise InputError(
                    f"{self.exp} holds a training that had collapsed, and no checkpoint from before. "
                    "Give another exp, or remove its checkpoints to begin anew."
                )
            saved = json.loads((folder / "state.json").read_text(encoding="utf-8"))
            changed = self._changed(saved)
            self.accelerator.wait_for_everyone()  # to have read what is removed
            if self.accelerator.is_main_process:
                print(f"going back to update {saved['update']}, before the collapse", file=sys.stderr)
                for later in found[found.index(folder) + 1 :]:
                    remove_checkpoint(later)
        self.kept = found[: found.index(folder) + 1]
        own = self._weights()
        weights = divided_state(load_file(folder / "weights.safetensors"), own)
        self.accelerator.unwrap_model(self.model).load_state_dict(weights)
        averages = divided_state(load_file(folder / "ema.safetensors"), own)
        self.ema = {name: value.to(self.device) for name, value in averages.items()}
        values: list[dict[int, dict[str, Tensor]]] = [{} for _ in self.optimizers]
        learned = [[p for group in each.param_groups for p in group["params"]] for each in self.optimizers]
        for name, value in load_file(folder / "optimizer.safetensors").items():
            number, index, key = name.split(".", 2)
            like = next(iter(learned[int(number)][int(index) :]), None)
            if like is None or (value.ndim and value.shape != like.shape):
                raise InputError(
                    f"{self.exp} holds checkpoints of a training in which other weights learn than in this one. "
                    "Give another exp, or remove its checkpoints to begin anew."
                )
            values[int(number)].setdefault(int(index), {})[key] = divided(value, like)
        for optimizer, state in zip(self.optimizers, values, strict=True):
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": state, "param_groups": groups})
        del saved["fingerprint"]
        task = saved.pop("task", {})
        for name, value in saved.items():
            setattr(self, name, value)
        self.task.load_state(task)
        self.saved = self.update
        if changed.keys() - {"dev"} and self.batch:
            self.epoch, self.batch = self.epoch + 1, 0
        if self.accelerator.is_main_process:
            put_back(self.exp / "model")
        self.accelerator.wait_for_everyone()
        if self.update < self.config.updates:
            self._begin_anew(changed)
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
        if self.accelerator.is_main_process:
            print(f"{why}: scores begin anew, and the next evaluation writes {model}", file=sys.stderr)

    def _changed(self, saved: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
        """What of a checkpoint's fingerprint is another now; what an earlier version did not note is as it was."""
        theirs, ours = saved["fingerprint"], self._fingerprint()
        return differences({name: theirs.get(name, ours[name]) for name in ours}, ours, self.usual)

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

"""What every benchmark does alike: say where and how it measured, time fairly, end with one JSON line."""

from __future__ import annotations

import argparse
import gc
import io
import json
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from asr.score_report import aligned

Found = TypeVar("Found")
XLS_R_300M: dict[str, Any] = {
    "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16,
    "intermediate_size": 4096, "feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True,
}  # fmt: skip
"""Geometry of an encoder, for random weights."""
QUICK = "under three minutes: fewer repeats and less data; not for quoting"


def parser(description: str) -> argparse.ArgumentParser:
    """A command line with ``--quick``, which every benchmark takes."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--quick", action="store_true", help=QUICK)
    return options


def machine(*packages: str) -> dict[str, Any]:
    """The machine and the versions that a figure depends on.

    Args:
        packages: distributions whose versions matter besides torch's and numpy's.
    """
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "threads": os.environ.get("OMP_NUM_THREADS", "default"),
        "load": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: _version(name) for name in ("torch", "numpy", *packages)},
    }


def start(title: str, protocol: str, *packages: str) -> dict[str, Any]:
    """Print what is measured, on what machine and how; give the machine back for the JSON line."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # it takes an hour: a file of it is to be followed
    found = machine(*packages)
    print(f"# {title}\n\nmachine:")
    for name, value in found.items():
        print(f"  {name}: {value}")
    if found["load"] > found["cores"]:
        print("  (busy with other work: trust the CPU times, not the wall clock)")
    print(f"\nprotocol: {' '.join(protocol.split())}\n")
    return found


def finish(figures: Mapping[str, Any]) -> None:
    """Print the last line: the figures as JSON, on one line."""
    print(json.dumps(figures, ensure_ascii=False, allow_nan=False))


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table, the first column to the left and the others to the right."""
    texts = [[f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    print("\n".join(aligned([header, *texts])))


def memory_mib(name: str = "VmHWM") -> float:
    """The most memory that this process has had, or with ``VmRSS`` what it has now (on Linux).

    `getrusage` would count what its parent had when it began, too.
    """
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def alone(task: Callable[..., Found], *arguments: object) -> Found:
    """Call in a process that has done nothing else, so that its memory is its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(task, *arguments).result()


class OpCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what torch computes inside of it, by name; views, which compute nothing, are left out."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[str] = Counter()
        self.moved = 0
        """Bytes that the operations read and write."""

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Count one and compute it."""
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.counts[func.overloadpacket.__name__] += 1
            self.moved += sum(each.nbytes for each in tree_leaves((args, out)) if isinstance(each, Tensor))
        return out


def gpu_median(run: Callable[[], object], repeats: int = 20) -> float:
    """Seconds that a call takes on the GPU, from an idle one to an idle one."""
    seconds = []
    for _ in range(repeats):
        torch.cuda.synchronize()
        began = time.perf_counter()
        run()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The times of one competitor, one of each repeat, in seconds."""

    wall: tuple[float, ...]
    cpu: tuple[float, ...]
    """Of this process and the children it waited for, all threads together."""

    @property
    def wall_median(self) -> float:
        """The figure to quote."""
        return statistics.median(self.wall)

    @property
    def cpu_median(self) -> float:
        """Work done, whatever else the machine was doing."""
        return statistics.median(self.cpu)

    def figures(self) -> dict[str, float]:
        """The medians and the spread, for the JSON line."""
        return {
            "wall_s": _rounded(self.wall_median),
            "wall_min_s": _rounded(min(self.wall)),
            "wall_max_s": _rounded(max(self.wall)),
            "cpu_s": _rounded(self.cpu_median),
            "repeats": len(self.wall),
        }


def interleave(
    competitors: Mapping[str, Callable[[], object]], *, repeats: int, warm_up: int = 1
) -> dict[str, Timing]:
    """Time competitors in turns (A B A B ...), so that what the machine does meanwhile strikes all alike.

    Every second round runs them in the opposite order: none always follows the same neighbour.

    Args:
        competitors: name -> what is timed; each must do the whole of the same work.
        repeats: rounds that count.
        warm_up: rounds before them that do not.
    """
    wall: dict[str, list[float]] = {name: [] for name in competitors}
    cpu: dict[str, list[float]] = {name: [] for name in competitors}
    for number in range(warm_up + repeats):
        names = list(competitors)
        for name in reversed(names) if number % 2 else names:
            gc.collect()
            began, worked = time.perf_counter(), _cpu_seconds()
            competitors[name]()
            took, work = time.perf_counter() - began, _cpu_seconds() - worked
            if number >= warm_up:
                wall[name].append(took)
                cpu[name].append(work)
        print(f"round {number + 1} of {warm_up + repeats}", file=sys.stderr)
    return {name: Timing(wall=tuple(wall[name]), cpu=tuple(cpu[name])) for name in competitors}


def ratio(ours: Timing, theirs: Timing) -> dict[str, float]:
    """How many times faster we are: of the medians, and the worst and best of the rounds."""
    rounds = [their / our for our, their in zip(ours.wall, theirs.wall, strict=True)]
    return {
        "wall": _rounded(theirs.wall_median / ours.wall_median),
        "wall_min": _rounded(min(rounds)),
        "wall_max": _rounded(max(rounds)),
        "cpu": _rounded(theirs.cpu_median / max(ours.cpu_median, 1e-9)),
    }


def timing_table(timings: Mapping[str, Timing]) -> None:
    """Print median, spread and CPU time of each competitor."""
    rows = [(name, t.wall_median, min(t.wall), max(t.wall), t.cpu_median) for name, t in timings.items()]
    table(("", "wall median s", "min", "max", "cpu median s"), rows)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):  # not Linux, or a processor that has no name there
        return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"

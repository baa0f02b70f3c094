"""How fast the Sinkhorn divergence of a batch and its gradient are, against geomloss and POT at equal accuracy.

`python -m bench.transport [--quick]`
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

if not __package__:  # run as `python bench/transport.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch
import torch.nn.functional as F
from torch import Tensor

from asr.features import frame_mask
from bench import common
from st.transport import TransportConfig, sinkhorn_divergence

BATCH, SPEECH, TEXT, WIDTH = 16, 400, 100, 512
ENOUGH = 0.999
"""Cosine of the gradient with the converged one."""
LIMIT_S = 60.0
"""Longest single run; a setting slower than this is the last one tried."""
PROTOCOL = f"""{BATCH} pairs of up to {SPEECH} speech and {TEXT} text states, {WIDTH} wide and one for the position,
float32, lengths from half to all, padded, masked weights; the debiased divergence with half squared distances and its
gradient for both sides. Text states are normal; speech states are those of the text, stretched, times 0.7 plus noise as
large. The gradient of reference is that of Newton's method in float64 until 1e-6 of the mass is out of place, which
makes it the optimum whoever computed it. Each peer is run at settings of rising cost until the cosine of its
gradient for the speech is {ENOUGH}, or one run takes {LIMIT_S:.0f} s; geomloss by `scaling` (tensorised), POT by
iterations of `ot.batch` in the log domain, the gradient by its envelope, with nothing recorded on the way (left to
itself, it keeps every iteration: over 20 GiB for 4,000). Settings that reached it are timed in turns."""


@dataclass(frozen=True)
class Case:
    """A batch, and the blur."""

    name: str
    x: Tensor
    y: Tensor
    x_lengths: Tensor
    y_lengths: Tensor
    blur: float

    def points(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Both sides with their positions, padding at the origin, and their weights: what the peers take."""
        placed = []
        for states, lengths in ((self.x, self.x_lengths), (self.y, self.y_lengths)):
            mask = frame_mask(lengths, states.shape[1])
            place = torch.arange(states.shape[1]) / (lengths - 1)[:, None]
            points = torch.cat([states, place[..., None]], dim=2) * mask[..., None]
            placed += [points.requires_grad_(), mask / lengths[:, None]]
        x, a, y, b = placed
        return x, y, a, b


Run = Callable[[Case], Tensor]
"""Gives the gradient for the speech states, (N, S, D)."""


def cases(quick: bool) -> Iterator[Case]:
    generator = torch.Generator().manual_seed(0)
    batch = 4 if quick else BATCH
    x_lengths = torch.randint(SPEECH // 2, SPEECH + 1, (batch,), generator=generator)
    y_lengths = torch.randint(TEXT // 2, TEXT + 1, (batch,), generator=generator)
    x_lengths[0], y_lengths[0] = SPEECH, TEXT
    y = torch.randn(batch, TEXT, WIDTH, generator=generator)
    places = [torch.randint(0, int(size), (SPEECH,), generator=generator).sort().values for size in y_lengths]
    heard = torch.stack([row[order] for row, order in zip(y, places, strict=True)])
    x = 0.7 * heard + 0.7 * torch.randn(batch, SPEECH, WIDTH, generator=generator)
    normalised = F.normalize(x, dim=2), F.normalize(y, dim=2)
    yield Case("normalised, blur 0.2", *normalised, x_lengths, y_lengths, 0.2)
    yield Case("normalised, blur 0.05", *normalised, x_lengths, y_lengths, 0.05)
    yield Case("as they are, blur 0.05", x, y, x_lengths, y_lengths, 0.05)


def ours(tolerance: float = 1e-3, dtype: torch.dtype = torch.float32, max_steps: int = 200) -> Run:
    def run(case: Case) -> Tensor:
        x = case.x.detach().to(dtype, copy=True).requires_grad_()
        y = case.y.detach().to(dtype, copy=True).requires_grad_()
        config = TransportConfig(blur=case.blur, tolerance=tolerance, max_steps=max_steps)
        sinkhorn_divergence(x, y, case.x_lengths, case.y_lengths, config).sum().backward()
        assert x.grad is not None
        return x.grad

    return run


def geomloss(scaling: float) -> Run:
    from geomloss import SamplesLoss

    def run(case: Case) -> Tensor:
        x, y, a, b = case.points()
        loss = SamplesLoss("sinkhorn", p=2, blur=case.blur, scaling=scaling, backend="tensorized")
        loss(a, x, b, y).sum().backward()
        assert x.grad is not None
        return x.grad[..., :-1]

    return run


def pot(iterations: int) -> Run:
    from ot.batch import solve_batch

    def cost(x: Tensor, y: Tensor) -> Tensor:
        products = (x.square().sum(2)[:, :, None] + y.square().sum(2)[:, None]) / 2 - x @ y.mT
        return products.clamp(min=0)

    def run(case: Case) -> Tensor:
        x, y, a, b = case.points()
        # Its log domain takes the logarithm of the weights as they are.
        a, b = a.clamp(min=1e-30), b.clamp(min=1e-30)

        def value(x: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Tensor:
            costs = cost(x, y)
            plan = solve_batch(
                costs.detach(), case.blur**2, a, b, max_iter=iterations, tol=1e-4, method="log_sinkhorn"
            ).plan
            assert isinstance(plan, Tensor)
            return (plan * costs).sum()

        (value(x, y, a, b) - value(x, x, a, a) / 2 - value(y, y, b, b) / 2).backward()
        assert x.grad is not None
        return x.grad[..., :-1]

    return run


def ladders() -> dict[str, list[tuple[str, Run]]]:
    """Settings of each system, from the cheapest."""
    return {
        "loquela": [(f"tolerance {value:g}", ours(value)) for value in (1e-2, 1e-3, 1e-4)],
        "geomloss": [
            (f"scaling {value:g}", geomloss(value)) for value in (0.5, 0.8, 0.9, 0.97, 0.99, 0.997, 0.999)
        ],
        "pot": [(f"{value:,} iterations", pot(value)) for value in (50, 200, 1000, 4000, 16000)],
    }


def cosine(found: Tensor, expected: Tensor, lengths: Tensor) -> float:
    mask = frame_mask(lengths, found.shape[1])
    return float(
        F.cosine_similarity(found[mask].double().flatten(), expected[mask].double().flatten(), dim=0)
    )


@dataclass(frozen=True)
class Choice:
    """The setting of one system: the cheapest that is accurate enough, or else the most accurate tried."""

    setting: str
    run: Run
    cosine: float
    seconds: float


def choose(case: Case, expected: Tensor, ladder: list[tuple[str, Run]], limit: float) -> Choice:
    best: Choice | None = None
    for setting, run in ladder:
        began = time.perf_counter()
        reached = cosine(run(case), expected, case.x_lengths)
        took = time.perf_counter() - began
        print(f"  {setting}: cosine {reached:.5f}, {took:.2f} s")
        if best is None or reached > best.cosine:
            best = Choice(setting, run, reached, took)
        if reached >= ENOUGH or took > limit:
            break
    assert best is not None
    return best


def peak_mib(case: Case, system: str, step: int) -> float:
    """Memory that one run adds to the process, at its highest (on Linux)."""
    return common.alone(_grown, case, system, step)


def _grown(case: Case, system: str, step: int) -> float:
    torch.set_num_threads(2)
    run = ladders()[system][step][1]
    small = Case("", *(each[:1] for each in (case.x, case.y, case.x_lengths, case.y_lengths)), 1.0)
    run(small)  # loads what it needs
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the highest so far
    before = common.memory_mib("VmRSS")
    run(case)
    return common.memory_mib() - before


def on_gpu(case: Case) -> dict[str, float]:
    """Seconds of ours, and the share of a large copy's bandwidth that its operations reach."""
    there = Case(
        case.name, *(each.cuda() for each in (case.x, case.y, case.x_lengths, case.y_lengths)), case.blur
    )
    run = partial(ours(), there)
    run()
    with common.OpCounter() as ops:
        run()
    seconds = common.gpu_median(run)
    large = torch.randn(2**29, device="cuda")
    bandwidth = 2 * large.nbytes / common.gpu_median(large.clone)
    return {
        "seconds": round(seconds, 4),
        "operations": sum(ops.counts.values()),
        "gib_moved": round(ops.moved / 2**30, 2),
        "share_of_bandwidth": round(ops.moved / seconds / bandwidth, 3),
    }


def main() -> None:
    parser = common.parser(__doc__ or "")
    parser.add_argument("--gpu", action="store_true", help="ours on a GPU alone")
    options = parser.parse_args()
    if options.gpu and not torch.cuda.is_available():
        parser.error("--gpu: torch finds no GPU here.")
    torch.set_num_threads(2)
    common.start("Sinkhorn divergence with its gradient", PROTOCOL, "geomloss", "pot")
    if options.gpu:
        found = {case.name: on_gpu(case) for case in cases(options.quick)}
        common.table(
            ["", *next(iter(found.values()))], [[name, *each.values()] for name, each in found.items()]
        )
        common.finish({"gpu": found})
        return
    figures: dict[str, Any] = {}
    for case in cases(options.quick):
        print(f"## {case.name}")
        expected = ours(1e-6, torch.float64, 2000)(case)
        chosen = {}
        for name, ladder in ladders().items():
            print(name)
            chosen[name] = choose(case, expected, ladder, LIMIT_S / (6 if options.quick else 1))
        runs = {name: partial(choice.run, case) for name, choice in chosen.items()}
        # A peer that is far behind need not be run seven times to show it.
        slow = max(choice.seconds for choice in chosen.values()) > 5
        timings = common.interleave(runs, repeats=1 if slow or options.quick else 5)
        steps = {
            name: [setting for setting, _ in ladders()[name]].index(chosen[name].setting) for name in chosen
        }
        memory = {name: peak_mib(case, name, steps[name]) for name in chosen}
        common.table(
            (case.name, "setting", "cosine", "seconds", "peak MiB", "times loquela"),
            [
                (
                    name,
                    choice.setting,
                    f"{choice.cosine:.5f}",
                    timings[name].wall_median,
                    round(memory[name]),
                    timings[name].wall_median / timings["loquela"].wall_median,
                )
                for name, choice in chosen.items()
            ],
        )
        print()
        figures[case.name] = {
            "seconds": {name: round(timing.wall_median, 4) for name, timing in timings.items()},
            "gradient_cosine": {name: round(choice.cosine, 5) for name, choice in chosen.items()},
            "peak_mib": {name: round(value) for name, value in memory.items()},
        }
    headline = figures["normalised, blur 0.05"]
    common.finish(
        {"seconds": headline["seconds"], "gradient_cosine": headline["gradient_cosine"], "cases": figures}
    )


if __name__ == "__main__":
    main()

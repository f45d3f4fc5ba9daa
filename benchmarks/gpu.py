"""``python -m benchmarks.gpu``: all that needs a GPU, tests first and then times, as one dated report.

Ratios of medians of device-event times, forward and backward, against PyTorch on the same card. The report
goes to ``docs/gpu-report.md``, which the documentation shows.
"""

import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import cupy
import torch
import typer
from cupyx.profiler import benchmark

import specgrad_cupy
import specgrad_torch
from specgrad import MaskedGap, PowerIterationGap
from specgrad_cupy import FusedGap, Jacobi, Syevd, SyevjBatched, ThroughDLPack
from specgrad_torch.nn import ZCAWhitening

__all__ = ["main"]

_REPORT = Path(__file__).parents[1] / "docs" / "gpu-report.md"
# Batch, size, and how many times faster than PyTorch it should be.
_SHAPES = (
    (10_000, 3, 5.0),
    (1000, 16, 5.0),
    (500, 32, 0.91),
    (500, 100, 5.0),
    (64, 256, 0.91),
    (1, 2048, 0.91),
)
_REPEATS = 20


def main() -> None:
    """Run the tests on the rows cupy and torch-cuda, then the benchmarks, and write the report."""
    environment = {**os.environ, "SPECGRAD_REQUIRE": "cupy,torch-cuda"}
    command = [sys.executable, "-m", "pytest", "-q", "tests", "-k", "cupy or cuda or gpu"]
    tests = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    lines = [
        "# Report from a GPU",
        "",
        f"{date.today()}: {_card()}, driver {_driver()}, CuPy {cupy.__version__}, torch {torch.__version__}.",
        "",
        f"Tests: `{(tests.stdout + tests.stderr).strip().splitlines()[-1]}`",
        "",
        "| work, forward and backward | against | times faster | reach |",
        "|---|---|---|---|",
        *(_line(*row) for row in (*_decompositions(), *_floors(), *_layers())),
        "",
        "Times of each solver's forward pass, in milliseconds, for `specgrad_cupy.auto.TABLE`:",
        "",
        "| batch, n | Jacobi | SyevjBatched | Syevd |",
        "|---|---|---|---|",
        *_solvers(),
    ]
    _REPORT.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    print(tests.stdout[-4000:] if tests.returncode else f"Written to {_REPORT}.")
    raise SystemExit(tests.returncode)


def _decompositions() -> Any:
    for count, n, reach in _SHAPES:
        a, g = _symmetric(count, n), torch.randn(count, n, n, device="cuda")
        theirs = _median(lambda a=a, g=g: _torch_backward(torch.linalg.eigh, a, g))
        work = f"eigh, {count} of {n} x {n}"
        yield (
            f"specgrad_cupy.{work}",
            "torch.linalg.eigh",
            theirs / _median(lambda a=a, g=g: _pulled(a, g)),
            reach,
        )
        ours = _median(lambda a=a, g=g: _torch_backward(_through_cupy, a, g))
        yield f"specgrad_torch.{work}, ThroughDLPack", "torch.linalg.eigh", theirs / ours, reach


def _floors() -> Any:
    """Against forward and four products; the fused rule beside the array expression."""
    for count, n, _ in _SHAPES[1:5]:
        a, g = cupy.asarray(_symmetric(count, n).detach()), cupy.random.randn(count, n, n, dtype=cupy.float32)
        floor = _median(lambda a=a, g=g: _forward_and_products(a, g))
        rules = MaskedGap(), PowerIterationGap(19)
        for gap in (*rules, *map(FusedGap, rules)):
            ours = _median(lambda a=a, g=g, gap=gap: _pull(a, g, gap))
            yield (
                f"specgrad_cupy.eigh, {count} of {n} x {n}, {gap}",
                "forward + 4 products",
                floor / ours,
                0.8,
            )


def _layers() -> Any:
    x = torch.randn(128, 64, 32, 32, device="cuda", requires_grad=True)
    normalisation = torch.nn.BatchNorm2d(64).cuda()
    against = _median(lambda: _layer_step(normalisation, x))
    for groups in (1, 4, 16):
        layer = ZCAWhitening(64, groups=groups).cuda()
        ours = _median(lambda layer=layer: _layer_step(layer, x))
        yield f"ZCAWhitening(64, groups={groups}), 128x64x32x32", "BatchNorm2d", against / ours, 0.5


def _solvers() -> list[str]:
    rows = []
    for count, n, _ in _SHAPES:
        a = cupy.asarray(_symmetric(count, n).detach())
        times = [
            f"{1e3 * _median(lambda a=a, solver=solver: solver.solve(a)):.2f}" if fits else "-"
            for solver, fits in ((Jacobi(), n <= 32), (SyevjBatched(), True), (Syevd(), count <= 500))
        ]
        rows.append(f"| {count}, {n} | {' | '.join(times)} |")
    return rows


def _symmetric(count: int, n: int) -> torch.Tensor:
    a = torch.randn(count, n, n, device="cuda", generator=torch.Generator("cuda").manual_seed(0))
    return (a + a.mT).requires_grad_()


def _torch_backward(function: Callable[..., Any], a: torch.Tensor, g: torch.Tensor) -> Any:
    _, vectors = function(a)
    return torch.autograd.grad((vectors * vectors * g).sum(), a)


def _through_cupy(a: torch.Tensor) -> Any:
    return specgrad_torch.eigh(a, solver=ThroughDLPack())


def _pulled(a: torch.Tensor, g: torch.Tensor) -> Any:
    return _pull(cupy.asarray(a.detach()), cupy.asarray(g), FusedGap(MaskedGap()))


def _pull(a: Any, g: Any, gap: Any) -> Any:
    (_, vectors), pullback = specgrad_cupy.vjp(specgrad_cupy.eigh, a, gap=gap)
    return pullback((None, 2 * vectors * g))


def _forward_and_products(a: Any, g: Any) -> Any:
    _, vectors = specgrad_cupy.eigh(a)
    return vectors @ ((vectors.swapaxes(-1, -2) @ g) @ vectors) @ g


def _layer_step(layer: torch.nn.Module, x: torch.Tensor) -> Any:
    return torch.autograd.grad(layer(x).square().sum(), x)


def _median(call: Callable[[], object]) -> float:
    """Seconds on the device, by events."""
    times = benchmark(call, n_repeat=_REPEATS, n_warmup=3).gpu_times
    return statistics.median(times.ravel().tolist())


def _line(work: str, against: str, ratio: float, reach: float) -> str:
    return f"| {work} | {against} | {ratio:.2f} | >= {reach:g} |"


def _card() -> str:
    return cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()


def _driver() -> str:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[0]


if __name__ == "__main__":
    typer.run(main)

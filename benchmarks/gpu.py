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
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import typer

import specgrad_torch
from benchmarks.layers import Composed
from specgrad import MaskedGap, PowerIterationGap
from specgrad_torch.nn import ZCAWhitening

try:
    import specgrad_cupy
except ImportError as error:
    sys.exit(f"python -m benchmarks.gpu: {error}")

import cupy
from cupyx.profiler import benchmark

from specgrad_cupy import FusedGap, Jacobi, Syevd, SyevjBatched, ThroughDLPack

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
    status, summary = _tests()
    _REPORT.write_text("")
    _report("# Report from a GPU")
    _report()
    _report(
        f"{date.today()}: {_card()}, driver {_driver()}, CuPy {cupy.__version__}, torch {torch.__version__}."
    )
    _report()
    _report(f"Tests: `{summary}`")
    _report()
    _report("| work, forward and backward | against | times faster | reach |")
    _report("|---|---|---|---|")
    for work, against, reach, ours, theirs in chain(_decompositions(), _floors(), _layers()):
        ratio = _attempt(partial(_times_faster, ours, theirs))
        _report(f"| {work} | {against} | {ratio} | >= {reach:g} |")
    _report()
    _report("Times of each solver's forward pass, in milliseconds, for `specgrad_cupy.auto.TABLE`:")
    _report()
    _report("| batch, n | Jacobi | SyevjBatched | Syevd |")
    _report("|---|---|---|---|")
    for count, n, _ in _SHAPES:
        a = cupy.asarray(_symmetric(count, n).detach())
        solvers = (Jacobi() if n <= 32 else None, SyevjBatched(), Syevd() if count <= 500 else None)
        times = ["-" if solver is None else _attempt(partial(_milliseconds, solver, a)) for solver in solvers]
        _report(f"| {count}, {n} | {' | '.join(times)} |")
    raise SystemExit(status)


def _tests() -> tuple[int, str]:
    """Exit status and summary of the tests that need a GPU; what they print is printed as it comes."""
    environment = {**os.environ, "SPECGRAD_REQUIRE": "cupy,torch-cuda"}
    # What needs the device most comes first; the kernels compiled for the host need none.
    on_the_host = [f"--ignore=tests/test_cupy_{name}.py" for name in ("kernels", "pairs")]
    what = ["tests/test_cupy.py", "tests", *on_the_host, "-k", "cupy or cuda or gpu"]
    how = ["-q", "-rfE", "--tb=short", "-n", "4", "--dist", "loadfile"]
    command = [sys.executable, "-m", "pytest", *what, *how]
    summary = "nothing was printed"
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as tests:
        for line in tests.stdout or ():
            print(line, end="", flush=True)
            summary = line.strip() or summary
    return tests.returncode, summary


def _report(line: str = "") -> None:
    """Print a line, and add it to the report at once: a run that ends early has lost nothing."""
    print(line, flush=True)
    with _REPORT.open("a") as report:
        report.write(line + "\n")


def _attempt(measure: Callable[[], str]) -> str:
    """The cell of a table, or the error in its place: one that fails does not cost the others."""
    try:
        return measure()
    except Exception as error:
        message = next(iter(str(error).splitlines()), "").replace("|", "/")
        return f"{type(error).__name__}: {message}"


def _decompositions() -> Any:
    for count, n, reach in _SHAPES:
        a, g = _symmetric(count, n), torch.randn(count, n, n, device="cuda")

        work = f"eigh, {count} of {n} x {n}"
        theirs = partial(_torch_backward, torch.linalg.eigh, a, g)
        ours = partial(_pulled, a, g)
        yield f"specgrad_cupy.{work}", "torch.linalg.eigh", reach, ours, theirs
        ours = partial(_torch_backward, _through_cupy, a, g)
        yield f"specgrad_torch.{work}, ThroughDLPack", "torch.linalg.eigh", reach, ours, theirs


def _floors() -> Any:
    """Against forward and four products; the fused rule beside the array expression."""
    for count, n, _ in _SHAPES[1:5]:
        a, g = cupy.asarray(_symmetric(count, n).detach()), cupy.random.randn(count, n, n, dtype=cupy.float32)
        rules = MaskedGap(), PowerIterationGap(19)
        for gap in (*rules, *map(FusedGap, rules)):
            work = f"specgrad_cupy.eigh, {count} of {n} x {n}, {gap}"
            floor = partial(_forward_and_products, a, g)
            yield work, "forward + 4 products", 0.8, partial(_pull, a, g, gap), floor


def _layers() -> Any:
    x = torch.randn(128, 64, 32, 32, device="cuda", requires_grad=True)
    normalisation = partial(_layer_step, torch.nn.BatchNorm2d(64).cuda(), x)
    for groups in (1, 4, 16):
        layer = partial(_layer_step, ZCAWhitening(64, groups=groups).cuda(), x)
        work = f"ZCAWhitening(64, groups={groups}), 128x64x32x32"
        yield work, "BatchNorm2d", 0.5, layer, normalisation
        yield (
            work,
            "composed through torch",
            1.05,
            layer,
            partial(_layer_step, Composed(64, groups).cuda(), x),
        )


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


def _times_faster(ours: Callable[[], object], theirs: Callable[[], object]) -> str:
    return f"{_median(theirs) / _median(ours):.2f}"


def _milliseconds(solver: Any, a: Any) -> str:
    return f"{1e3 * _median(partial(solver.solve, a)):.2f}"


def _median(call: Callable[[], object]) -> float:
    """Seconds on the device, by events."""
    # With a name, as CuPy would ask a partial function for its own.
    times = benchmark(call, name="", n_repeat=_REPEATS, n_warmup=3).gpu_times
    return statistics.median(times.ravel().tolist())


def _card() -> str:
    return cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()


def _driver() -> str:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[0]


if __name__ == "__main__":
    typer.run(main)

"""Interleaved timing: every contestant runs in each round, so that drift of the machine hits all alike."""

import gc
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

__all__ = ["Row", "covariance", "interleaved_medians", "report"]


@dataclass(frozen=True)
class Row:
    """One line of a report: a measured ratio and what it should reach."""

    work: str
    against: str
    ratio: float
    reach: float
    larger_is_better: bool = False

    @property
    def holds(self) -> bool:
        return self.ratio >= self.reach if self.larger_is_better else self.ratio <= self.reach


def interleaved_medians(contestants: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Median time of a call of each, in seconds, over as many rounds as fit."""
    calls: dict[str, int] = {}
    for name, call in contestants.items():
        call()
        start = time.perf_counter()
        call()
        # A round of one name lasts a millisecond at least, to be long against the clock.
        calls[name] = max(1, int(1e-3 / (time.perf_counter() - start)))
    times: dict[str, list[float]] = {name: [] for name in contestants}
    gc.collect()
    gc.disable()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[name]) < 5:
        for name, call in contestants.items():
            start = time.perf_counter()
            for _ in range(calls[name]):
                call()
            times[name].append((time.perf_counter() - start) / calls[name])
    gc.enable()
    return {name: statistics.median(values) for name, values in times.items()}


def report(title: str, rows: list[Row]) -> None:
    """Print a table, headed by machine, versions and date."""
    table = Table("work", "against", "ratio", "reach", "holds")
    for row in rows:
        sign = ">=" if row.larger_is_better else "<="
        table.add_row(
            row.work, row.against, f"{row.ratio:.2f}", f"{sign} {row.reach:g}", "yes" if row.holds else "no"
        )
    console = Console()
    console.print(
        f"{title}: {date.today()}, {platform.processor() or platform.machine()}, "
        f"torch {torch.__version__}, {torch.get_num_threads()} thread(s)"
    )
    console.print(table)


def covariance(shape: tuple[int, ...]) -> Tensor:
    """Covariances of Gaussian samples, four for each variable."""
    samples = torch.randn(*shape[:-1], 4 * shape[-1], generator=torch.Generator().manual_seed(0))
    return samples @ samples.mT / samples.shape[-1]

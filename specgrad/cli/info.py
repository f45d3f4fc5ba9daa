"""``specgrad info``: what there is to choose from, and what is installed."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from rich.console import Console
from rich.table import Table

from specgrad import gaps
from specgrad.cli.plugins import BUILT_IN_SOLVERS, published_solvers
from specgrad.truncation import EigenvalueFloor, EnergyRatio, MaxRank, RayleighMismatch

__all__ = ["print_info"]

# Each backend, and the distributions that can provide it.
_BACKENDS = {
    "numpy": ("numpy",),
    "array_api_strict": ("array-api-strict",),
    "torch": ("torch",),
    "cupy": ("cupy-cuda12x", "cupy-cuda13x", "cupy"),
    "jax": ("jax",),
}


def print_info(console: Console) -> None:
    """Print the solvers, the gap rules, the truncations and the backends."""
    console.print(f"specgrad {_version('specgrad') or 'from a folder, not installed'}")
    gap_rules = [getattr(gaps, name) for name in gaps.__all__ if name.endswith("Gap")]
    truncations = [MaxRank, EigenvalueFloor, EnergyRatio, RayleighMismatch]
    console.print(_solvers(), _values("Gap rule", gap_rules), _values("Truncation", truncations), _backends())


def _solvers() -> Table:
    table = _table("Solver", "From")
    for name in BUILT_IN_SOLVERS:
        table.add_row(name, "specgrad")
    for name, point in published_solvers().items():
        table.add_row(name, f"{point.dist.name} {point.dist.version}" if point.dist else point.value)
    return table


def _values(heading: str, kinds: Sequence[type]) -> Table:
    table = _table(heading, "Summary")
    for kind in kinds:
        table.add_row(kind.__name__, (kind.__doc__ or "").partition("\n")[0].replace("`", ""))
    return table


def _backends() -> Table:
    table = _table("Backend", "Version")
    for backend, distributions in _BACKENDS.items():
        table.add_row(backend, next(filter(None, map(_version, distributions)), "not installed"))
    return table


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _table(*headings: str) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), title_justify="left")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table

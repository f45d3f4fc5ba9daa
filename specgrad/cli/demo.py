"""``specgrad demo``: which gradients to trust, and learning with them."""

from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from specgrad.cli.comparison import Row, compare, digits_cases
from specgrad.cli.figure import save_figure
from specgrad.cli.learning import RANK, Backend, descend, load_splits
from specgrad.solvers import Solver

__all__ = ["run_demo"]


def run_demo(backend: Backend, solver: Solver, steps: int, output: Path, console: Console) -> None:
    """Print the comparison of gap rules and the course of learning, and save the figure."""
    console.print(
        "Some pixels of scikit-learn's 8 x 8 handwritten digits are constant, so their covariance has "
        "several eigenvalues that are zero up to rounding. The loss looks at the subspace of some "
        "eigenvectors. The reference is the derivative of the projector on it, which divides by no gap "
        "inside.\n"
    )
    comparisons = {case.title: compare(case, solver) for case in digits_cases()}
    for title, rows in comparisons.items():
        console.print(_table(title, rows))
    console.print(
        "gradient: its largest entry. pair: the largest coefficient that stands for 1/gap, and the bound "
        "that the rule states for it. error: relative to the reference. In the second table a wrong "
        "gradient is finite, so nobody is told; at the exact tie of the third it is not finite.\n"
    )

    console.print(
        f"Learning one weight per pixel through the {RANK} dominant eigenvectors of the weighted "
        f"covariance ({backend.value}, {solver!r}, {steps} steps of gradient descent)."
    )
    digits = load_splits()
    history = list(
        track(
            descend(digits, backend, solver, steps),
            description="Learning",
            total=steps + 1,
            console=console,
        )
    )
    chosen = max(range(len(history)), key=lambda index: history[index].validation_accuracy)
    before, after = history[0], history[chosen]
    console.print(
        f"Held-out accuracy of the nearest class mean, {len(digits.test.labels)} images:\n"
        f"  before: {before.test_accuracy:.1%} (all weights 1)\n"
        f"  after:  {after.test_accuracy:.1%} (step {chosen}, the best on the validation images)"
    )
    save_figure(output, comparisons, history, chosen)
    console.print(f"Figure saved to {output}", soft_wrap=True, markup=False)


def _table(title: str, rows: list[Row]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Gap rule", no_wrap=True)
    table.add_column("finite")
    for heading in ("gradient", "pair", "its bound", "error"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.name,
            "yes" if row.is_finite else "[red]no[/red]",
            _number(row.largest_entry),
            _number(row.largest_pair),
            _number(row.bound),
            _number(row.error) if row.is_finite else "[red]none[/red]",
        )
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"

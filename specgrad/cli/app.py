"""The commands and their options."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from specgrad.cli.demo import run_demo
from specgrad.cli.figure import formats
from specgrad.cli.info import print_info
from specgrad.cli.learning import Backend
from specgrad.cli.plugins import available_solvers, solver_by_name

__all__ = ["app", "main"]

app = typer.Typer(
    help="Stable gradients through Hermitian eigendecompositions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def demo(
    backend: Annotated[
        Backend, typer.Option(help="Whose gradients to learn with: vjp, or autograd.")
    ] = Backend.NUMPY,
    solver: Annotated[str, typer.Option(help="A solver that `specgrad info` lists.")] = "DenseEigh",
    steps: Annotated[int, typer.Option(min=1, help="Steps of gradient descent.")] = 150,
    output: Annotated[Path, typer.Option(help="Where to save the figure.")] = Path("specgrad-demo.png"),
) -> None:
    """Compare gradients of the covariance of handwritten digits, and learn through its eigenvectors."""
    if solver not in available_solvers():
        raise typer.BadParameter(
            f"No solver is called {solver!r}; there are {', '.join(available_solvers())}.",
            param_hint="--solver",
        )
    if not backend.is_installed():
        raise typer.BadParameter(
            f'{backend.value} is not installed: pip install "specgrad[{backend.value}]".',
            param_hint="--backend",
        )
    if output.is_dir():
        raise typer.BadParameter(
            f"{output} is a folder; name a file in it, such as {output / 'specgrad-demo.png'}.",
            param_hint="--output",
        )
    output = output if output.suffix else output.with_suffix(".png")
    if output.suffix[1:].lower() not in formats():
        raise typer.BadParameter(
            f"A figure cannot be saved as {output.suffix}; use one of {', '.join(formats())}.",
            param_hint="--output",
        )
    if not output.parent.is_dir():
        raise typer.BadParameter(f"There is no folder {output.parent}; make it first.", param_hint="--output")
    run_demo(backend, solver_by_name(solver), steps, output, Console())


@app.command()
def info() -> None:
    """List solvers, gap rules, truncations, and array libraries with their versions."""
    print_info(Console())


def main() -> None:
    """The entry point of the command ``specgrad``."""
    app()

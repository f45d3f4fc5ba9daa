"""``python -m experiments NAME``, ``python -m experiments all``: recompute tables and figures."""

import pkgutil
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated

import matplotlib
import torch
import typer
from rich.console import Console
from rich.markup import escape

import experiments
from experiments._harness import execute
from experiments._options import Data, Network, Options

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def names() -> list[str]:
    """Every experiment: the files of this folder without an underscore in front."""
    return [
        module.name
        for module in pkgutil.iter_modules(experiments.__path__)
        if not module.name.startswith("_")
    ]


@app.command()
def main(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(names())}, or all.")],
    data: Annotated[Data, typer.Option(help="Images to train on.")] = Data.digits,
    root: Annotated[Path | None, typer.Option(help="Folder that holds them; digits need none.")] = None,
    side: Annotated[
        int, typer.Option(min=8, help="Pixels to which the sides of images from a folder are brought.")
    ] = 32,
    network: Annotated[
        Network | None,
        typer.Option(help="Instead of the one each experiment trains: small on digits, else ResNet-18."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Instead of the number each experiment has.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="How many; they are 0, 1, 2, ...")] = None,
    device: Annotated[str, typer.Option(help="Where PyTorch trains.")] = "cpu",
    workers: Annotated[int, typer.Option(min=1, help="Processes that compute cells at the same time.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder for tables and figures.")] = Path("experiments/results"),
    reduced: Annotated[
        bool, typer.Option("--reduced", help="Sizes that take seconds, to check the code.")
    ] = False,
) -> None:
    """Recompute tables and figures, print them beside the published numbers, and write CSV, Markdown and PNG.

    A killed run continues from its last finished cell.
    """
    if name not in (*names(), "all"):
        raise typer.BadParameter(f"There is no experiment {name!r}; there are {', '.join(names())}, and all.")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise typer.BadParameter(str(error).splitlines()[0], param_hint="--device") from None
    matplotlib.use("Agg")
    torch.set_num_threads(1)
    console = Console()
    options = Options(data, root, epochs, seeds, device, workers, reduced, network, side)
    for chosen in names() if name == "all" else [name]:
        try:
            execute(chosen, import_module(f"experiments.{chosen}").EXPERIMENT, options, out, console)
        except (ValueError, FileNotFoundError) as error:
            console.print(f"[bold red]{chosen}:[/] {escape(str(error))}", soft_wrap=True)
            sys.exit(1)


if __name__ == "__main__":
    app()

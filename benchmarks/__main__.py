"""``python -m benchmarks [--seconds S]``: print every table of ratios."""

from typing import Annotated

import torch
import typer

from benchmarks._harness import report
from benchmarks.eigh import eigh_rows, memory_rows
from benchmarks.generalised import generalised_rows
from benchmarks.layers import layer_rows
from benchmarks.matrix_functions import matrix_function_rows
from benchmarks.resnet import resnet_rows


def main(seconds: Annotated[float, typer.Option(min=0.1, help="Time for each comparison.")] = 4.0) -> None:
    """Print time and memory as ratios, measured interleaved in one process, on one thread."""
    torch.set_num_threads(1)
    report("Eigendecomposition, forward and backward", eigh_rows(seconds) + memory_rows())
    report("Eigenproblems in a metric, forward and backward", generalised_rows(seconds))
    report("Matrix functions, forward and backward", matrix_function_rows(seconds))
    report("Layers, forward and backward", layer_rows(seconds))
    report("Training step, five of each at least", resnet_rows(seconds))


if __name__ == "__main__":
    typer.run(main)

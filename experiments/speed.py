"""Time of a minibatch of ResNet-18 against batch normalisation (paper 1, end of section 3.2)."""

import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from experiments._harness import Cell, Experiment, Row, Table
from experiments._layers import STEPS, denoising
from experiments._networks import Layer, resnet
from experiments._options import Options
from specgrad import EnergyRatio
from specgrad_torch.nn import ZCAWhitening

__all__ = ["EXPERIMENT"]

# Milliseconds on the paper's GPU: ZCA by SVD-PI, and batch normalisation.
_PUBLISHED = 104.8 / 82.7
_LAYERS: dict[str, Layer] = {
    "BatchNorm2d": nn.BatchNorm2d,
    "ZCAWhitening(64)": ZCAWhitening,
    f"PCADenoising(64), K = {STEPS}": denoising(EnergyRatio(0.95), STEPS),
}


def _measure(options: Options, batch: int, rounds: int) -> list[Row]:
    """One training step of each network in turn, so that drift of the machine hits all alike."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, 3, 32, 32, generator=generator).to(options.device)
    labels = torch.randint(0, 10, (batch,), generator=generator).to(options.device)
    steps = {
        name: _step(resnet(18, 10, first=layer).to(options.device), x, labels)
        for name, layer in _LAYERS.items()
    }
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    return [
        {"layer": name, "batch": batch, "seconds": seconds, "ratio": seconds / medians["BatchNorm2d"]}
        for name, seconds in medians.items()
    ]


def _step(network: nn.Module, x: torch.Tensor, labels: torch.Tensor) -> Callable[[], None]:
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(network(x), labels).backward()
        optimizer.step()
        if x.is_cuda:
            torch.cuda.synchronize()

    return step


def _cells(options: Options) -> list[Cell]:
    batch, rounds = (4, 1) if options.reduced else (32, 4)
    return [Cell(f"batch {batch}", partial(_measure, options, batch, rounds))]


def _tables(rows: list[Row]) -> list[Table]:
    lines = [(row["layer"], row["batch"], row["seconds"], row["ratio"]) for row in rows]
    lines.append(("published: ZCA by SVD-PI, GPU, batch 128", 128, 0.1048, _PUBLISHED))
    return [
        Table(
            "Training step of ResNet-18", ("behind the first convolution", "batch", "seconds", "ratio"), lines
        )
    ]


EXPERIMENT = Experiment("time of a minibatch against batch normalisation (paper 1)", _cells, _tables)

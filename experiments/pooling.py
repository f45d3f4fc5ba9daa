"""Covariance pooling by the methods of paper 2, alone and under the hybrid protocol (main tables, Figure 2).

The hybrid protocol trains by Newton-Schulz iteration, and changes to the method when the learning rate decays
for the last time. Condition numbers are those of the pooled covariances (its Table 2). Effective smoothness
is the largest change of the gradient over a step along it, in units of the step (its Figure 1).
"""

from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn
from torch.nn import functional

from experiments._data import Images, load
from experiments._figures import COLORS
from experiments._harness import Cell, Experiment, Options, Row, Table
from experiments._networks import pooled_network
from experiments._training import train
from specgrad import (
    AcceptResidual,
    ClippedGap,
    DenseEigh,
    ExactGap,
    NewtonSchulz,
    NewtonSchulzGradient,
    PadeGap,
    PowerIteration,
    PowerIterationGap,
    TaylorGap,
    ThroughEigenvectors,
    TopNGap,
)
from specgrad.gradients import GradientRule
from specgrad_torch.nn import CovariancePooling, HybridProtocol

__all__ = ["EXPERIMENT"]

_WIDTH = 16
_ITERATION = NewtonSchulz(5, AcceptResidual())
_MILESTONES = (0.4, 0.7)
_RULES: dict[str, GradientRule | None] = {
    "SVD (MPN-COV)": ThroughEigenvectors(ExactGap()),
    "SVD-Trunc": ThroughEigenvectors(ClippedGap(1e10)),
    "SVD-TopN": ThroughEigenvectors(TopNGap(_WIDTH // 2)),
    "SVD-Taylor": ThroughEigenvectors(TaylorGap(100)),
    "SVD-Pade": ThroughEigenvectors(PadeGap()),
    "SVD-PI": ThroughEigenvectors(PowerIterationGap(19)),
    "SVD-Newton": NewtonSchulzGradient(5),
    "exact": None,
}
# Methods that differentiate their own steps.
_SOLVERS = {"Newton-Schulz (iSQRT-COV)": _ITERATION, "PI": PowerIteration(19)}
_METHODS = (*_SOLVERS, *_RULES)


def _pooling(method: str, hybrid: bool) -> CovariancePooling:
    if hybrid:
        return CovariancePooling(_WIDTH, truncation=None, solver=_ITERATION)
    if method in _SOLVERS:
        return CovariancePooling(_WIDTH, truncation=None, solver=_SOLVERS[method])
    return CovariancePooling(_WIDTH, truncation=None, gradient=_RULES[method])


def _run(options: Options, method: str, hybrid: bool, seed: int, epochs: int) -> list[Row]:
    images = load(options)
    protocols: list[HybridProtocol] = []
    rows: list[Row] = []

    def build() -> nn.Module:
        network = pooled_network(images.classes, _pooling(method, hybrid), images.train.shape[1], _WIDTH)
        if hybrid:
            last = max(1, round(max(_MILESTONES) * epochs))
            protocols.append(HybridProtocol(network, last, solver=DenseEigh(), gradient=_RULES[method]))
        return network

    def after_epoch(network: nn.Module, epoch: int) -> None:
        rows.append({"epoch": epoch, **_diagnosis(network, images)})
        for protocol in protocols:
            protocol.step()

    run = train(build, images, seed, epochs, 0.05, _MILESTONES, after_epoch, options.device)
    for row, error, top5 in zip(rows, run.errors, run.top5, strict=True):
        row |= {"error": error, "top5": top5}
    if run.failed_in_epoch is not None:
        rows.append(
            {"epoch": epochs, "condition": np.nan, "smoothness": np.nan, "error": np.nan, "top5": np.nan}
        )
    return [{"method": method, "hybrid": hybrid, "seed": seed, **row} for row in rows]


def _diagnosis(network: nn.Module, images: Images) -> Row:
    """Median condition number of pooled covariances, and effective smoothness, on one batch."""
    network.eval()  # so that running statistics stay
    parts = list(network)
    cut = next(k for k, part in enumerate(parts) if isinstance(part, CovariancePooling))
    device = next(network.parameters()).device
    x, labels = images.train[:64].to(device), images.train_labels[:64].to(device)
    features = nn.Sequential(*parts[:cut])(x).detach()
    samples = features.flatten(2) - features.flatten(2).mean(-1, keepdim=True)
    values = torch.linalg.eigvalsh((samples @ samples.mT).double() / samples.shape[-1])
    condition = (values[:, -1] / values[:, 0].clamp(min=1e-16 * values[:, -1])).median()

    def gradient(at: torch.Tensor) -> torch.Tensor:
        at = at.detach().requires_grad_()
        loss = functional.cross_entropy(nn.Sequential(*parts[cut:])(at), labels)
        return torch.autograd.grad(loss, at)[0]

    here = gradient(features)
    steps = [share * features.norm() / here.norm() for share in (0.001, 0.01, 0.1)]
    changes = [(gradient(features - step * here) - here).norm() / (step * here.norm()) for step in steps]
    return {"condition": float(condition), "smoothness": float(torch.stack(changes).max())}


def _cells(options: Options) -> list[Cell]:
    epochs = options.epochs or (2 if options.reduced else 8)
    seeds = options.seeds or (1 if options.reduced else 2)
    methods = ("Newton-Schulz (iSQRT-COV)", "SVD-PI", "exact") if options.reduced else _METHODS
    return [
        Cell(
            f"{method}{' hybrid' * hybrid} seed={seed}", partial(_run, options, method, hybrid, seed, epochs)
        )
        for method in methods
        for hybrid in ((False, True) if method in _RULES else (False,))
        for seed in range(seeds)
    ]


def _of(rows: list[Row], method: str, hybrid: bool) -> list[list[Row]]:
    """The rows of each seed."""
    found = [row for row in rows if row["method"] == method and str(row["hybrid"]) == str(hybrid)]
    return [[row for row in found if row["seed"] == seed] for seed in sorted({row["seed"] for row in found})]


def _tables(rows: list[Row]) -> list[Table]:
    lines = []
    for method in _METHODS:
        for hybrid in (False, True):
            runs = _of(rows, method, hybrid)
            finished = [run for run in runs if not np.isnan(run[-1]["error"])]
            if runs:
                name = f"{method}, hybrid" if hybrid else method
                lines.append(
                    (
                        name,
                        _mean([100 - run[-1]["error"] for run in finished]),
                        _mean([100 - min(row["error"] for row in run) for run in finished]),
                        _mean([100 - run[-1]["top5"] for run in finished]),
                        f"{len(runs) - len(finished)} of {len(runs)}",
                        _mean([run[-1]["condition"] for run in finished]),
                        _mean([run[-1]["smoothness"] for run in finished]),
                    )
                )
    columns = (
        "method",
        "final accuracy",
        "best accuracy",
        "final top 5",
        "did not converge",
        "condition number",
        "smoothness",
    )
    return [Table("Covariance pooling (per cent; means of the runs that finished)", columns, lines)]


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _figures(rows: list[Row]) -> dict[str, Figure]:
    figure, axes = plt.subplots(1, 2, figsize=(7.0, 3.0), sharey=True)
    for axis, hybrid in zip(axes, (False, True), strict=True):
        for k, method in enumerate(_METHODS):
            runs = [run for run in _of(rows, method, hybrid) if not np.isnan(run[-1]["error"])]
            if runs:
                epochs = [row["epoch"] for row in runs[0]]
                means = np.mean([[row["error"] for row in run] for run in runs], axis=0)
                line = "-" if k < len(COLORS) else "--"
                axis.plot(epochs, means, line, marker="o", color=COLORS[k % len(COLORS)], label=method)
        axis.set(yscale="log", xlabel="epoch", title="hybrid protocol" if hybrid else "alone")
        axis.set_yticks((5, 10, 20, 50), ("5", "10", "20", "50"), minor=False)
        axis.minorticks_off()
    axes[0].set_ylabel("test error (per cent)")
    axes[1].legend(*axes[0].get_legend_handles_labels(), fontsize=6, loc="upper right")
    return {"": figure}


EXPERIMENT = Experiment(
    "covariance pooling, alone and under the hybrid protocol (paper 2)", _cells, _tables, _figures
)

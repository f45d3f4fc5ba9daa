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
from experiments._harness import Cell, Experiment, Row, Table
from experiments._networks import pooled_network
from experiments._options import Options
from experiments._training import train
from specgrad import (
    AcceptResidual,
    ClippedGap,
    ConvergenceError,
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

# Channels of residual networks are brought to this number first, by a 1 x 1 convolution, as paper 2 does.
_WIDTH = 256
_ITERATION = NewtonSchulz(5, AcceptResidual())
_MILESTONES = (0.4, 0.7)
# Final top 1 and top 5 in a ResNet-50 on ImageNet. iSQRT-COV: Li, Xie, Wang and Gao, "Towards faster
# training of global covariance pooling networks by iterative matrix square root normalization", CVPR 2018.
# MPN-COV: the model that the authors of "Is second-order information helpful for large-scale visual
# recognition?", ICCV 2017, give with their code, github.com/jiangtaoxie/MPN-COV.
_PUBLISHED = {"iSQRT-COV": (100 - 22.14, 100 - 6.22), "SVD (MPN-COV)": (100 - 22.27, 100 - 6.35)}
# Methods that differentiate their own steps.
_SOLVERS = {"Newton-Schulz (iSQRT-COV)": _ITERATION, "PI": PowerIteration(19)}


def _rules(channels: int) -> dict[str, GradientRule | None]:
    """The gradients of methods that decompose covariances of so many channels."""
    return {
        "SVD (MPN-COV)": ThroughEigenvectors(ExactGap()),
        "SVD-Trunc": ThroughEigenvectors(ClippedGap(1e10)),
        "SVD-TopN": ThroughEigenvectors(TopNGap(channels // 2)),
        "SVD-Taylor": ThroughEigenvectors(TaylorGap(100)),
        "SVD-Pade": ThroughEigenvectors(PadeGap()),
        "SVD-PI": ThroughEigenvectors(PowerIterationGap(19)),
        "SVD-Newton": NewtonSchulzGradient(5),
        "exact": None,
    }


_METHODS = (*_SOLVERS, *_rules(_WIDTH))


def _pooling(method: str, features: int) -> CovariancePooling:
    reduction = _WIDTH if features > _WIDTH else None
    solver = _SOLVERS.get(method, DenseEigh())
    gradient = None if method in _SOLVERS else _rules(reduction or features)[method]
    return CovariancePooling(features, reduction=reduction, solver=solver, gradient=gradient)


def _run(options: Options, method: str, hybrid: bool, seed: int, epochs: int) -> list[Row]:
    images, name = load(options), options.networks[0]
    protocols: list[HybridProtocol] = []
    rows: list[Row] = []

    def build() -> nn.Module:
        pooling = partial(_pooling, method)
        network = pooled_network(name, images.classes, pooling, images.train.shape[1])
        if hybrid:
            layer = next(part for part in network if isinstance(part, CovariancePooling))
            gradient, layer.solver, layer.gradient = layer.gradient, _ITERATION, None
            last = max(1, round(max(_MILESTONES) * epochs))
            protocols.append(HybridProtocol(network, last, gradient=gradient))
        return network

    def after_epoch(network: nn.Module, epoch: int) -> None:
        try:
            found = _diagnosis(network, images)
        except (torch.linalg.LinAlgError, ConvergenceError):  # of a network that diverges
            found = {"condition": np.nan, "smoothness": np.nan}
        rows.append({"epoch": epoch, **found})
        for protocol in protocols:
            protocol.step()

    run = train(build, images, seed, epochs, 0.05, _MILESTONES, after_epoch, options.device)
    for row, error, top5 in zip(rows, run.errors, run.top5, strict=True):
        row |= {"error": error, "top5": top5}
    if run.failed_in_epoch is not None:
        missing = dict.fromkeys(("condition", "smoothness", "error", "top5"), np.nan)
        rows.append({"epoch": run.failed_in_epoch + 1, **missing})
    run_of: Row = {"network": name.value, "method": method, "hybrid": hybrid, "seed": seed}
    return [run_of | row for row in rows]


def _diagnosis(network: nn.Module, images: Images) -> Row:
    """Median condition number of pooled covariances, and effective smoothness, on one batch."""
    network.eval()  # so that running statistics stay
    parts = list(network)
    cut = next(k for k, part in enumerate(parts) if isinstance(part, CovariancePooling))
    device = next(network.parameters()).device
    x, labels = images.train[:64].to(device), images.train_labels[:64].to(device)
    features = nn.Sequential(*parts[:cut])(x).detach()
    samples = parts[cut].reduction(features.flatten(2)).detach()
    samples = samples - samples.mean(-1, keepdim=True)
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
        for hybrid in ((False,) if method in _SOLVERS else (False, True))
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
    lines += [
        (f"published, ResNet-50 on ImageNet: {method}", top1, "", top5, "", "", "")
        for method, (top1, top5) in _PUBLISHED.items()
    ]
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
    return {"": _errors_by_epoch(rows), "curves": _diagnoses_by_epoch(rows)}


def _errors_by_epoch(rows: list[Row]) -> Figure:
    figure, axes = plt.subplots(1, 2, figsize=(7.0, 3.6), sharey=True)
    for axis, hybrid in zip(axes, (False, True), strict=True):
        for k, method in enumerate(_METHODS):
            runs = [run for run in _of(rows, method, hybrid) if not np.isnan(run[-1]["error"])]
            if runs:
                epochs = [row["epoch"] for row in runs[0]]
                means = np.mean([[row["error"] for row in run] for run in runs], axis=0)
                axis.plot(epochs, means, label=method, **_style(k))
        axis.set(yscale="log", xlabel="epoch", title="hybrid protocol" if hybrid else "alone")
        axis.set_yticks((5, 10, 20, 50), ("5", "10", "20", "50"), minor=False)
        axis.minorticks_off()
    axes[0].set_ylabel("test error (per cent)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=7)
    return figure


def _diagnoses_by_epoch(rows: list[Row]) -> Figure:
    """Condition number and smoothness of each method alone: geometric means where each seed has one."""
    labels = {"condition": "condition number of covariances", "smoothness": "effective smoothness"}
    figure, axes = plt.subplots(1, 2, figsize=(7.0, 4.0))
    for axis, (column, label) in zip(axes, labels.items(), strict=True):
        shown: list[float] = []
        for k, method in enumerate(_METHODS):
            by_epoch: dict[int, list[float]] = {}
            for row in (row for run in _of(rows, method, False) for row in run):
                by_epoch.setdefault(row["epoch"], []).append(row[column] if row[column] > 0 else np.nan)
            means = [float(np.exp(np.mean(np.log(found)))) for found in by_epoch.values()]
            # Curves that coincide stay visible through the larger, open markers of earlier ones.
            style = {"markersize": 10 - 0.7 * k, "markerfacecolor": "none"}
            axis.plot(list(by_epoch), means, label=method, **_style(k), **style)
            shown += [mean for mean in means if np.isfinite(mean)]
        # Values that are all alike, as of singular covariances, have no range of their own.
        limits = min(shown, default=1.0) / 1.5, max(shown, default=1.0) * 1.5
        axis.set(ylim=limits, yscale="log", xlabel="epoch", ylabel=label)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    return figure


def _style(k: int) -> dict[str, str]:
    """A colour, a marker and a line that together tell the methods apart."""
    line = "-" if k < len(COLORS) else "--"
    return {"color": COLORS[k % len(COLORS)], "marker": "oXs^vD<>P*"[k], "linestyle": line}


EXPERIMENT = Experiment(
    "covariance pooling, alone and under the hybrid protocol (paper 2)", _cells, _tables, _figures
)

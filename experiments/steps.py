"""Power iterations needed per ratio of eigenvalues, and the ratios and ranks that networks have.

The published table names a tolerance in its header to which its entries do not belong; both are shown.
"""

from collections.abc import Iterator
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from experiments._data import load
from experiments._harness import Cell, Experiment, Row, Table
from experiments._layers import whitening
from experiments._networks import small_network
from experiments._options import Options
from experiments._training import train
from specgrad import required_steps

__all__ = ["EXPERIMENT", "PUBLISHED", "measure", "observe"]

# Wang et al., Table 1: the number of iterations for each ratio.
PUBLISHED = {
    0.2: 2,
    0.4: 4,
    0.6: 6,
    0.8: 14,
    0.85: 19,
    0.9: 29,
    0.95: 59,
    0.99: 299,
    0.995: 598,
    0.999: 2995,
}


_PLACES = {"first": 1, "second": 5}  # by the layers in front
_ENERGIES = (85, 99, 99.5)


def cells(options: Options) -> Iterator[Cell]:
    yield Cell("table", measure)
    epochs = options.epochs or (1 if options.reduced else 4)
    for place in _PLACES:
        for seed in range(options.seeds or (1 if options.reduced else 3)):
            yield Cell(f"{place}, seed {seed}", partial(observe, options, place, seed, epochs))


def measure() -> list[Row]:
    """The formula, and the number found by multiplying until the power is small enough."""
    rows = []
    for tolerance in (0.05, 0.01):
        for ratio, published in PUBLISHED.items():
            needed = required_steps(ratio, tolerance)
            row = {"tolerance": tolerance, "ratio": ratio, "published": published, "formula": needed}
            rows.append(row | {"counted": _count(ratio, tolerance)})
    return rows


def _count(ratio: float, tolerance: float) -> int:
    """How many products bring the power of a ratio to the tolerance."""
    steps, power = 0, 1.0
    while power > tolerance:
        steps, power = steps + 1, power * ratio
    return steps


def observe(options: Options, place: str, seed: int, epochs: int) -> list[Row]:
    """Spectra of the covariances that whitening meets behind a convolution, of the batches after training."""
    images = load(options)
    position = _PLACES[place]
    layers = {place: whitening(64)["exact"]}
    seen: list[Tensor] = []

    def look(network: nn.Module, epoch: int) -> None:
        if epoch == epochs:
            with torch.no_grad():
                batches = images.train[:1024].to(next(network.parameters()).device).split(64)
                seen.extend(network[:position](batch) for batch in batches)

    train(
        partial(small_network, images.classes, channels=images.train.shape[1], **layers),
        images,
        seed,
        epochs,
        after_epoch=look,
        device=options.device,
    )
    spectra = []
    for features in seen:
        samples = features.movedim(1, 0).flatten(1).double()
        spectra.append(torch.linalg.eigvalsh(torch.cov(samples)).flip(-1))
    values = torch.stack(spectra)
    # What rounding of float32 features leaves of a null space is no eigenvalue.
    kept = values[:, 1:] > torch.finfo(torch.float32).eps * values[:, :1]
    ratios = (values[:, 1:] / values[:, :-1])[kept]
    energy = values.cumsum(-1) / values.sum(-1, keepdim=True)
    row: Row = {"place": place, "seed": seed, "mean_ratio": ratios.mean().item()}
    row["rank"] = 1 + kept.sum(-1).double().mean().item()
    for share in _ENERGIES:
        row[_kept(share)] = 1 + (energy < share / 100).sum(-1).double().mean().item()
    return [row]


def tables(rows: list[Row]) -> list[Table]:
    lines = [["published", *PUBLISHED.values()]]
    for tolerance in (0.05, 0.01):
        own = [row for row in rows if row.get("tolerance") == tolerance]
        lines.append([f"q^K <= {tolerance:g}, by formula", *(row["formula"] for row in own)])
        lines.append([f"q^K <= {tolerance:g}, counted", *(row["counted"] for row in own)])
    head = ["ratio q", *(f"{ratio:g}" for ratio in PUBLISHED)]
    spectra = [["published (rank not given)", "0.84 to 0.86", 19, "", "< 7", "15", "31"]]
    for place in _PLACES:
        own = [row for row in rows if row.get("place") == place]
        ratio = float(np.mean([row["mean_ratio"] for row in own]))
        ranks = [float(np.mean([row[key] for row in own])) for key in ("rank", *map(_kept, _ENERGIES))]
        entries = (required_steps(ratio), *(f"{rank:.1f}" for rank in ranks))
        spectra.append([f"ours, behind the {place} convolution", ratio, *entries])
    columns = ["spectra", "mean ratio", "K for it", "rank", *(f"kept at {share:g} %" for share in _ENERGIES)]
    return [
        Table(
            "Power iterations needed; the published header says 0.01 (Wang et al. 2019, Table 1)", head, lines
        ),
        Table("Spectra of 64 channels that whitening meets, means over batches and seeds", columns, spectra),
    ]


def _kept(share: float) -> str:
    return f"rank_{share:g}"


def draw(rows: list[Row]) -> dict[str, Figure]:
    figure, panel = plt.subplots(figsize=(4.5, 3.2))
    distance = np.geomspace(1e-3, 0.8, 200)
    for tolerance, line in ((0.05, "-"), (0.01, "--")):
        panel.loglog(
            distance,
            [required_steps(1 - d, tolerance) for d in distance],
            line,
            label=f"q^K <= {tolerance:g}",
        )
    panel.loglog([1 - q for q in PUBLISHED], PUBLISHED.values(), "ko", label="published table")
    panel.invert_xaxis()
    panel.set_xlabel("1 - q, q the ratio of neighbouring eigenvalues")
    panel.set_ylabel("power iterations K")
    panel.legend()
    return {"": figure}


EXPERIMENT = Experiment("power iterations needed per ratio (Wang et al. 2019, Table 1)", cells, tables, draw)

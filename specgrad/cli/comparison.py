"""The gradient of one loss by every gap rule, beside an independent reference.

The loss is ``<B, P>``, with ``P`` the projector on the subspace of some eigenvectors. It does not depend
on the basis of that subspace, so its gradient exists whenever the eigenvalues inside and outside differ,
however close those inside are. The reference is the derivative of the projector itself, which divides by
no gap but those across the cut.
"""

from importlib import import_module
from importlib.util import find_spec
from math import inf
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from specgrad.decompositions import eigh
from specgrad.gaps import (
    BalancedPowerIterationGap,
    BroadenedGap,
    ClippedGap,
    ExactGap,
    GapRule,
    MaskedGap,
    PadeGap,
    PowerIterationGap,
    TaylorGap,
    TopNGap,
)
from specgrad.solvers import Solver
from specgrad.transforms import vjp

__all__ = ["Case", "Row", "closed_form", "compare", "digits_cases"]

Matrix = NDArray[np.float64]

DOMINANT = 8

_GAP_RULES: tuple[GapRule, ...] = (
    ExactGap(),
    MaskedGap(),
    BroadenedGap(),
    ClippedGap(),
    TopNGap(count=DOMINANT),
    TaylorGap(),
    PadeGap(),
    PowerIterationGap(),
    BalancedPowerIterationGap(),
)


class Case(NamedTuple):
    """A matrix, and the subspace that the loss looks at: eigenvalues from `start` to `stop`, ascending."""

    title: str
    matrix: Matrix
    start: int
    stop: int


class Row(NamedTuple):
    """What one way to differentiate gives for one case."""

    name: str
    is_finite: bool
    largest_entry: float
    largest_pair: float | None
    bound: float | None
    error: float


def digits_cases() -> tuple[Case, ...]:
    """The covariance of the handwritten digits, seen from both ends, and its spectrum with an exact tie."""
    covariance: Matrix = np.cov(load_digits().data.T / 16)
    size, cut = len(covariance), len(covariance) - DOMINANT
    tied = np.linalg.eigvalsh(covariance)
    tied[-2] = tied[-3]
    return (
        Case(f"Digits: the {DOMINANT} dominant eigenvectors", covariance, cut, size),
        Case(f"Digits: the {cut} others, a cluster at zero among them", covariance, 0, cut),
        Case(f"The same spectrum with an exact tie: the {DOMINANT} dominant", np.diag(tied), cut, size),
    )


def compare(case: Case, solver: Solver) -> list[Row]:
    """One row for every gap rule, and one for PyTorch's own backward where PyTorch is installed."""
    weight = _weight(len(case.matrix))
    reference = closed_form(case, weight)
    rows = [_row_of_rule(rule, case, solver, weight, reference) for rule in _GAP_RULES]
    if find_spec("torch") is not None:
        rows.append(_row("torch.linalg.eigh", _by_torch(case, weight), reference, None, None))
    return rows


def closed_form(case: Case, weight: Matrix) -> Matrix:
    """The derivative of ``<weight, P>``: Daleckii-Krein with the divided difference of a projector."""
    values, vectors = np.linalg.eigh(case.matrix)
    inside = np.zeros(len(values), dtype=bool)
    inside[case.start : case.stop] = True
    gaps = values[:, None] - values
    across = inside[:, None] & ~inside
    divided = np.divide(1.0, gaps, out=np.zeros_like(gaps), where=across)
    gradient: Matrix = vectors @ ((divided + divided.T) * (vectors.T @ weight @ vectors)) @ vectors.T
    return gradient


def _weight(size: int) -> Matrix:
    entries = np.random.default_rng(0).standard_normal((size, size))
    return (entries + entries.T) / 2


def _row_of_rule(rule: GapRule, case: Case, solver: Solver, weight: Matrix, reference: Matrix) -> Row:
    # The exact rule divides by zero here, which is what the row is to show.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        (values, vectors), pullback = vjp(eigh, case.matrix, gap=rule, solver=solver)
        subspace = slice(case.start, case.stop)
        g_vectors = np.zeros_like(vectors)
        g_vectors[:, subspace] = 2 * weight @ vectors[:, subspace]
        (gradient,) = pullback((None, g_vectors))
        largest_pair, bound = float(np.max(np.abs(rule.matrix(values)))), float(rule.bound(values))
    return _row(type(rule).__name__, gradient, reference, largest_pair, bound)


def _by_torch(case: Case, weight: Matrix) -> Matrix:
    torch = import_module("torch")
    matrix = torch.tensor(case.matrix, requires_grad=True)
    subspace = torch.linalg.eigh(matrix).eigenvectors[:, case.start : case.stop]
    torch.sum(torch.tensor(weight) * (subspace @ subspace.T)).backward()
    gradient: Matrix = matrix.grad.numpy()
    return (gradient + gradient.T) / 2


def _row(
    name: str, gradient: Matrix, reference: Matrix, largest_pair: float | None, bound: float | None
) -> Row:
    is_finite = bool(np.all(np.isfinite(gradient)))
    error = float(np.linalg.norm(gradient - reference) / np.linalg.norm(reference)) if is_finite else inf
    return Row(name, is_finite, float(np.max(np.abs(gradient))), largest_pair, bound, error)

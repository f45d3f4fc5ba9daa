"""Gradients of eigh and eigvalsh against finite differences: rules, ties, a solver, truncations."""

import numpy as np
import pytest

from specgrad import (
    BalancedPowerIterationGap,
    DenseSVD,
    EigenvalueFloor,
    EnergyRatio,
    ExactGap,
    MaxRank,
    eigh,
    eigvalsh,
)
from specgrad.testing import ClusterLoss, LinearLoss, check_gradient, gap_spectrum


def apart(n):
    """A loss that tells all eigenvectors apart."""
    return ClusterLoss(tuple((i,) for i in range(n)))


def test_finite_differences_of_eigenvectors(backend, dtype):
    a = np.stack([gap_spectrum(0.2).matrix(5, dtype, seed) for seed in range(2)])
    for rule in (None, ExactGap(), BalancedPowerIterationGap(20_000)):
        check_gradient(eigh, backend.array(a), loss=apart(5), radius=0.1, gap=rule)


def test_finite_differences_of_a_subspace_at_a_tie(backend, double):
    check_gradient(
        eigh, backend.array(np.diag([1.0, 3.0, 3.0]).astype(double)), loss=ClusterLoss(((1, 2),)), radius=0.3
    )


def test_finite_differences_through_the_svd(backend, double):
    a = backend.array(gap_spectrum(0.2).matrix(4, double))
    check_gradient(eigh, a, loss=apart(4), radius=0.1, solver=DenseSVD())


@pytest.mark.parametrize(
    "truncation",
    [MaxRank(2), EigenvalueFloor(0.3), EnergyRatio(0.5), EigenvalueFloor(0.3) & MaxRank(2)],
    ids=repr,
)
def test_finite_differences_under_a_truncation(backend, double, truncation):
    # Largest first: columns 0 and 1 are the leading pair.
    a = backend.array(gap_spectrum(0.1).matrix(5, double))
    for loss in (ClusterLoss(((0, 1),)), ClusterLoss(((0,), (1,)))):
        check_gradient(eigh, a, loss=loss, radius=0.05, truncation=truncation)


def test_finite_differences_of_eigenvalues(backend, dtype):
    a = np.stack([gap_spectrum(0.1).matrix(4, dtype, seed) for seed in range(3)])
    check_gradient(eigvalsh, backend.array(a), loss=LinearLoss(), radius=0.05)

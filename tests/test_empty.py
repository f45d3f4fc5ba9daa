"""Matrices of no size and batches of no matrix have a right answer."""

from dataclasses import dataclass

import numpy as np
import pytest

from specgrad import (
    BroadenedGap,
    DenseSVD,
    EigenvalueFloor,
    EnergyRatio,
    Fallback,
    MaxRank,
    PowerIteration,
    RayleighMismatch,
    Refined,
    ThroughEigenvectors,
    eigh,
    eigvalsh,
    inv_sqrtm,
    jvp,
    logm,
    pca_denoise,
    spectral_projector,
    sqrtm,
    vjp,
    zca_whiten,
)
from specgrad._array import differences
from specgrad._namespace import namespace
from specgrad.solvers import DenseEigh


@pytest.mark.parametrize(
    "solver",
    [DenseEigh(), DenseSVD(), Fallback(DenseSVD(), DenseEigh()), Refined(), PowerIteration(3)],
    ids=repr,
)
@pytest.mark.parametrize("shape", [(0, 0), (3, 0, 0), (0, 2, 2), (2, 0, 3, 3)])
def test_empty_input_has_empty_output_and_gradient(backend, dtype, shape, solver):
    a = backend.array(np.zeros(shape, dtype=dtype))
    (values, vectors), pullback = vjp(eigh, a, solver=solver)
    assert tuple(values.shape) == shape[:-1]
    assert tuple(vectors.shape) == shape
    assert tuple(pullback((values, vectors))[0].shape) == shape
    _, tangents = jvp(eigh, (a,), (a,), solver=solver)
    assert tuple(tangents.eigenvectors.shape) == shape
    assert tuple(eigvalsh(a).shape) == shape[:-1]


@pytest.mark.parametrize("shape", [(0, 0), (2, 0, 0)], ids=str)
@pytest.mark.parametrize(
    "truncation",
    [
        MaxRank(1),
        EigenvalueFloor(),
        EnergyRatio(0.9),
        RayleighMismatch(),
        EnergyRatio(0.9) & EigenvalueFloor(),
    ],
    ids=repr,
)
def test_empty_with_a_truncation(backend, double, truncation, shape):
    a = backend.array(np.zeros(shape, dtype=double))
    assert tuple(eigh(a, truncation=truncation).eigenvectors.shape) == shape
    for function in (inv_sqrtm, logm):
        value, pullback = vjp(function, a, truncation=truncation)
        assert tuple(value.shape) == tuple(pullback(a)[0].shape) == shape
    assert tuple(spectral_projector(a, truncation).shape) == shape
    samples = backend.array(np.zeros((*shape[:-1], 5), dtype=double))
    assert tuple(zca_whiten(samples, truncation=truncation).whitened.shape) == (*shape[:-1], 5)
    assert tuple(pca_denoise(samples, truncation=truncation).denoised.shape) == (*shape[:-1], 5)


def test_empty_with_rules_that_expect_a_largest_eigenvalue(backend, double):
    @dataclass(frozen=True)
    class Relative:
        def matrix(self, values):
            xp = namespace(values)
            return differences(values) / xp.max(xp.abs(values), axis=-1)[..., None, None]

    a = backend.array(np.zeros((2, 0, 0), dtype=double))
    assert tuple(jvp(eigh, (a,), (a,), gap=Relative())[1].eigenvectors.shape) == (2, 0, 0)
    gradient = ThroughEigenvectors(Relative())
    assert tuple(vjp(sqrtm, a, gradient=gradient)[1](a)[0].shape) == (2, 0, 0)
    assert tuple(jvp(sqrtm, (a,), (a,), gradient=gradient)[1].shape) == (2, 0, 0)


def test_the_bound_of_an_empty_spectrum_is_that_of_one_of_size_one(backend):
    bound = BroadenedGap(1e-3).bound(backend.array(np.zeros((3, 0))))
    np.testing.assert_allclose(backend.numpy(bound), 500.0)

"""Whatever gap rule decides at a truncation's cut, derivatives are those of a Hermitian function."""

import numpy as np
import pytest
from sampling import samples

from specgrad import (
    BalancedPowerIterationGap,
    BroadenedGap,
    ClippedGap,
    DaleckiiKrein,
    ExactGap,
    MaskedGap,
    MaxRank,
    PadeGap,
    PowerIterationGap,
    TaylorGap,
    ThroughEigenvectors,
    TopNGap,
    jvp,
    pca_denoise,
    spectral_projector,
    sqrtm,
    vjp,
    zca_whiten,
)
from specgrad.bind import Evaluate
from specgrad.functions import Sqrt
from specgrad.primitives import Frechet
from specgrad.testing import random_unitary

KEPT = MaxRank(2)
RULES = [
    ExactGap(),
    MaskedGap(),
    BroadenedGap(0.1),
    ClippedGap(),
    TopNGap(2),
    PowerIterationGap(3),
    BalancedPowerIterationGap(3),
    TaylorGap(5),
    PadeGap(2),
]


def matrix(dtype, seed=0):
    generator = np.random.default_rng(seed)
    q = random_unitary(4, dtype, generator)
    a = (q * np.array([4.0, 2.5, 1.5, 0.5])) @ q.conj().T
    return (a + a.conj().T) / 2


def directions(dtype):
    return [matrix(dtype, seed) for seed in (1, 2, 3)]


@pytest.mark.parametrize("function", [pca_denoise, zca_whiten])
@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_vjp_and_jvp_of_data_are_adjoint(backend, double, rule, function):
    x, dx, g = (samples(double, (4, 10), seed=seed) for seed in (0, 1, 2))
    options = {"truncation": KEPT, "gradient": DaleckiiKrein(cut=rule)}
    output, pullback = vjp(function, backend.array(x), **options)
    (gradient,) = pullback((backend.array(g), *(None,) * (len(output) - 1)))
    _, tangent = jvp(function, (backend.array(x),), (backend.array(dx),), **options)
    expected = np.vdot(g, backend.numpy(tangent[0])).real
    assert np.vdot(backend.numpy(gradient), dx).real == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_the_gradient_is_hermitian(backend, double, rule):
    (g, *_), a, gradient = directions(double), backend.array(matrix(double)), DaleckiiKrein(cut=rule)
    for _, pullback in (
        vjp(sqrtm, a, truncation=KEPT, gradient=gradient),
        vjp(spectral_projector, a, KEPT, gradient=gradient),
    ):
        found = backend.numpy(pullback(backend.array(g))[0])
        np.testing.assert_allclose(found, found.conj().T, rtol=0, atol=1e-14)


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_across_the_cut_it_is_what_composition_from_eigenvectors_gives(backend, double, rule):
    a, (g, *_) = matrix(double), directions(double)
    vectors = np.linalg.eigh(a)[1]
    found = []
    for gradient in (DaleckiiKrein(cut=rule), ThroughEigenvectors(rule)):
        _, pullback = vjp(sqrtm, backend.array(a), truncation=KEPT, gradient=gradient)
        found.append(vectors.conj().T @ backend.numpy(pullback(backend.array(g))[0]) @ vectors)
    np.testing.assert_allclose(found[0][2:, :2], found[1][2:, :2], rtol=0, atol=1e-14)


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_the_second_derivative_is_hermitian(backend, double, rule):
    values, vectors = np.linalg.eigh(matrix(double))
    g, e, _ = directions(double)
    given = (matrix(double), np.asarray(2, dtype=np.int32), values[::-1].copy(), vectors[:, ::-1].copy(), e)
    arrays = tuple(backend.array(x) for x in given)
    operation = Frechet(function=Sqrt(), rule=DaleckiiKrein(cut=rule))
    outputs = operation.forward(*arrays)
    gradient = backend.numpy(operation.vjp(Evaluate(), arrays, outputs, (backend.array(g),))[0])
    np.testing.assert_allclose(gradient, gradient.conj().T, rtol=0, atol=1e-13)

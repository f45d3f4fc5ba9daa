"""Whatever gap rule decides at a truncation's cut, derivatives are those of a Hermitian function."""

import numpy as np
import pytest
from sampling import samples

from specgrad import (
    BalancedPowerIterationGap,
    BroadenedGap,
    ClippedGap,
    DaleckiiKrein,
    EigenvalueFloor,
    ExactGap,
    MaskedCut,
    MaskedGap,
    MaxRank,
    PadeGap,
    PowerIterationGap,
    TaylorGap,
    ThroughEigenvectors,
    TopNGap,
    inv_sqrtm,
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
    MaskedCut(),
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


@pytest.mark.parametrize(("function", "image"), [(sqrtm, 1e-6), (inv_sqrtm, 1e6), (spectral_projector, 1.0)])
def test_a_small_eigenvalue_that_is_kept_is_cut_from_zeros_exactly(backend, function, image):
    # In the size of the largest the two are nearly equal, and beside each other they are not.
    a, cotangent = np.diag([1.0, 1e-12, 0.0]), np.zeros((3, 3))
    cotangent[1, 2] = cotangent[2, 1] = 1
    _, pullback = vjp(function, backend.array(a), truncation=EigenvalueFloor())
    (gradient,) = pullback(backend.array(cotangent))
    np.testing.assert_allclose(backend.numpy(gradient), image / 1e-12 * cotangent, rtol=1e-12)


@pytest.mark.parametrize(
    ("values", "separated"),
    [
        ((1.0, 1e-12, 1e-12 - 4e-16), False),  # to rounding of the largest
        ((1.0, 1e-12, 1e-12 - 5e-16), True),
        ((1.0, 6e-16, 0.0), False),  # 0 to rounding of three
        ((1.0, 7e-16, 0.0), True),
        ((1.0, 1 - 1e-12, 1e-12), False),  # to a share of themselves
        ((1.0, 1 - 4e-12, 1e-12), True),
    ],
)
def test_a_tie_is_one_beside_its_eigenvalues_or_to_rounding(backend, values, separated):
    pairs = backend.numpy(MaskedCut().matrix(backend.array(np.array(values))))
    assert (0 not in pairs[~np.eye(3, dtype=bool)]) == separated
    assert MaskedCut(tolerance=0.5).matrix(backend.array(np.array([1.0, 0.6])))[0, 1] == 0


def test_a_cut_among_subnormal_values_is_a_tie(backend):
    values = backend.array(np.array([1e-320, 2e-320, 0.0]))
    with np.errstate(over="raise"):
        assert np.isfinite(backend.numpy(MaskedCut().matrix(values))).all()
        assert np.isfinite(backend.numpy(MaskedCut().bound(values)))

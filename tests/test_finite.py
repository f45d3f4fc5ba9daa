"""Finite for every finite input and cotangent: every regularised rule, on every spectrum."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from specgrad import (
    BalancedPowerIterationGap,
    BroadenedGap,
    ClippedGap,
    MaskedGap,
    PadeGap,
    PowerIterationGap,
    ProjectGauge,
    TaylorGap,
    eigh,
    jvp,
    vjp,
)
from specgrad._array import hermitian_part
from specgrad.testing import SPECTRA, hermitian_matrices, random_hermitian, spectra

REGULARISED = [
    MaskedGap(),
    MaskedGap(noise=None),
    BroadenedGap(),
    ClippedGap(),
    PadeGap(),
    TaylorGap(),
    TaylorGap(degree=0),
    PowerIterationGap(),
    PowerIterationGap(1),
    BalancedPowerIterationGap(),
    BalancedPowerIterationGap(1),
]


def derivatives(backend, a, rule, seed=0):
    """The cotangent of a, and the tangents, for random cotangents that may depend on any gauge."""
    generator = np.random.default_rng(seed)
    x = backend.array(a)
    g_values = generator.standard_normal(a.shape[:-1]).astype(a.real.dtype)
    g_vectors = generator.standard_normal(a.shape).astype(a.dtype)
    direction = random_hermitian(a.shape[-1], a.dtype, generator) + np.zeros_like(a)
    _, pullback = vjp(eigh, x, gap=rule, gauge=ProjectGauge())
    (gradient,) = pullback((backend.array(g_values), backend.array(g_vectors)))
    _, tangents = jvp(eigh, (x,), (backend.array(direction),), gap=rule)
    return [backend.numpy(each) for each in (gradient, *tangents)]


@pytest.mark.parametrize("rule", REGULARISED, ids=repr)
def test_on_named_spectra(backend, dtype, rule):
    # Cotangents have size 1, and the gaps of the spectra near underflow are representable reciprocals.
    for n in (1, 2, 5):
        batch = np.stack([spectrum.matrix(n, dtype) for spectrum in SPECTRA])
        for each in derivatives(backend, batch, rule):
            finite = np.isfinite(each).reshape(len(SPECTRA), -1).all(axis=1)
            assert finite.all(), [str(s) for s, ok in zip(SPECTRA, finite, strict=True) if not ok]


@pytest.mark.parametrize("rule", REGULARISED, ids=repr)
@hypothesis.given(a=hermitian_matrices(), seed=st.integers(0, 100))
def test_on_drawn_matrices(backend, rule, a, seed):
    for each in derivatives(backend, a, rule, seed):
        assert np.isfinite(each).all()


@pytest.mark.parametrize("rule", REGULARISED, ids=repr)
@hypothesis.given(values=spectra())
def test_pair_matrices_of_drawn_spectra_stay_within_their_bound(backend, rule, values):
    pairs = backend.numpy(rule.matrix(backend.array(values)))
    bound = float(rule.bound(backend.array(values)))
    assert np.isfinite(pairs).all()
    assert np.max(np.abs(pairs)) <= bound * (1 + 64 * np.finfo(float).eps)


@pytest.mark.parametrize("rule", REGULARISED, ids=repr)
def test_ratios_of_zero_and_nearly_zero(backend, rule):
    # q = 0, tiny q, 0/0, and numbers whose reciprocal leaves the exponent range.
    for values in (
        [0.0, 1.0],
        [1e-20, 1.0],
        [1e-310, 1.0],
        [0.0, 0.0],
        [5e-324, 0.0],
        [1e-310, 2e-310],
        [-1e-20, 1.0],
    ):
        for each in derivatives(backend, np.diag(values), rule):
            assert np.isfinite(each).all(), values


@pytest.mark.parametrize("size", [1e-25, 1.0, 1e25])
def test_a_large_cotangent_is_not_taken_for_rounding(backend, size):
    cotangent = np.zeros((3, 3), dtype="float32")
    cotangent[1, 0] = size  # its square may leave the range
    with np.errstate(over="ignore"):
        _, pullback = vjp(eigh, backend.array(np.diag([1.0, 1.01, 2.0]).astype("float32")))
        gradient = backend.numpy(pullback((None, backend.array(cotangent)))[0])
    assert abs(gradient[1, 0]) == pytest.approx(0.5 * size / 0.01, rel=1e-4)


def test_the_hermitian_part_of_the_largest_numbers_is_finite(backend):
    a = np.array([[1.2e308, -1.2e308], [0.0, 1.2e308]])
    found = backend.numpy(hermitian_part(backend.array(a)))
    np.testing.assert_array_equal(found, 1.2e308 * np.array([[1.0, -0.5], [-0.5, 1.0]]))

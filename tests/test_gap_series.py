"""Gap rules from a series: their terms, and the bounds and errors that the papers give."""

import numpy as np
import pytest
from pair_matrices import exact, matrix

from specgrad import (
    BalancedPowerIterationGap,
    BroadenedGap,
    ClippedGap,
    ExactGap,
    MaskedGap,
    PadeGap,
    PowerIterationGap,
    TaylorGap,
    TopNGap,
)

SERIES = (TaylorGap(), PadeGap(), PowerIterationGap(), BalancedPowerIterationGap(3))
POSITIVE = np.array([0.3, 0.7, 1.5, 4.0])


@pytest.mark.parametrize("rule", [TaylorGap, BalancedPowerIterationGap, PowerIterationGap])
def test_more_terms_come_closer(backend, rule):
    errors = [np.max(np.abs(matrix(backend, rule(k), POSITIVE) - exact(POSITIVE))) for k in (2, 8, 32, 128)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-12 < 1e-3 < errors[0]


def test_series_are_geometric_sums(backend):
    for a, b in ((2.0, 0.5), (2.0, -1.9), (-3.0, 1.0), (1.0, 1e-20), (1.0, 0.0), (1.0, 1.0 - 1e-9)):
        q = np.longdouble(b) / np.longdouble(a)
        for terms in (1, 2, 19, 101):
            total = sum(q**k for k in range(terms)) / a
            pair = matrix(backend, TaylorGap(terms - 1), np.array([b, a]))[0, 1]
            np.testing.assert_allclose(pair, float(total), rtol=64 * np.finfo(float).eps)


def test_asymmetry_of_the_published_rule(backend):
    # Its symmetric part is q^(K-1)/(2 a), and its antisymmetric part the balanced rule.
    for steps in (1, 2, 5, 19):
        pairs = matrix(backend, PowerIterationGap(steps), POSITIVE)
        larger = np.maximum(POSITIVE[:, None], POSITIVE)
        ratio = np.minimum(POSITIVE[:, None], POSITIVE) / larger
        expected = ratio ** (steps - 1) / (2 * larger)
        np.fill_diagonal(expected, 0.0)
        allowed = 64 * np.finfo(float).eps * np.max(np.abs(pairs))
        np.testing.assert_allclose((pairs + pairs.T) / 2, expected, rtol=0, atol=allowed)
        balanced = matrix(backend, BalancedPowerIterationGap(steps), POSITIVE)
        np.testing.assert_allclose((pairs - pairs.T) / 2, balanced, rtol=0, atol=allowed)


def test_bounds_of_the_papers(backend):
    # The largest is taken at a tie, or next to one where ties are 0.
    close = np.array([0.5, 2.0 * (1 - 1e-15), 2.0])
    for rule, bound in (
        (PowerIterationGap(19), 19 / 2.0),
        (BalancedPowerIterationGap(19), 19 / 2.0),
        (TaylorGap(100), 101 / 2.0),
    ):
        np.testing.assert_allclose(backend.numpy(rule.bound(backend.array(close))), bound)
        reached = np.max(np.abs(matrix(backend, rule, close)[1:, 1:]))
        assert 0.96 * bound < reached <= bound
    assert float(ClippedGap(1e10).bound(backend.array(close))) == 1e10
    assert np.isinf(float(ExactGap().bound(backend.array(close))))


@pytest.mark.parametrize(
    ("q", "published"), [(0.1, 1e-12), (0.5, 1e-12), (0.9, 1e-12), (0.99, 1e-11), (0.999, 3e-10)]
)
def test_pade_error_table(backend, q, published):
    pair = matrix(backend, PadeGap(), np.array([q, 1.0]))[0, 1]
    assert abs(pair - 1 / (1 - q)) <= published


@pytest.mark.parametrize(("q", "published"), [(0.7, 7.63e-16), (0.9, 2.4e-4), (0.99, 36.2), (0.999, 904.0)])
def test_taylor_error_table(backend, q, published):
    pair = matrix(backend, TaylorGap(100), np.array([q, 1.0]))[0, 1]
    np.testing.assert_allclose(1 / (1 - q) - pair, published, rtol=0.02, atol=1e-15)


def test_pade_in_single_precision(backend):
    pair = matrix(backend, PadeGap(), np.array([0.999, 1.0], dtype=np.float32))[0, 1]
    gap = float(np.float32(1.0) - np.float32(0.999))
    assert abs(pair - 1 / gap) * gap < 5e-4


def test_eigenvalues_that_are_zero_have_no_series(backend):
    # a = 0 has no reciprocal; b = 0 is q = 0.
    for rule in SERIES:
        pairs = matrix(backend, rule, np.array([0.0, 0.0, 2.0]))
        assert np.isfinite(pairs).all()
        assert pairs[0, 1] == pairs[1, 0] == 0.0
        np.testing.assert_allclose(pairs[0, 2], 0.5, rtol=512 * np.finfo(float).eps)


def test_what_is_zero_beside_the_largest_has_no_series(backend):
    # Up to eps^2 of the largest magnitude; beyond, however small, a pair has its own ratio.
    zero = matrix(backend, TaylorGap(3), np.array([0.0, 1e-40, 1.0]))
    small = matrix(backend, TaylorGap(3), np.array([1e-20, 2e-20, 1.0]))
    assert zero[0, 1] == 0.0
    np.testing.assert_allclose(small[0, 1], (1 + 1 / 2 + 1 / 4 + 1 / 8) / 2e-20, rtol=1e-14)


@pytest.mark.parametrize("rule", SERIES, ids=repr)
def test_spectra_near_underflow_stay_finite(backend, rule):
    for values in ([4e-308, 4.0001e-308, 1e-280], [1e-300, 2e-300, 3e-305], [3e-308, 4e-308]):
        assert np.isfinite(matrix(backend, rule, np.array(values))).all()


def test_defaults_have_the_documented_bounds(backend, real):
    values, eps = np.array([0.5, 1.0], dtype=real), np.finfo(real).eps
    for rule, bound in (
        (BroadenedGap(), 0.5 / eps**0.75),
        (MaskedGap(), 1 / eps**0.75),
        (PadeGap(), 1 / (64 * eps)),
        (TaylorGap(), 101.0),
        (BalancedPowerIterationGap(), 19.0),
    ):
        found = backend.numpy(rule.bound(backend.array(values)))
        np.testing.assert_allclose(found, bound, rtol=1e-6, err_msg=repr(rule))


def test_the_bound_is_that_of_the_pair_of_the_smallest_values(backend):
    values = backend.array(np.array([4.0, 2.0, 1.0]))
    assert backend.numpy(PowerIterationGap(2).bound(values)) == 1.0  # K/a with a = 2, in any order


def test_of_many_equal_magnitudes_the_later_one_leads(backend):
    values = np.tile([-2.0, 2.0, 1.0], 10)
    leads = matrix(backend, PowerIterationGap(1), values) != 0
    equal = np.abs(values)[:, None] == np.abs(values)
    np.testing.assert_array_equal(leads[equal], np.triu(np.ones((30, 30), dtype=bool), 1)[equal])


def test_of_many_equal_magnitudes_the_first_are_dominant(backend):
    values = np.tile([-2.0, 2.0, 1.0], 10)
    with np.errstate(divide="ignore"):
        counted = matrix(backend, TopNGap(3), values) != 0
    dominant = np.isin(np.arange(30), [0, 1, 3])
    expected = (dominant[:, None] | dominant) & ~np.eye(30, dtype=bool)
    np.testing.assert_array_equal(counted, expected)

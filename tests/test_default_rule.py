"""What the default rule claims at every gap, and what its rounding floor takes and leaves."""

import numpy as np
import pytest
from subspace_cases import gradient_of, leading_pair, pair_case, relative_error

from specgrad import (
    BalancedPowerIterationGap,
    BroadenedGap,
    ExactGap,
    MaskedGap,
    PadeGap,
    PowerIterationGap,
    RoundingFloor,
    TaylorGap,
    TopNGap,
    eigh,
    vjp,
)
from specgrad.testing import (
    GAP_SWEEP,
    ClusterLoss,
    Spectrum,
    cluster_gradient,
    gap_spectrum,
    subspace_gradient,
)

# Rules that are right for a subspace loss at ties up to rounding: antisymmetric, close to exact at the cut,
# and with a bound or a floor that keeps rounding small.
RIGHT_AT_TIES = [
    MaskedGap(),
    BroadenedGap(width=1e-7),
    PadeGap(noise=RoundingFloor()),
    BalancedPowerIterationGap(60),
    TaylorGap(60),
]


CLUSTER_OF_40 = Spectrum(
    "40 within a thousandth",
    lambda n, precision, generator: np.r_[np.linspace(0.1, 0.6, n - 40), np.linspace(0.999, 1.0, 40)],
)


@pytest.mark.parametrize("spectrum", GAP_SWEEP, ids=str)
def test_default_rule_is_right_at_every_gap(backend, double, spectrum):
    for n in (3, 16):
        a, expected = pair_case(spectrum, n, double)
        assert relative_error(gradient_of(backend, leading_pair(n), a), expected) <= 1e-12


@pytest.mark.parametrize("gap", [1e-1, 1e-6, 1e-12, 0.0])
def test_default_rule_is_right_at_size_64(backend, double, gap):
    a, expected = pair_case(gap_spectrum(gap), 64, double)
    assert relative_error(gradient_of(backend, leading_pair(64), a), expected) <= 1e-12


@pytest.mark.parametrize("single", ["float32", "complex64"])
@pytest.mark.parametrize("gap", [1e-1, 1e-3, 1e-6, 0.0])
def test_default_rule_is_right_in_single_precision(backend, single, gap):
    a, expected = pair_case(gap_spectrum(gap), 64, single)
    assert relative_error(gradient_of(backend, leading_pair(64), a), expected) <= 1e-5


def test_default_rule_is_right_in_single_precision_at_size_512(backend):
    a, expected = pair_case(gap_spectrum(1e-6), 512, "float32")
    assert relative_error(gradient_of(backend, leading_pair(512), a), expected) <= 1e-5


def test_default_rule_is_right_in_single_precision_for_a_large_cluster(backend):
    loss = ClusterLoss((tuple(range(88, 128)),))
    a = CLUSTER_OF_40.matrix(128, "float32")
    error = relative_error(gradient_of(backend, loss, a), subspace_gradient(a, loss))
    assert error <= 1e-5


def test_rounding_floor_keeps_what_single_eigenvectors_say_in_single_precision(backend):
    """A thermal mean over 300 levels, of which hundreds are closer than the reach of the floor."""
    n, draw = 300, np.random.default_rng(1)
    levels = np.linspace(0.0, 1.0, n)
    q = np.linalg.qr(draw.standard_normal((n, n)))[0]
    a, b = ((x + x.T) / 2 for x in ((q * levels) @ q.T, draw.standard_normal((n, n)) / n**0.5))
    a, b, weights = (x.astype("float32") for x in (a, b, np.exp(-10 * levels)))

    def cotangent(vectors):
        return 2 * (b.astype(vectors.dtype) @ vectors) * weights

    (_, vectors), pullback = vjp(eigh, backend.array(a))
    (gradient,) = pullback((None, backend.array(cotangent(backend.numpy(vectors)))))
    values, vectors = np.linalg.eigh(a.astype("float64"))
    with np.errstate(divide="ignore"):
        pairs = 1 / (values[None, :] - values[:, None])
    np.fill_diagonal(pairs, 0.0)
    middle = pairs * (vectors.T @ cotangent(vectors))
    expected = vectors @ (middle + middle.T) / 2 @ vectors.T
    assert relative_error(backend.numpy(gradient), expected) <= 3e-5


@pytest.mark.parametrize("gap", [1e-6, 1e-9, 1e-11])
def test_default_rule_is_right_for_cotangents_summed_over_many_samples(backend, double, gap):
    """Which have errors of tens of eps, and not of one."""
    a, expected = pair_case(gap_spectrum(gap), 16, double)
    output, pullback = vjp(eigh, backend.array(a))
    vectors = backend.numpy(output.eigenvectors)
    cotangent = backend.numpy(leading_pair(16).cotangents(output).eigenvectors).copy()
    size = np.linalg.norm(cotangent[:, -1])
    cotangent[:, -1] += 40 * np.finfo(float).eps * size * vectors[:, -2]  # turns one into the other
    (gradient,) = pullback((None, backend.array(cotangent)))
    assert relative_error(backend.numpy(gradient), expected) <= 1e-12


def test_default_rule_is_right_in_a_batch(backend, double):
    cases = [pair_case(gap_spectrum(gap), 8, double) for gap in (1e-2, 1e-9, 0.0)]
    measured = gradient_of(backend, leading_pair(8), np.stack([a for a, _ in cases]))
    for gradient, (_, expected) in zip(measured, cases, strict=True):
        assert relative_error(gradient, expected) <= 1e-12


@pytest.mark.parametrize(
    "rule", [ExactGap(noise=RoundingFloor()), TopNGap(2, noise=RoundingFloor()), MaskedGap()], ids=repr
)
def test_with_a_floor_unbounded_rules_are_right_at_an_exact_tie(backend, rule):
    values = np.array([0.3, 1.0, 1.0])
    weights = np.array([[0.0, 0.5, -2.0], [0.5, 3.0, 1.0], [-2.0, 1.0, -1.0]])
    (_, vectors), pullback = vjp(eigh, backend.array(np.diag(values)), gap=rule)
    # Of the projector on the pair, weighted: entries across the gap, over the gap.
    cotangent = 2 * weights @ backend.numpy(vectors) * np.array([0.0, 1.0, 1.0])
    (gradient,) = pullback((None, backend.array(cotangent)))
    expected = np.zeros((3, 3))
    expected[0, 1:] = expected[1:, 0] = weights[0, 1:] / 0.7
    np.testing.assert_allclose(backend.numpy(gradient), expected, atol=1e-14)


@pytest.mark.parametrize("rule", RIGHT_AT_TIES, ids=repr)
def test_antisymmetric_rules_are_right_for_subspaces_at_ties(backend, double, rule):
    a, expected = pair_case(gap_spectrum(0.0), 8, double)
    assert relative_error(gradient_of(backend, leading_pair(8), a, gap=rule), expected) <= 1e-11


def test_published_power_iteration_is_wrong_for_subspaces_at_ties(backend):
    # An exact tie: its symmetric part meets the Hermitian part of V^H gV. No number of steps helps.
    a = np.diag([0.1, 0.3, 1.0, 1.0])
    expected = cluster_gradient(a, leading_pair(4))
    for steps in (19, 2_000):
        error = relative_error(
            gradient_of(backend, leading_pair(4), a, gap=PowerIterationGap(steps)), expected
        )
        assert error > 0.1
    balanced = gradient_of(backend, leading_pair(4), a, gap=BalancedPowerIterationGap(60))
    assert relative_error(balanced, expected) <= 1e-12


def test_small_honest_entries_survive_the_rounding_floor(backend, double):
    # Far above rounding though small, next to a large one; and as small as rounding, at a wide gap.
    values = np.array([0.1, 0.4, 1 - 1e-3, 1.0])
    cotangent = np.zeros((4, 4), dtype=double)
    cotangent[[0, 1, 2], 3] = 1.0, 1e-15, 1e-9
    (_, vectors), pullback = vjp(eigh, backend.array(np.diag(values).astype(double)))
    signs = np.diagonal(backend.numpy(vectors))
    gradient = backend.numpy(pullback((None, backend.array(cotangent * signs)))[0])
    for i in range(3):
        expected = 0.5 * cotangent[i, 3] / (values[3] - values[i])
        np.testing.assert_allclose(gradient[i, 3], expected, rtol=1e-9)

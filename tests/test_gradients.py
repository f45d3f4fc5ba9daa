"""Gradients of eigh and eigvalsh: oracles, adjointness, and what the default claims."""

from functools import cache

import numpy as np
import pytest

from specgrad import (
    BalancedPowerIterationGap,
    BroadenedGap,
    ClippedGap,
    ExactGap,
    MaskedGap,
    MaxRank,
    PadeGap,
    PowerIterationGap,
    RoundingFloor,
    TaylorGap,
    TopNGap,
    eigh,
    eigvalsh,
    jvp,
    vjp,
)
from specgrad.testing import (
    GAP_SWEEP,
    ClusterLoss,
    Spectrum,
    cluster_gradient,
    gap_spectrum,
    random_hermitian,
    subspace_gradient,
)

RIGHT_OFF_TIES = [
    ExactGap(),
    MaskedGap(),
    MaskedGap(noise=None),
    BroadenedGap(width=1e-9),
    ClippedGap(),
    TopNGap(5),
    PadeGap(),
    TaylorGap(20_000),
    PowerIterationGap(20_000),
    BalancedPowerIterationGap(20_000),
]
# Rules that are right for a subspace loss at ties up to rounding: antisymmetric, close to exact at the cut,
# and with a bound or a floor that keeps rounding small.
RIGHT_AT_TIES = [
    MaskedGap(),
    BroadenedGap(width=1e-7),
    PadeGap(noise=RoundingFloor()),
    BalancedPowerIterationGap(60),
    TaylorGap(60),
]
ADJOINT_ROUNDINGS = 512


def single_eigenvectors(n):
    return ClusterLoss(tuple((i,) for i in range(n)))


CLUSTER_OF_40 = Spectrum(
    "40 within a thousandth",
    lambda n, precision, generator: np.r_[np.linspace(0.1, 0.6, n - 40), np.linspace(0.999, 1.0, 40)],
)


def leading_pair(n):
    return ClusterLoss(((n - 2, n - 1),))


@cache
def pair_case(spectrum, n, dtype):
    """A matrix whose leading pair is closing, and the gradient of a loss of its subspace."""
    a = spectrum.matrix(n, dtype)
    return a, subspace_gradient(a, leading_pair(n))


def gradient_of(backend, loss, a, **options):
    output, pullback = vjp(eigh, backend.array(a), **options)
    return backend.numpy(pullback(loss.cotangents(output))[0])


def relative_error(measured, expected):
    return np.linalg.norm(measured - expected) / np.linalg.norm(expected)


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


@pytest.mark.parametrize("gap", [1e-1, 1e-3, 1e-6, 1e-9, 1e-12, 0.0])
def test_oracles_agree(double, gap):
    # An eigendecomposition with 50 digits, and a matrix iteration without any.
    a, expected = pair_case(gap_spectrum(gap), 6, double)
    assert relative_error(expected, cluster_gradient(a, leading_pair(6))) <= 1e-14


def test_oracle_agrees_with_differences_of_fifty_digits():
    # Of the loss itself: mpmath's eigenvectors, no derivative formula.
    mpmath = pytest.importorskip("mpmath")
    a = gap_spectrum(1e-3).matrix(4)
    loss, direction = leading_pair(4), random_hermitian(4, "float64", np.random.default_rng(1))
    with mpmath.workdps(50):
        weight = mpmath.matrix(loss.weight(0, 4, "float64").tolist())

        def value(step):
            _, vectors = mpmath.eigsy(mpmath.matrix(a.tolist()) + step * mpmath.matrix(direction.tolist()))
            inner = vectors.T * weight * vectors
            return inner[2, 2] + inner[3, 3]

        step = mpmath.mpf(10) ** -16
        slope = float((value(step) - value(-step)) / (2 * step))
    np.testing.assert_allclose(np.sum(cluster_gradient(a, loss) * direction), slope, rtol=1e-12)


@pytest.mark.parametrize("rule", RIGHT_OFF_TIES, ids=repr)
def test_rules_that_are_exact_off_ties_match_the_oracle(backend, double, rule):
    a = gap_spectrum(1e-1).matrix(5, double)
    loss = single_eigenvectors(5)
    assert relative_error(gradient_of(backend, loss, a, gap=rule), cluster_gradient(a, loss)) <= 1e-11


@pytest.mark.parametrize("gap", [1e-2, 1e-4, 1e-6])
def test_single_eigenvectors_at_small_gaps_match_the_oracle(backend, double, gap):
    # The question itself is conditioned like 1/gap; the rounding floor takes nothing away.
    a, loss = gap_spectrum(gap).matrix(6, double), single_eigenvectors(6)
    allowed = 64 * np.finfo(double).eps / gap
    for rule in (MaskedGap(), MaskedGap(noise=None), ExactGap(), ExactGap(noise=RoundingFloor())):
        assert relative_error(gradient_of(backend, loss, a, gap=rule), cluster_gradient(a, loss)) <= allowed


def test_the_mask_alone_leaves_noise_at_small_gaps():
    # Else the tests of the default rule would not test its rounding floor. Over several gaps, as rounding may
    # cancel in one: it depends on the processor.
    def error(gap):
        a, expected = pair_case(gap_spectrum(gap), 64, "float64")
        _, pullback = vjp(eigh, a, gap=MaskedGap(noise=None))
        return relative_error(pullback(leading_pair(64).cotangents(eigh(a)))[0], expected)

    assert max(error(gap) for gap in (1e-8, 1e-9, 1e-10, 1e-11)) > 1e-10


def test_a_symmetric_function_of_tied_eigenvalues_has_the_exact_gradient(backend, double):
    # tr A^2 of the tied values is a polynomial: the gradient of sum l^2 is 2 A, at any tie.
    for spectrum in (gap_spectrum(0.0), gap_spectrum(1e-9)):
        a = spectrum.matrix(6, double)
        values, pullback = vjp(eigvalsh, backend.array(a))
        gradient = backend.numpy(pullback(2 * values)[0])
        assert relative_error(gradient, 2 * a) <= 64 * np.finfo(double).eps


@pytest.mark.parametrize("power", [0.1, 0.3, 0.45])
@pytest.mark.parametrize("rule", [*RIGHT_OFF_TIES, PowerIterationGap(19)], ids=repr)
def test_vjp_and_jvp_are_adjoint(backend, dtype, rule, power):
    gap = float(np.finfo(dtype).eps) ** power
    spectrum, generator = gap_spectrum(gap), np.random.default_rng(0)
    a, e = backend.array(spectrum.matrix(5, dtype)), backend.array(random_hermitian(5, dtype, generator))
    output, pullback = vjp(eigh, a, gap=rule)
    given = single_eigenvectors(5).cotangents(output)
    gradient = backend.numpy(pullback(given)[0])
    _, tangents = jvp(eigh, (a,), (e,), gap=rule)
    cotangent, tangent = backend.numpy(given.eigenvectors), backend.numpy(tangents.eigenvectors)
    difference = abs(np.vdot(gradient, backend.numpy(e)).real - np.vdot(cotangent, tangent).real)
    # Where the floor acts, to eps/gap; the others to eps of the size of what is summed.
    floor = ADJOINT_ROUNDINGS * np.finfo(dtype).eps * np.linalg.norm(cotangent) / gap
    assert difference <= floor + ADJOINT_ROUNDINGS * np.finfo(dtype).eps * np.linalg.norm(gradient)


def test_cotangents_of_auxiliary_outputs_count(backend, double):
    # Under a truncation the primitive also puts out all of (l, V): a second derivative arrives there.
    a = backend.array(gap_spectrum(0.1).matrix(4, double))
    everything = MaxRank(4)
    output, pullback = vjp(eigh, a, truncation=everything)
    loss = ClusterLoss(((0, 1), (2,)))
    plain, plain_pullback = vjp(eigh, a)
    reversed_loss = ClusterLoss(((3, 2), (1,)))
    first = backend.numpy(pullback(loss.cotangents(output))[0])
    second = backend.numpy(plain_pullback(reversed_loss.cotangents(plain))[0])
    assert relative_error(first, second) <= 64 * np.finfo(double).eps


def test_the_gradient_is_hermitian(backend, dtype):
    a = gap_spectrum(0.1).matrix(5, dtype)
    gradient = gradient_of(backend, single_eigenvectors(5), a)
    allowed = 64 * np.finfo(dtype).eps * np.max(np.abs(gradient))
    np.testing.assert_allclose(gradient, gradient.conj().T, rtol=0, atol=allowed)


def test_none_is_a_zero_cotangent(backend):
    a = backend.array(gap_spectrum(0.1).matrix(4))
    output, pullback = vjp(eigh, a)
    given = single_eigenvectors(4).cotangents(output)
    zeros = backend.xp.zeros_like(output.eigenvalues)
    np.testing.assert_array_equal(backend.numpy(pullback((None, None))[0]), np.zeros((4, 4)))
    np.testing.assert_array_equal(
        backend.numpy(pullback(given)[0]), backend.numpy(pullback((zeros, given.eigenvectors))[0])
    )


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

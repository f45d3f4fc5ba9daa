"""Gradients of eigh and eigvalsh: oracles, every rule off ties, adjointness, structure."""

import numpy as np
import pytest
from subspace_cases import gradient_of, leading_pair, pair_case, relative_error

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
from specgrad.testing import ClusterLoss, cluster_gradient, gap_spectrum, random_hermitian

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
ADJOINT_ROUNDINGS = 512


def single_eigenvectors(n):
    return ClusterLoss(tuple((i,) for i in range(n)))


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

"""What a gradient must not depend on, and what it must follow: scale, order, basis, batch-mates."""

import numpy as np
import pytest

from specgrad import (
    BalancedPowerIterationGap,
    BroadenedGap,
    EnergyRatio,
    ExactGap,
    MaskedGap,
    MaxRank,
    PadeGap,
    PowerIterationGap,
    ProjectGauge,
    TaylorGap,
    TopNGap,
    eigh,
    eigvalsh,
    jvp,
    vjp,
)
from specgrad.testing import ClusterLoss, LinearLoss, gap_spectrum, random_hermitian, random_unitary

EQUIVARIANT = [
    MaskedGap(),
    MaskedGap(noise=None),
    ExactGap(),
    BroadenedGap(width=1e-3),
    TopNGap(2),
    TaylorGap(20),
    PadeGap(),
    PowerIterationGap(19),
    BalancedPowerIterationGap(19),
]
ANTISYMMETRIC = [rule for rule in EQUIVARIANT if not isinstance(rule, PowerIterationGap)]
# Rounding of a decomposition and a sandwich, amplified by the gap of 1/10 that the cases have.
ROUNDINGS = 2048


def case(dtype, n=5):
    return gap_spectrum(0.1).matrix(n, dtype)


def gradient(backend, a, weights, **options):
    """Of ``sum_j Re <v_j, W_j v_j>``, free of phases, for weights of shape (n, n, n)."""
    output, pullback = vjp(eigh, backend.array(a), **options)
    vectors = backend.numpy(output.eigenvectors)
    cotangent = 2 * np.einsum("jab,...bj->...aj", weights, vectors)
    return backend.numpy(pullback((None, backend.array(cotangent.astype(vectors.dtype))))[0])


def some_weights(dtype, n=5):
    generator = np.random.default_rng(11)
    return np.stack([random_hermitian(n, dtype, generator) for _ in range(n)])


def close(measured, expected):
    allowed = ROUNDINGS * np.finfo(expected.dtype).eps
    return np.linalg.norm(measured - expected) <= allowed * np.linalg.norm(expected)


@pytest.mark.parametrize("rule", EQUIVARIANT, ids=repr)
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale(backend, double, rule, scale):
    # The eigenvectors do not change, so their gradient goes like 1/scale.
    a, weights = case(double), some_weights(double)
    expected = gradient(backend, a, weights, gap=rule)
    assert close(scale * gradient(backend, scale * a, weights, gap=rule), expected)


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_scale_of_the_default_near_the_ends_of_the_exponents(backend, double, scale):
    a, weights = case(double), some_weights(double)
    expected = gradient(backend, a, weights)
    assert close(scale * gradient(backend, scale * a, weights), expected)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale_of_eigenvalues_and_their_gradient(backend, double, scale):
    a = case(double)
    values, pullback = vjp(eigvalsh, backend.array(a))
    scaled, scaled_pullback = vjp(eigvalsh, backend.array(scale * a))
    given = LinearLoss().cotangents(values)
    np.testing.assert_allclose(backend.numpy(scaled), scale * backend.numpy(values), rtol=1e-12)
    assert close(backend.numpy(scaled_pullback(given)[0]), backend.numpy(pullback(given)[0]))


@pytest.mark.parametrize("rule", EQUIVARIANT, ids=repr)
def test_permutation(backend, double, rule):
    a, weights = case(double), some_weights(double)
    order = np.array([3, 0, 4, 1, 2])
    rows = np.ix_(order, order)
    permuted = gradient(backend, a[rows], np.stack([w[rows] for w in weights]), gap=rule)
    assert close(permuted, gradient(backend, a, weights, gap=rule)[rows])


@pytest.mark.parametrize("rule", EQUIVARIANT, ids=repr)
def test_unitary_conjugation(backend, double, rule):
    a, weights = case(double), some_weights(double)
    u = random_unitary(5, double, np.random.default_rng(2))
    turned = gradient(backend, u @ a @ u.conj().T, u @ weights @ u.conj().T, gap=rule, check_finite=False)
    assert close(turned, u @ gradient(backend, a, weights, gap=rule) @ u.conj().T)


@pytest.mark.parametrize(
    "rule", [MaskedGap(), BroadenedGap(width=1e-3), BalancedPowerIterationGap(), TaylorGap(20)], ids=repr
)
def test_unitary_conjugation_at_a_tie(backend, double, rule):
    # The basis of the tie is anyone's choice; one weight for its members leaves the loss free of it.
    a, weights = gap_spectrum(0.0).matrix(5, double), some_weights(double)
    weights[3] = weights[4]
    u = random_unitary(5, double, np.random.default_rng(2))
    turned = gradient(backend, u @ a @ u.conj().T, u @ weights @ u.conj().T, gap=rule, check_finite=False)
    assert close(turned, u @ gradient(backend, a, weights, gap=rule) @ u.conj().T)


@pytest.mark.parametrize("truncation", [None, MaxRank(2), EnergyRatio(0.7)], ids=repr)
@pytest.mark.parametrize("rule", [MaskedGap(), BroadenedGap(), PadeGap(), PowerIterationGap()], ids=repr)
def test_a_gradient_does_not_depend_on_batch_mates(backend, dtype, rule, truncation):
    # Two questions with an answer far from rounding, among mates of other scales and with ties.
    cases = [case(dtype), 1e6 * case(dtype)]
    mates = [np.zeros((5, 5), dtype), np.eye(5, dtype=dtype), gap_spectrum(0.0).matrix(5, dtype)]
    loss = ClusterLoss(((0, 1),))

    def gradients(*batch):
        output, pullback = vjp(
            eigh, backend.array(np.stack(batch)), gap=rule, truncation=truncation, gauge=ProjectGauge()
        )
        return backend.numpy(pullback(loss.cotangents(output))[0])

    together = gradients(*cases, *mates)
    for k, a in enumerate(cases):
        assert close(together[k], gradients(a)[0])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_neighbour_that_is_not_finite_changes_nothing(backend, dtype, bad):
    good, broken = case(dtype), case(dtype)
    broken[1, 2] = broken[2, 1] = bad
    output, pullback = vjp(eigh, backend.array(np.stack([good, broken, good])), check_finite=False)
    given = ClusterLoss(((3, 4),)).cotangents(output)
    measured = backend.numpy(pullback(given)[0])
    alone, alone_pullback = vjp(eigh, backend.array(good[None]), check_finite=False)
    expected = backend.numpy(alone_pullback(ClusterLoss(((3, 4),)).cotangents(alone))[0])[0]
    values = backend.numpy(output.eigenvalues)
    assert np.isfinite(values[[0, 2]]).all()
    assert np.isnan(values[1]).all()
    assert np.isnan(measured[1]).any()
    for k in (0, 2):
        np.testing.assert_allclose(measured[k], expected, rtol=64 * np.finfo(dtype).eps, atol=0)


def test_tangents_do_not_depend_on_batch_mates(backend, double):
    a, e = case(double), random_hermitian(5, double, np.random.default_rng(0))
    mate = gap_spectrum(0.0).matrix(5, double)
    _, together = jvp(eigh, (backend.array(np.stack([mate, a])),), (backend.array(np.stack([e, e])),))
    _, alone = jvp(eigh, (backend.array(a),), (backend.array(e),))
    for x, y in zip(together, alone, strict=True):
        np.testing.assert_allclose(backend.numpy(x)[1], backend.numpy(y), rtol=1e-11, atol=1e-13)

"""The published baseline, power iteration with deflation, and the derivative of its own steps."""

import numpy as np
import pytest

from specgrad import EigenvalueFloor, MaxRank, PowerIteration, PowerIterationGap, eigh, jvp, vjp
from specgrad._namespace import namespace
from specgrad.derivatives import power_iteration
from specgrad.testing import LinearLoss, check_gradient, random_hermitian

pytestmark = pytest.mark.eager


def well_separated(dtype, n=4):
    generator = np.random.default_rng(3)
    q = np.linalg.qr(random_hermitian(n, dtype, generator) + np.eye(n))[0]
    a = (q * 0.4 ** np.arange(n)) @ q.conj().T
    return ((a + a.conj().T) / 2).astype(dtype)


def test_power_iteration_converges_on_separated_spectra(backend, double):
    a = backend.array(well_separated(double))
    values, vectors = PowerIteration(steps=60, seed=1).solve(a)
    expected = np.linalg.eigvalsh(backend.numpy(a))
    np.testing.assert_allclose(backend.numpy(values), expected, rtol=0, atol=1e4 * np.finfo(double).eps)
    overlap = backend.numpy(vectors).conj().T @ np.linalg.eigh(backend.numpy(a))[1]
    np.testing.assert_allclose(np.abs(overlap), np.eye(4), atol=1e4 * np.finfo(double).eps)


def test_power_iteration_starts_agree_between_calls_and_differ_between_seeds(backend):
    a = backend.array(well_separated("float64"))
    once, again, other = (backend.numpy(PowerIteration(steps=2, seed=seed).solve(a)[1]) for seed in (0, 0, 1))
    np.testing.assert_array_equal(once, again)
    assert np.max(np.abs(once - other)) > 1e-3


# Its steps give a gradient to the phase too, of which the warning knows nothing.
@pytest.mark.filterwarnings("ignore::specgrad.GaugeWarning")
@pytest.mark.parametrize("truncation", [None, EigenvalueFloor(0.05)])
def test_power_iteration_gradient_is_that_of_its_own_steps(backend, double, truncation):
    # Three steps are far from converged: the gradient is not that of the exact eigenvectors.
    solver = PowerIteration(steps=3, seed=2)
    for batch in ((), (2,)):
        a = backend.array(np.broadcast_to(well_separated(double), (*batch, 4, 4)))
        check_gradient(eigh, a, loss=LinearLoss(), radius=0.1, solver=solver, truncation=truncation)


def test_the_closed_form_is_the_unrolled_algorithm_started_at_the_eigenvectors(backend, double):
    generator = np.random.default_rng(5)
    n = 6
    for steps in (1, 2, 7, 19):
        q = np.linalg.qr(random_hermitian(n, double, generator) + np.eye(n))[0]
        numbers = (q * np.array([0.3, 0.5, 0.8, 0.9, 1.0, 1.7])) @ q.conj().T
        a = backend.array((numbers + numbers.conj().T) / 2)
        (values, vectors), pullback = vjp(eigh, a, gap=PowerIterationGap(steps))
        g_values, g_vectors = LinearLoss(seed=steps).cotangents((values, vectors))
        # A phase has no gradient: take it out of the cotangent, which the unrolled chain would see.
        overlap = np.sum(backend.numpy(vectors).conj() * backend.numpy(g_vectors), axis=0)
        imaginary = 1j * overlap.imag if np.iscomplexobj(overlap) else 0.0
        g_vectors = backend.array(backend.numpy(g_vectors) - backend.numpy(vectors) * imaginary)
        dominant_first = [namespace(x).flip(x, axis=-1) for x in (vectors, g_values, g_vectors)]
        unrolled = power_iteration.vjp(a, dominant_first[0], steps, *dominant_first[1:])
        closed = backend.numpy(pullback((g_values, g_vectors))[0])
        expected = backend.numpy(unrolled)
        assert np.linalg.norm(closed - expected) <= 1e-12 * np.linalg.norm(expected)


def test_power_iteration_tangents_are_put_in_order_of_magnitude(backend):
    # An order that is not its own inverse: ascending these are numbers 0, 3, 1, 2 by magnitude.
    generator = np.random.default_rng(0)
    q = np.linalg.qr(generator.standard_normal((4, 4)))[0]
    a, tangent = (q * np.array([-8.0, 1.0, -2.5, 4.0])) @ q.T, random_hermitian(4, "float64", generator)
    options = {"solver": PowerIteration(60), "truncation": MaxRank(4)}
    _, measured = jvp(eigh, (backend.array(a),), (backend.array(tangent),), **options)
    above, below = (eigh(a + step * tangent, **options).eigenvalues for step in (1e-6, -1e-6))
    np.testing.assert_allclose(backend.numpy(measured.eigenvalues), (above - below) / 2e-6, atol=1e-6)


def test_power_iteration_tangents_follow_a_truncated_order(backend):
    a = backend.array(well_separated("float64"))
    tangent = backend.array(random_hermitian(4, "float64", np.random.default_rng(7)))
    solver = PowerIteration(steps=3)
    _, plain = jvp(eigh, (a,), (tangent,), solver=solver)
    _, truncated = jvp(eigh, (a,), (tangent,), solver=solver, truncation=EigenvalueFloor(-10.0))
    np.testing.assert_array_equal(
        backend.numpy(plain.eigenvalues)[::-1], backend.numpy(truncated.eigenvalues)
    )

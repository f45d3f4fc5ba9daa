"""Matrix functions: values, derivatives at every gap, truncations."""

import function_oracle
import numpy as np
import pytest
from function_oracle import FUNCTIONS

import specgrad
from specgrad import (
    BroadenedGap,
    DaleckiiKrein,
    EigenvalueFloor,
    ExactGap,
    MaskedGap,
    MaxRank,
    PowerIterationGap,
    Shifted,
    ThroughEigenvectors,
    jvp,
    vjp,
)
from specgrad.bind import Evaluate
from specgrad.functions import InverseSqrt, Sqrt
from specgrad.primitives import Frechet
from specgrad.testing import GAP_SWEEP, SPECTRA, Spectrum, random_unitary

N = 3
TIES = tuple(s for s in SPECTRA if s.name in ("exact pair", "exact triple", "pair up to rounding"))
CONDITIONED = tuple(
    Spectrum(f"smallest {low:.0e}", lambda n, precision, generator, low=low: np.geomspace(1, low, n))
    for low in (1e-3, 1e-7)
)
GAPS = GAP_SWEEP[::2] + GAP_SWEEP[-1:]  # 1e-1, 1e-3, 1e-9, 1e-14, 0


def named(function):
    return getattr(specgrad, function)


def allowed(dtype, condition):
    single = np.finfo(dtype).eps > 1e-10
    return max(1e-5 if single else 1e-12, 64 * float(np.finfo(dtype).eps) * condition)


@pytest.mark.parametrize("spectrum", [*GAPS, *TIES, *CONDITIONED], ids=str)
@pytest.mark.parametrize("function", ["sqrtm", "inv_sqrtm", "expm"])
def test_gradient_has_the_accuracy_of_the_problem_at_every_gap(backend, dtype, function, spectrum):
    condition = spectrum.eigenvalues(N, dtype)[-1] / spectrum.eigenvalues(N, dtype)[0]
    if condition * np.finfo(dtype).eps > 1e-2:
        pytest.skip("singular in this precision")
    a, e, expected = function_oracle.frechet(function, spectrum, N, dtype)
    _, pullback = vjp(named(function), backend.array(a))
    (gradient,) = pullback(backend.array(e))
    error = np.linalg.norm(backend.numpy(gradient) - expected) / np.linalg.norm(expected)
    assert error <= allowed(dtype, condition)


@pytest.mark.parametrize("spectrum", [GAP_SWEEP[0], GAP_SWEEP[4], TIES[1]], ids=str)
def test_gradient_of_the_logarithm(backend, double, spectrum):
    a, e, expected = function_oracle.frechet("logm", spectrum, 3, double)
    _, pullback = vjp(specgrad.logm, backend.array(a))
    (gradient,) = pullback(backend.array(e))
    assert np.linalg.norm(backend.numpy(gradient) - expected) <= 1e-12 * np.linalg.norm(expected)


@pytest.mark.parametrize("spectrum", [*GAPS, *TIES], ids=str)
def test_gradient_of_a_projector_is_exact_whatever_the_gap_inside(backend, double, spectrum):
    a = spectrum.matrix(6, double)
    weights = np.random.default_rng(2).standard_normal((6, 6))
    weights = weights + weights.T
    rank = 3 if spectrum.name == "exact triple" else 2
    _, pullback = vjp(specgrad.spectral_projector, backend.array(a), truncation=MaxRank(rank))
    (gradient,) = pullback(backend.array(weights.astype(double)))
    expected = projector_gradient(a, rank, weights)
    assert np.linalg.norm(backend.numpy(gradient) - expected) <= 1e-12 * np.linalg.norm(expected)


def projector_gradient(a, rank, weights):
    """``<W, P>`` by 50 digits: the projector is ``(I + sign(A - cut I))/2``."""
    values = np.linalg.eigvalsh(a)
    cut = 0.5 * (values[-rank] + values[-rank - 1])
    return function_oracle.sign_frechet(a, cut, weights) / 2


@pytest.mark.parametrize("function", FUNCTIONS, ids=repr)
@pytest.mark.parametrize("values", [(1.0, 1.0, 1.0), (2.0, 2.0, 0.5), (1.0, 1.0 + 1e-9, 3.0)], ids=str)
def test_second_derivative_is_exact_at_ties(backend, double, function, values):
    """Against finite differences of the first derivative, which the test above holds to 50 digits."""
    generator = np.random.default_rng(3)
    q = random_unitary(3, double, generator)
    a = (q * np.array(values)) @ q.conj().T
    a = (a + a.conj().T) / 2
    e, h = (hermitian(generator, 3, double) for _ in range(2))
    step = 1e-5

    def first(point):
        return jvp(specgrad.matrix_function, (point, function), (e,))[1]

    expected = (first(a + step * h) - first(a - step * h)) / (2 * step)
    measured = second(backend, a, function, e, h)
    assert np.linalg.norm(measured - expected) <= 1e-7 * np.linalg.norm(expected) + 1e-9


def test_second_derivative_across_a_truncation(backend, double):
    generator = np.random.default_rng(4)
    q = random_unitary(4, double, generator)
    a = (q * np.array([3.0, 3.0, 1.0, 0.5])) @ q.conj().T
    a = (a + a.conj().T) / 2
    e, h = (hermitian(generator, 4, double) for _ in range(2))
    step = 1e-5

    def first(point):
        return jvp(specgrad.inv_sqrtm, (point,), (e,), truncation=MaxRank(2))[1]

    expected = (first(a + step * h) - first(a - step * h)) / (2 * step)
    measured = second(backend, a, InverseSqrt(), e, h, rank=2)
    assert np.linalg.norm(measured - expected) <= 1e-7 * np.linalg.norm(expected)


def test_matrices_of_a_batch_are_truncated_each_as_it_is_alone(backend, double):
    generator = np.random.default_rng(5)
    a = np.stack([np.diag(values) for values in ([3.0, 2.0, 1.0], [3.0, 2.0, 1e-9])]).astype(double)
    g = np.stack([hermitian(generator, 3, double) for _ in a])
    keep = EigenvalueFloor(absolute=0.5)
    _, together = vjp(specgrad.sqrtm, backend.array(a), truncation=keep)
    found = backend.numpy(together(backend.array(g))[0])
    for k in range(2):
        _, alone = vjp(specgrad.sqrtm, backend.array(a[k]), truncation=keep)
        np.testing.assert_allclose(found[k], backend.numpy(alone(backend.array(g[k]))[0]), atol=1e-14)


def test_the_rule_at_the_cut_bounds_second_derivatives_too(backend, double):
    a = np.diag([3.0, 1.001, 1.0]).astype(double)
    e = np.ones((3, 3), dtype=double)
    exact, broad = (
        np.linalg.norm(second(backend, a, Sqrt(), e, e, 2, DaleckiiKrein(cut=cut)))
        for cut in (MaskedGap(), BroadenedGap(width=0.1))
    )
    assert exact > 1e5
    assert broad < 100


def second(backend, a, function, e, h, rank=None, rule=DaleckiiKrein()):
    values, vectors = np.linalg.eigh(a)
    order = np.argsort(-np.abs(values), kind="stable") if rank else np.arange(len(values))
    arrays = [a, values[order], vectors[:, order], e]
    if rank:
        arrays.insert(1, np.asarray(rank, dtype=np.int32))
    arrays = tuple(backend.array(x) for x in arrays)
    operation = Frechet(function=function, rule=rule)
    zeros = tuple(backend.array(np.zeros_like(backend.numpy(x))) for x in arrays)
    tangents = (backend.array(h), *zeros[1:])
    (result,) = operation.jvp(Evaluate(), arrays, operation.forward(*arrays), tangents)
    return backend.numpy(result)


def hermitian(generator, n, dtype):
    x = generator.standard_normal((n, n)).astype(dtype)
    if np.iscomplexobj(x):
        x = x + 1j * generator.standard_normal((n, n))
    return x + x.conj().T


@pytest.mark.parametrize("name", ["sqrtm", "inv_sqrtm", "expm"])
def test_values_agree_with_their_definition(backend, dtype, name):
    a = GAP_SWEEP[0].matrix(5, dtype)
    f = backend.numpy(named(name)(backend.array(a)))
    tolerance = 100 * np.finfo(dtype).eps
    if name == "expm":
        logarithm = backend.numpy(specgrad.logm(backend.array(f)))
        assert np.linalg.norm(logarithm - a) <= tolerance * np.linalg.norm(f)
    else:
        residual = f @ f - a if name == "sqrtm" else f @ f @ a - np.eye(5)
        assert np.linalg.norm(residual) <= tolerance


def test_powers_agree_with_products(backend, double):
    a = GAP_SWEEP[0].matrix(4, double)
    array = backend.array(a)
    np.testing.assert_allclose(backend.numpy(specgrad.powm(array, 3)), a @ a @ a, atol=1e-14)
    np.testing.assert_allclose(backend.numpy(specgrad.powm(array, -1)) @ a, np.eye(4), atol=1e-12)
    indefinite = backend.array(np.diag([2.0, -4.0]))
    np.testing.assert_allclose(backend.numpy(specgrad.powm(indefinite, -1)), np.diag([0.5, -0.25]))
    half = backend.numpy(specgrad.powm(array, 0.25))
    np.testing.assert_allclose(half @ half, backend.numpy(specgrad.sqrtm(array)), atol=1e-14)


def test_through_eigenvectors_agrees_off_ties_and_errs_at_them(backend, double):
    apart = GAP_SWEEP[0].matrix(4, double)
    together = np.eye(4, dtype=double)
    cotangent = hermitian(np.random.default_rng(5), 4, double)

    def gradient(a, rule):
        _, pullback = vjp(specgrad.inv_sqrtm, backend.array(a), gradient=rule)
        return backend.numpy(pullback(backend.array(cotangent))[0])

    for gap in (ExactGap(), MaskedGap(), PowerIterationGap(2000)):
        exact, through = gradient(apart, DaleckiiKrein()), gradient(apart, ThroughEigenvectors(gap))
        assert np.linalg.norm(through - exact) <= 1e-9 * np.linalg.norm(exact)
    exact, through = gradient(together, DaleckiiKrein()), gradient(together, ThroughEigenvectors(MaskedGap()))
    assert np.linalg.norm(exact + cotangent / 2) <= 1e-14 * np.linalg.norm(cotangent)
    assert np.linalg.norm(through - exact) >= 0.3 * np.linalg.norm(exact)


def test_gradient_at_the_identity_turns_with_the_basis(backend, double):
    """Whitening a white input must not depend on the basis the solver happens to choose."""
    cotangent = hermitian(np.random.default_rng(6), 4, double)
    q = random_unitary(4, double, np.random.default_rng(7))
    _, pullback = vjp(specgrad.inv_sqrtm, backend.array(np.eye(4, dtype=double)))
    plain = backend.numpy(pullback(backend.array(cotangent))[0])
    turned = backend.numpy(pullback(backend.array(q @ cotangent @ q.conj().T))[0])
    np.testing.assert_allclose(turned, q @ plain @ q.conj().T, atol=1e-13)


@pytest.mark.filterwarnings("ignore::specgrad.GaugeWarning")
def test_a_tie_on_the_cut_is_finite_and_bounded_by_the_gap_rule(backend, double):
    rule = MaskedGap()
    a = np.diag([3.0, 2.0, 2.0, 1.0]).astype(double)
    cotangent = hermitian(np.random.default_rng(8), 4, double)
    _, pullback = vjp(specgrad.inv_sqrtm, backend.array(a), truncation=MaxRank(2))
    gradient = backend.numpy(pullback(backend.array(cotangent))[0])
    bound = float(backend.numpy(rule.bound(backend.array(np.array([3.0, 2.0, 2.0, 1.0])))))
    assert np.all(np.isfinite(gradient))
    assert np.max(np.abs(gradient)) <= bound * np.linalg.norm(cotangent)


def test_a_truncation_keeps_the_largest_magnitudes_of_an_indefinite_matrix(backend, double):
    a = backend.array(np.diag([-4.0, 1.0, 2.0]).astype(double))
    image = specgrad.matrix_function(a, Shifted(Sqrt(), 5.0), truncation=MaxRank(1))
    np.testing.assert_allclose(backend.numpy(image), np.diag([1.0, 0.0, 0.0]), atol=1e-15)


def test_a_matrix_that_keeps_all_unmasks_no_other(backend):
    a = backend.array(np.stack([np.diag([1.0, 2.0, 3.0]), np.diag([1e-3, 2.0, 3.0])]))
    _, pullback = vjp(specgrad.logm, a, truncation=EigenvalueFloor(0.1))
    (gradient,) = pullback(backend.array(np.ones((2, 3, 3))))
    assert abs(backend.numpy(gradient)[1, 0, 0]) < 1e-12

"""The systems of the papers, each a pair of a solver and a gradient rule, on the root of a covariance."""

from dataclasses import dataclass

import numpy as np
import pytest

import specgrad
from specgrad import (
    AcceptResidual,
    ClippedGap,
    ConvergenceError,
    ConvergenceWarning,
    DaleckiiKrein,
    DenseEigh,
    DenseSVD,
    ExactGap,
    MaxRank,
    NewtonSchulz,
    NewtonSchulzGradient,
    PadeGap,
    PowerIteration,
    PowerIterationGap,
    RaiseResidual,
    TaylorGap,
    ThroughEigenvectors,
    TopNGap,
    jvp,
    sqrtm,
    vjp,
)
from specgrad.testing import GAP_SWEEP, check_gradient, random_hermitian

ISQRT = NewtonSchulz(5, AcceptResidual())

# Solver, gradient rule, and the largest relative error of the gradient that the system may have on a
# well-separated spectrum of condition 10: what each approximates, it approximates this well.
SYSTEMS = {
    "MPN-COV": (DenseSVD(), ThroughEigenvectors(ExactGap()), 1e-12),
    "SVD-PI": (DenseSVD(), ThroughEigenvectors(PowerIterationGap(19)), 0.3),
    "SVD-Taylor": (DenseSVD(), ThroughEigenvectors(TaylorGap(100)), 1e-3),
    "SVD-Pade": (DenseSVD(), ThroughEigenvectors(PadeGap()), 1e-10),
    "SVD-Trunc": (DenseSVD(), ThroughEigenvectors(ClippedGap(1e10)), 1e-12),
    "SVD-TopN": (DenseSVD(), ThroughEigenvectors(TopNGap(5)), 1e-12),
    "SVD-Newton": (DenseSVD(), NewtonSchulzGradient(5), 0.2),
    "iSQRT-COV": (ISQRT, None, 0.2),
    "PI": (PowerIteration(500), None, 1e-6),
    "exact": (DenseEigh(), DaleckiiKrein(), 1e-12),
}


def covariance(dtype, values=(1.0, 0.7, 0.45, 0.25, 0.1)):
    q = specgrad.testing.random_unitary(len(values), dtype, np.random.default_rng(0))
    a = (q * np.array(values)) @ q.conj().T
    return (a + a.conj().T) / 2


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.eager) if name == "PI" else name for name in SYSTEMS]
)
def test_system_has_its_forward_and_its_gradient(backend, double, name):
    solver, gradient, error = SYSTEMS[name]
    a, cotangent = covariance(double), random_hermitian(5, double, np.random.default_rng(1))

    def run(**options):
        root, pullback = vjp(sqrtm, backend.array(a), **options)
        return backend.numpy(root), backend.numpy(pullback(backend.array(cotangent))[0])

    root, measured = run(solver=solver, gradient=gradient)
    exact_root, exact = run()
    assert np.linalg.norm(root - exact_root) <= (0.1 if name == "iSQRT-COV" else 1e-9)
    assert np.linalg.norm(measured - exact) <= error * np.linalg.norm(exact)


@pytest.mark.parametrize("name", ["MPN-COV", "SVD-TopN"])
def test_the_analytic_rules_are_left_to_fail_at_ties(backend, name):
    solver, gradient, _ = SYSTEMS[name]
    a = np.diag([1.0, 0.5, 0.5])
    with np.errstate(all="ignore"):
        _, pullback = vjp(sqrtm, backend.array(a), solver=solver, gradient=gradient)
        gradient = backend.numpy(pullback(backend.array(np.ones((3, 3))))[0])
    assert not np.all(np.isfinite(gradient))


@pytest.mark.parametrize("function", [specgrad.sqrtm, specgrad.inv_sqrtm], ids=["sqrtm", "inv_sqrtm"])
@pytest.mark.parametrize("solver", [ISQRT, PowerIteration(8)], ids=["iSQRT-COV", "PI"])
def test_derivatives_of_own_steps_against_finite_differences(backend, double, function, solver):
    check_gradient(function, backend.array(covariance(double)), solver=solver)


@pytest.mark.parametrize("inverse", [False, True])
def test_newton_schulz_adjoint_against_its_scalar_polynomial(backend, double, inverse):
    """In the eigenbasis the iteration is a scalar function, differentiated by divided differences."""
    a = covariance(double)
    values, vectors = np.linalg.eigh(a)
    trace, steps = values.sum(), 5
    x = values / trace
    image = scalar(x, steps, inverse)
    with np.errstate(all="ignore"):
        pairs = (image[:, None] - image) / (x[:, None] - x)
    step = 1e-6
    np.fill_diagonal(
        pairs, (scalar(x + step, steps, inverse) - scalar(x - step, steps, inverse)) / (2 * step)
    )
    cotangent = random_hermitian(5, double, np.random.default_rng(2))
    scale = trace**-0.5 if inverse else trace**0.5
    inner = vectors @ (pairs * (vectors.conj().T @ (scale * cotangent) @ vectors)) @ vectors.conj().T
    along = np.vdot(cotangent, vectors @ np.diag(image) @ vectors.conj().T).real
    of_scale = (-0.5 * trace**-1.5 if inverse else 0.5 * trace**-0.5) * along
    expected = inner / trace + (of_scale - np.vdot(inner, a).real / trace**2) * np.eye(5)
    function = specgrad.inv_sqrtm if inverse else specgrad.sqrtm
    _, pullback = vjp(function, backend.array(a), solver=ISQRT)
    measured = backend.numpy(pullback(backend.array(cotangent))[0])
    assert np.linalg.norm(measured - expected) <= 1e-9 * np.linalg.norm(expected)


def scalar(x, steps, inverse):
    y, z = x, np.ones_like(x)
    for _ in range(steps):
        correction = (3 - z * y) / 2
        y, z = y * correction, correction * z
    return z if inverse else y


@pytest.mark.parametrize(
    ("precision", "scale"), [("float32", 2.0**66), ("float32", 2.0**-78), ("float64", 2.0**532)]
)
def test_newton_schulz_has_derivatives_at_every_scale(backend, precision, scale):
    a, g = covariance(precision), random_hermitian(5, precision, np.random.default_rng(4))
    found = []
    for factor in (1.0, scale):
        scaled = backend.array((factor * a).astype(precision))
        (gradient,) = vjp(sqrtm, scaled, solver=ISQRT)[1](backend.array(g))
        tangent = jvp(sqrtm, (scaled,), (backend.array(g),), solver=ISQRT)[1]
        found.append([factor**0.5 * backend.numpy(x) for x in (gradient, tangent)])
    for measured, expected in zip(found[1], found[0], strict=True):
        np.testing.assert_allclose(measured, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(0, 0), (2, 0, 0)])
def test_newton_schulz_of_nothing(backend, double, shape):
    a = backend.array(np.zeros(shape, dtype=double))
    for function in (sqrtm, specgrad.inv_sqrtm):
        root, pullback = vjp(function, a, solver=ISQRT)
        assert tuple(root.shape) == tuple(pullback(a)[0].shape) == shape


def test_newton_schulz_takes_cotangents_that_are_not_symmetric(backend, double):
    """Against the jvp: <G, df(E)> for a general G and a Hermitian E."""
    a = backend.array(covariance(double))
    generator = np.random.default_rng(3)
    g, e = generator.standard_normal((5, 5)).astype(double), random_hermitian(5, double, generator)
    _, pullback = vjp(sqrtm, a, solver=ISQRT)
    _, tangent = jvp(sqrtm, (a,), (backend.array(e),), solver=ISQRT)
    pulled = np.vdot(backend.numpy(pullback(backend.array(g))[0]), e).real
    assert abs(pulled - np.vdot(g, backend.numpy(tangent)).real) <= 1e-13


def test_newton_schulz_takes_the_hermitian_part_of_what_nobody_checks(backend, double):
    a, g = covariance(double), random_hermitian(5, double, np.random.default_rng(4))
    skew = np.triu(g, 1) - np.triu(g, 1).conj().T
    found = []
    for point in (a, (a + 0.1 * skew).astype(double)):
        options = {"solver": ISQRT, "check_finite": False}
        _, pullback = vjp(sqrtm, backend.array(point), **options)
        _, tangent = jvp(sqrtm, (backend.array(point),), (backend.array(g),), **options)
        found.append([backend.numpy(x) for x in (pullback(backend.array(g))[0], tangent)])
    for measured, expected in zip(*found, strict=True):
        np.testing.assert_allclose(measured, expected, atol=1e-13)


def test_a_residual_that_is_no_number_is_not_small():
    with np.errstate(all="ignore"), pytest.raises(ConvergenceError, match=r"residual .* is nan"):
        sqrtm(np.diag([1.0, -1.0]), solver=NewtonSchulz(5, RaiseResidual()))


def test_newton_schulz_says_when_it_has_not_converged():
    ill = np.diag([1.0, 1e-6])
    with pytest.warns(ConvergenceWarning, match="residual of root times inverse is 7"):
        sqrtm(ill, solver=NewtonSchulz(5))
    with pytest.raises(ConvergenceError, match="more steps"):
        sqrtm(ill, solver=NewtonSchulz(5, RaiseResidual()))
    sqrtm(ill, solver=NewtonSchulz(40, RaiseResidual()))


@pytest.mark.parametrize(("n", "condition", "steps"), [(4, 5, 5), (16, 30, 8), (64, 10, 9), (64, 30, 10)])
def test_newton_schulz_converges_in_as_many_steps_as_its_docstring_says(n, condition, steps):
    values = np.geomspace(1.0, condition, n)
    assert round(2 + np.log(values.sum() / values.min()) / np.log(9 / 4)) == steps
    sqrtm(np.diag(values), solver=NewtonSchulz(steps, RaiseResidual()))
    sqrtm(np.diag(values), solver=NewtonSchulz(steps + 3, RaiseResidual(1e-12)))
    with pytest.raises(ConvergenceError):
        sqrtm(np.diag(values), solver=NewtonSchulz(steps - 1, RaiseResidual()))


@dataclass(frozen=True)
class Diagonal:
    """A user's own roots, those of diagonal matrices."""

    steps: int = 1
    residual: AcceptResidual = AcceptResidual()

    def root(self, a):
        size = np.sqrt(np.abs(np.diagonal(a)))
        return np.diag(size), np.diag(1 / size)

    def root_vjp(self, a, cotangents):
        given = [0.0 if g is None else np.diagonal(g) for g in cotangents]
        size = np.sqrt(np.diagonal(a))
        return np.diag(given[0] / (2 * size) - given[1] / (2 * size**3))

    def root_jvp(self, a, tangent):
        size = np.sqrt(np.diagonal(a))
        along = np.diagonal(tangent)
        return np.diag(along / (2 * size)), np.diag(-along / (2 * size**3))


def test_the_roots_of_a_user_are_used():
    a = np.diag([4.0, 9.0])
    root, pullback = vjp(sqrtm, a, solver=Diagonal())
    np.testing.assert_array_equal(root, np.diag([2.0, 3.0]))
    np.testing.assert_allclose(pullback(np.eye(2))[0], np.diag([1 / 4, 1 / 6]))
    inverse, tangent = jvp(specgrad.inv_sqrtm, (a,), (np.eye(2),), solver=Diagonal())
    np.testing.assert_array_equal(inverse, np.diag([1 / 2, 1 / 3]))
    np.testing.assert_allclose(tangent, np.diag([-1 / 16, -1 / 54]))


def test_newton_schulz_keeps_a_sample_from_its_neighbours(backend):
    good = covariance("float64")
    batch = np.stack([good, np.full_like(good, np.nan)])
    _, pullback = vjp(sqrtm, backend.array(batch), solver=ISQRT, check_finite=False)
    gradient = backend.numpy(pullback(backend.array(np.ones_like(batch)))[0])
    _, alone = vjp(sqrtm, backend.array(good), solver=ISQRT)
    np.testing.assert_allclose(
        gradient[0], backend.numpy(alone(backend.array(np.ones_like(good)))[0]), rtol=1e-12
    )
    assert np.all(np.isnan(gradient[1]))


@pytest.mark.parametrize(
    ("function", "options", "word"),
    [
        (specgrad.logm, {"solver": ISQRT}, "Log"),
        (sqrtm, {"solver": ISQRT, "truncation": MaxRank(1)}, "truncation"),
        (sqrtm, {"solver": ISQRT, "gradient": DaleckiiKrein()}, "gradient"),
        (specgrad.logm, {"gradient": NewtonSchulzGradient()}, "Log"),
        (sqrtm, {"solver": PowerIteration(), "truncation": MaxRank(1)}, "truncation"),
    ],
)
def test_pairs_that_cannot_go_together_raise(function, options, word):
    with pytest.raises(ValueError, match=word):
        function(GAP_SWEEP[0].matrix(3), **options)


def test_the_worst_residual_of_a_batch_is_judged(backend):
    policy, solver = RaiseResidual(1e-3), NewtonSchulz(5)
    policy.judge(backend.array(np.array([0.0, 1e-3])), solver)
    with pytest.raises(ConvergenceError):
        policy.judge(backend.array(np.array([0.0, 1.0])), solver)

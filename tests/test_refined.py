"""Refinement: against eigenpairs with many digits on every spectrum, of every solver, and under compilers."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from eigenpair_oracle import errors, exact_eigenpairs, mpmath
from refined_cases import COUPLING, SEPARATED, N, Spoiled, orthonormality, solved, turn

from specgrad import DenseEigh, DenseSVD, Fallback, Refined, eigh, vjp
from specgrad.solvers.protocol import without_looking
from specgrad.testing import (
    SPECTRA,
    ClusterLoss,
    Spectrum,
    check_gradient,
    check_solver,
    cluster_gradient,
    gap_spectrum,
    random_hermitian,
)

pytestmark = pytest.mark.eager

GRADED = [s for s in SPECTRA if s.name in ("positive geometric", "rank deficient", "graded")]


def distances(values):
    """From each eigenvalue to the nearest other one."""
    gaps = np.abs(values[:, None] - values).astype(float)
    return np.min(gaps + np.where(np.eye(len(values)) > 0, np.inf, 0), axis=0)


def test_residuals_on_every_spectrum(backend, dtype):
    choices = {"device": backend.device, "sizes": (N,), "dtypes": (dtype,), "allowed_ratio": 4}
    for steps in (1, 2):
        check_solver(Refined(DenseEigh(), steps), backend.xp, **choices)


@pytest.mark.parametrize("steps", [1, 2])
def test_errors_are_the_input_solvers_or_rounding_on_every_spectrum(backend, dtype, steps):
    rounding = float(np.finfo(dtype).eps)
    for spectrum in SPECTRA:
        matrix, *exact = exact_eigenpairs(spectrum, N, dtype)
        norm = float(np.max(np.abs(exact[0])))
        before = errors(solved(DenseEigh(), backend, matrix), exact)
        values, vectors = solved(Refined(DenseEigh(), steps), backend, matrix)
        after = errors((values, vectors), exact)
        assert np.all(np.diff(values) >= 0), spectrum
        # LAPACK promises N eps only.
        assert orthonormality(vectors) <= 2 * N * rounding, spectrum
        assert np.max(after[0]) <= rounding * norm, spectrum
        coupling = N * rounding ** COUPLING[steps] * norm
        honest = 4 * rounding + coupling / np.maximum(distances(exact[0]), 1e-300)
        assert np.all(after[1] <= np.maximum(before[1], honest)), spectrum


@pytest.mark.parametrize("spectrum", GRADED, ids=str)
def test_small_eigenvalues_get_their_digits(backend, dtype, spectrum):
    rounding = float(np.finfo(dtype).eps)
    for seed in range(3):
        matrix, *exact = exact_eigenpairs(spectrum, N, dtype, seed)
        size = np.abs(exact[0]).astype(float)
        once, twice = (
            errors(solved(Refined(DenseEigh(), steps), backend, matrix), exact)[0] / size for steps in (1, 2)
        )
        floor = N**2 * np.max(size) / size
        assert np.all(once <= rounding + floor * rounding ** (5 / 3)), seed
        assert np.all(twice <= rounding + floor * rounding**2), seed


@pytest.mark.parametrize("spectrum", GRADED, ids=str)
def test_one_step_gains_several_digits_of_small_eigenvalues(backend, double, spectrum):
    # In double precision only: NumPy decomposes float32 in float64.
    matrix, *exact = exact_eigenpairs(spectrum, N, double)
    before, after = (
        np.max(errors(solved(solver, backend, matrix), exact)[0] / np.abs(exact[0]).astype(float))
        for solver in (DenseEigh(), Refined())
    )
    assert before > 1e3 * after


@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-9, 1e-12])
def test_close_eigenvectors_get_their_digits(backend, double, gap):
    rounding = float(np.finfo(double).eps)
    matrix, *exact = exact_eigenpairs(gap_spectrum(gap), N, double)
    before = errors(solved(DenseEigh(), backend, matrix), exact)[1]
    assert np.max(before) > 0.03 * rounding / gap
    assert np.max(errors(solved(Refined(DenseEigh(), 2), backend, matrix), exact)[1]) < 4 * rounding


def test_single_precision_eigenvectors_are_right_to_the_last_digit(backend):
    for seed in range(5):
        matrix, *exact = exact_eigenpairs(gap_spectrum(1e-4), N, "float32", seed)
        values, vectors = solved(Refined(), backend, matrix)
        assert values.dtype == vectors.dtype == np.float32
        assert np.max(errors((values, vectors), exact)[1]) < np.finfo(np.float32).eps, seed


@pytest.mark.parametrize("of_values", [1 + 1e-15, 1 + 1e-3])
def test_a_step_squares_the_error_of_a_sloppy_solver(of_values):
    # So small an angle that no eigenvalues count as clusters, which the sloppy solver would decompose anew.
    matrix, *exact = exact_eigenpairs(SEPARATED, N, "float64")
    sloppy, rounding = Spoiled(turn(3e-8), of_values), np.finfo("float64").eps
    before, once, twice = (
        np.max(errors(solver.solve(matrix), exact)[1])
        for solver in (sloppy, Refined(sloppy), Refined(sloppy, 2))
    )
    assert before > 3e-8
    assert once < 4 * before**2 + 4 * rounding
    assert twice < 4 * rounding


def test_a_step_squares_a_small_defect_of_orthonormality():
    matrix, *exact = exact_eigenpairs(SEPARATED, N, "float64")
    numbers = np.random.default_rng(3).standard_normal((N, N))
    oblique = Spoiled(np.eye(N) + 1e-10 * (numbers + numbers.T), only=matrix)
    assert orthonormality(oblique.solve(matrix)[1]) > 1e-10
    values, vectors = Refined(oblique).solve(matrix)
    assert orthonormality(vectors) < 4 * np.finfo("float64").eps
    assert np.max(errors((values, vectors), exact)[1]) < 4 * np.finfo("float64").eps


@dataclass(frozen=True)
class Counted:
    """The dense solver, which counts its calls."""

    calls: list = field(default_factory=list)

    def solve(self, a):
        self.calls.append(a.shape)
        return DenseEigh().solve(a)


@pytest.mark.parametrize("steps", [1, 2])
def test_each_step_asks_the_solver_once_more(backend, steps):
    solver = Counted()
    solved(Refined(solver, steps), backend, gap_spectrum(1e-3).matrix(N))
    assert len(solver.calls) == 1 + steps


@pytest.mark.parametrize("steps", [1, 2])
def test_without_looking_it_takes_as_many_steps(steps):
    assert without_looking(Refined(DenseSVD(), steps)) == Refined(DenseSVD(), steps)


@pytest.mark.parametrize("solver", [DenseSVD(), Fallback(DenseEigh(), DenseSVD())])
def test_other_solvers_are_refined(backend, double, solver):
    matrix, *exact = exact_eigenpairs(gap_spectrum(1e-6), N, double)
    of_values, of_vectors = errors(solved(Refined(solver, 2), backend, matrix), exact)
    assert np.max(of_values) < np.finfo(double).eps
    assert np.max(of_vectors) < 4 * np.finfo(double).eps


def test_matrices_of_a_batch_do_not_meet(backend, dtype):
    matrices = [1e-6, 1.0, 1e6] * np.stack(
        [random_hermitian(N, dtype, np.random.default_rng(k)) for k in range(3)]
    ).T
    batch = np.ascontiguousarray(matrices.T).astype(dtype).reshape(1, 3, N, N)
    values, vectors = solved(Refined(), backend, batch)
    for k in range(3):
        alone = solved(Refined(), backend, batch[0, k])[0]
        np.testing.assert_allclose(values[0, k], alone, rtol=2 * np.finfo(dtype).eps)
        assert orthonormality(vectors[0, k]) < 4 * np.finfo(dtype).eps


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
def test_a_step_that_overflows_leaves_the_answer_of_the_solver(backend, double):
    a = backend.array(np.stack([1e303 * np.diag([1.0, 2.0]), np.diag([1.0, 2.0])]).astype(double))
    values, vectors = Refined().solve(a)
    expected_values, expected_vectors = DenseEigh().solve(a)
    np.testing.assert_array_equal(backend.numpy(values), backend.numpy(expected_values))
    np.testing.assert_array_equal(np.abs(backend.numpy(vectors)), np.abs(backend.numpy(expected_vectors)))


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
def test_numbers_below_the_normal_ones_are_decomposed(backend, double):
    tiny = 0.01 * np.finfo(double).smallest_normal
    a = (tiny * random_hermitian(6, double, np.random.default_rng(0))).astype(double)
    values, vectors = solved(Refined(), backend, a)
    assert np.isfinite(values).all()
    assert orthonormality(vectors) < 60 * np.finfo(double).eps


@pytest.mark.parametrize("shape", [(0, 0), (2, 0, 0), (0, 3, 3), (1, 1)])
def test_empty_and_one_by_one(backend, shape):
    values, vectors = solved(Refined(), backend, np.ones(shape))
    assert values.shape == shape[:-1]
    assert vectors.shape == shape


@pytest.mark.parametrize("steps", [0, 3, 1.0, "one"])
def test_steps_are_1_or_2(steps):
    with pytest.raises((TypeError, ValueError), match="needs the integer 1 or 2 for steps"):
        Refined(steps=steps)


def test_gradient_is_that_of_the_decomposition(backend, double):
    loss = ClusterLoss(clusters=((4, 5),))
    a = backend.array(gap_spectrum(1e-3).matrix(N, double))
    check_gradient(eigh, a, loss=loss, radius=0.1, solver=Refined())


def test_gradients_through_small_eigenvalues_gain_from_refinement(backend, double):
    graded = Spectrum("graded", lambda n, _, generator: np.geomspace(1e-9, 1, n))
    matrix = graded.matrix(N, double)
    loss = ClusterLoss(clusters=((0,), (1,)))
    expected = cluster_gradient(matrix, loss)

    def error(solver):
        outputs, pullback = vjp(eigh, backend.array(matrix), solver=solver)
        gradient = backend.numpy(pullback(loss.cotangents(outputs))[0])
        return np.linalg.norm(gradient - expected) / np.linalg.norm(expected)

    assert error(Refined()) < min(1e-2 * error(DenseEigh()), 1e3 * np.finfo(double).eps)


def test_compiled_by_torch():
    torch = pytest.importorskip("torch")
    specgrad_torch = pytest.importorskip("specgrad_torch")
    solver = Refined(Fallback(DenseEigh(), DenseSVD()))
    matrix, values, _ = exact_eigenpairs(GRADED[0], N, "float64")

    def loss(a):
        return torch.sum(torch.log(specgrad_torch.eigh(a, solver=solver).eigenvalues))

    a = torch.tensor(matrix, requires_grad=True)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")(a)
    assert float(compiled.detach()) == pytest.approx(float(sum(mpmath.log(x) for x in values)), rel=1e-13)
    compiled.backward()
    eager = torch.autograd.grad(loss(a), a)[0]
    torch.testing.assert_close(a.grad, eager, rtol=1e-11, atol=0)
    mapped = torch.func.vmap(torch.func.grad(loss))(torch.stack([a.detach(), a.detach()]))
    torch.testing.assert_close(mapped[1], eager, rtol=1e-11, atol=0)


def test_traced_by_jax():
    jax = pytest.importorskip("jax")
    for dtype in ("float32", "float64"):
        matrix, values, _ = exact_eigenpairs(GRADED[0], N, dtype)
        before = jax.config.jax_enable_x64
        # Without double precision there is no dtype that is wider than float32.
        jax.config.update("jax_enable_x64", dtype == "float64")
        try:
            found = np.asarray(jax.jit(Refined().solve)(jax.numpy.asarray(matrix))[0])
        finally:
            jax.config.update("jax_enable_x64", before)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, values.astype(dtype), rtol=4 * np.finfo(dtype).eps)

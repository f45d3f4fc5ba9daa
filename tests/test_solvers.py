"""Solvers: LAPACK's residual ratios, fallbacks per batch item, guards, second tries."""

from dataclasses import dataclass

import numpy as np
import pytest

from specgrad import ConvergenceError, DenseEigh, DenseSVD, Fallback, eigh, vjp
from specgrad.bind import Evaluate
from specgrad.solvers.guard import Guarded, HermitianPart
from specgrad.testing import check_solver, random_hermitian

pytestmark = pytest.mark.eager


@dataclass(frozen=True)
class Blind:
    """Sees no values, as under a trace."""

    def view(self, array):
        return None


@dataclass(frozen=True)
class FailsOnNegative:
    """Raises like a linear algebra library if any matrix of the batch has a negative trace."""

    def solve(self, a):
        if any(np.trace(np.asarray(matrix)) < 0 for matrix in np.asarray(a).reshape(-1, *a.shape[-2:])):
            raise np.linalg.LinAlgError("Eigenvalues did not converge")
        return DenseEigh().solve(a)


@dataclass(frozen=True)
class NaNOnNegative:
    """Puts NaN where a matrix has a negative trace, as libraries without exceptions do."""

    def solve(self, a):
        values, vectors = DenseEigh().solve(a)
        total = values.sum(axis=-1)
        return (
            np.where((total < 0)[..., None], np.nan, values),
            np.where((total < 0)[..., None, None], np.nan, vectors),
        )


@dataclass(frozen=True)
class OnlyNegative:
    """Decomposes matrices with a negative diagonal, and the identity, and no others."""

    def solve(self, a):
        diagonals = np.diagonal(a, axis1=-2, axis2=-1)
        assert np.all((diagonals < 0) | (diagonals == 1))
        return DenseEigh().solve(a)


@dataclass(frozen=True)
class Marked:
    """Adds 1000 to the eigenvalues, to show who answered."""

    def solve(self, a):
        values, vectors = DenseEigh().solve(a)
        return values + 1000, vectors


@dataclass(frozen=True)
class Broken:
    def solve(self, a):
        raise ValueError("a mistake in the solver")


@pytest.mark.parametrize(
    "solver", [DenseEigh(), Fallback(DenseEigh(), DenseSVD()), Guarded(DenseEigh(), Blind())]
)
def test_residuals_on_every_spectrum(backend, dtype, solver):
    check_solver(solver, backend.xp, device=backend.device, sizes=(1, 2, 12), dtypes=(dtype,))


@dataclass(frozen=True)
class NaNInVectors(NaNOnNegative):
    """The same in the eigenvectors alone."""

    def solve(self, a):
        values, vectors = super().solve(a)
        return DenseEigh().solve(a)[0], np.where(np.isnan(values[..., None, :]), np.nan, vectors)


@pytest.mark.parametrize("first", [FailsOnNegative(), NaNOnNegative(), NaNInVectors()])
def test_fallback_replaces_failing_items_alone(first):
    batch = np.stack([np.diag([1.0, 2.0]), np.diag([-3.0, -4.0]), np.diag([5.0, 6.0])])
    values, vectors = Fallback(first, Marked()).solve(batch)
    np.testing.assert_array_equal(values, [[1, 2], [996, 997], [5, 6]])
    assert np.isfinite(vectors).all()


def test_the_second_solver_of_a_fallback_sees_failures_alone():
    # What has been decomposed could fail there, and cost the batch.
    batch = np.stack([np.diag([-1.0, -2.0]), np.diag([1.0, 2.0])])
    values, _ = Fallback(NaNOnNegative(), OnlyNegative()).solve(batch)
    np.testing.assert_array_equal(values, [[-2.0, -1.0], [1.0, 2.0]])


def test_fallback_passes_on_what_is_no_convergence_failure():
    with pytest.raises(ValueError, match="a mistake in the solver"):
        Fallback(Broken(), DenseEigh()).solve(np.eye(2))


def test_convergence_error_names_the_batch_index_and_the_solvers():
    batch = np.stack([[np.eye(2), np.eye(2)], [np.eye(2), -np.eye(2)]])
    with pytest.raises(
        ConvergenceError, match=r"batch index \(1, 1\).*FailsOnNegative.*did not converge.*Fallback"
    ):
        eigh(batch, solver=FailsOnNegative())
    with pytest.raises(
        ConvergenceError, match=r"batch index \(1, 1\).*FailsOnNegative\(\) or FailsOnNegative"
    ):
        Fallback(FailsOnNegative(), FailsOnNegative()).solve(batch)


def test_a_failing_solver_with_a_fallback_has_the_plain_gradient():
    batch = np.stack([np.diag([1.0, 2.0]), np.diag([-3.0, -4.0])])
    cotangent = np.ones((2, 2, 2)) / 3
    _, pullback = vjp(eigh, batch, solver=Fallback(FailsOnNegative(), DenseEigh()))
    _, plain = vjp(eigh, batch)
    np.testing.assert_array_equal(pullback((None, cotangent))[0], plain((None, cotangent))[0])


@dataclass(frozen=True)
class RaisesOnLarge:
    """`NaNOnNegative` that raises if a matrix of the batch is large."""

    def solve(self, a):
        if any(np.trace(np.asarray(matrix)) > 100 for matrix in np.asarray(a).reshape(-1, *a.shape[-2:])):
            raise np.linalg.LinAlgError("Eigenvalues did not converge")
        return NaNOnNegative().solve(a)


def test_fallback_takes_up_what_is_not_finite_beside_what_raises():
    batch = np.stack([np.diag([200.0, 1.0]), np.diag([-2.0, 1.0]), np.eye(2)])
    values, _ = Fallback(RaisesOnLarge(), DenseEigh()).solve(batch)
    np.testing.assert_array_equal(values, [[1, 200], [-2, 1], [1, 1]])
    values, _ = RaisesOnLarge().solve(batch[1:])
    np.testing.assert_array_equal(Fallback(RaisesOnLarge(), FailsOnNegative()).solve(batch[1:])[0], values)


def test_an_error_names_the_solver_of_the_user(backend):
    with pytest.raises(ConvergenceError, match=r"by FailsOnNegative\(\) \("):
        eigh(np.diag([-2.0, 1.0]), solver=FailsOnNegative(), check_finite=False)


@pytest.mark.parametrize("viewer", [Evaluate(), Blind()])
@pytest.mark.parametrize("place", [(0, 0), (1, 2), (2, 0)])
def test_guard_confines_what_is_not_finite(backend, dtype, viewer, place):
    good = random_hermitian(3, dtype, np.random.default_rng(1))
    bad = np.array(good)
    bad[place] = np.nan
    values, vectors = Guarded(DenseEigh(), viewer).solve(backend.array(np.stack([good, bad])))
    alone_values, _ = DenseEigh().solve(backend.array(good[None]))
    np.testing.assert_array_equal(backend.numpy(values)[0], backend.numpy(alone_values)[0])
    assert np.isnan(backend.numpy(values)[1]).all()
    assert np.isnan(backend.numpy(vectors)[1]).all()


@pytest.mark.parametrize("check_finite", [True, False])
def test_low_rank_in_single_precision(backend, dtype, check_finite):
    # Of rank 1, and exact; some LAPACKs fail for it in single precision.
    vector = np.array([1.0, 0.0, 0.0, 0.0, 32.0, 0.0, 64.0, -32.0]) * 2.0**-23
    low = np.outer(vector, vector).astype(dtype)
    batch = np.stack([low, np.eye(8, dtype=dtype), np.zeros_like(low)])
    found = eigh(backend.array(batch), check_finite=check_finite)
    values, vectors = map(backend.numpy, found)
    rounding = 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(values[0, -1], vector @ vector, rtol=rounding)
    np.testing.assert_allclose(values[0, :-1], 0.0, atol=rounding * (vector @ vector))
    np.testing.assert_array_equal(values[1:], [[1.0] * 8, [0.0] * 8])
    np.testing.assert_allclose(vectors.conj().mT @ vectors, np.stack([np.eye(8)] * 3), atol=4 * rounding)


@dataclass(frozen=True)
class FailsInSinglePrecision:
    """For a trace of 3, by NaN or by an error."""

    error: bool

    def solve(self, a):
        values, vectors = DenseEigh().solve(a)
        failed = (values.dtype == np.float32) & np.isclose(values.sum(axis=-1), 3.0)
        if self.error and failed.any():
            raise np.linalg.LinAlgError("Eigenvalues did not converge")
        return np.where(failed[..., None], np.nan, values), vectors


@pytest.mark.parametrize("error", [True, False])
@pytest.mark.parametrize("single", ["float32", "complex64"])
def test_failures_in_single_precision_are_tried_in_double(single, error):
    batch = np.stack([np.diag([1.0, 2.0]), np.diag([3.0, 4.0])]).astype(single)
    values, vectors = eigh(batch, solver=FailsInSinglePrecision(error))
    np.testing.assert_array_equal(values, [[1.0, 2.0], [3.0, 4.0]])
    assert (values.dtype, vectors.dtype) == (np.real(batch).dtype, single)


def test_what_fails_in_double_precision_too_is_said():
    with pytest.raises(ConvergenceError, match=r"FailsOnNegative\(\) in double precision"):
        eigh(np.diag([-2.0, 1.0]).astype(np.float32), solver=FailsOnNegative())
    values, _ = eigh(np.diag([-2.0, 1.0]).astype(np.float32), solver=NaNOnNegative())
    assert np.isnan(values).all()


@dataclass(frozen=True)
class Lists:
    """Gives its two arrays as a list."""

    def solve(self, a):
        return list(DenseEigh().solve(a))


def test_a_solver_may_give_a_list(backend):
    values, vectors = eigh(backend.array(np.diag([2.0, 1.0])), solver=Lists())
    np.testing.assert_array_equal(backend.numpy(values), [1.0, 2.0])
    assert vectors.shape == (2, 2)


def test_hermitian_part_solver_symmetrises(backend):
    a = np.array([[1.0, 2.0], [4.0, 1.0]])
    values, _ = HermitianPart(DenseEigh()).solve(backend.array(a))
    np.testing.assert_allclose(backend.numpy(values), [-2.0, 4.0], rtol=1e3 * np.finfo(float).eps)

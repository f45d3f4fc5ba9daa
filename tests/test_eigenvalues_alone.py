"""Eigenvalues are found without eigenvectors where no derivative can be asked for."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from specgrad import DenseEigh, eigvalsh, jvp, vjp
from specgrad.testing import random_hermitian


@dataclass(frozen=True)
class Noting:
    """A solver that notes what it is asked for."""

    asked: list = field(default_factory=list, compare=False)

    def solve(self, a):
        self.asked.append("all")
        return DenseEigh().solve(a)

    def eigenvalues(self, a):
        self.asked.append("eigenvalues")
        return DenseEigh().eigenvalues(a)


class Failing(Noting):
    def eigenvalues(self, a):
        raise np.linalg.LinAlgError("did not converge")


class Broken(Noting):
    def eigenvalues(self, a):
        return np.nan * super().eigenvalues(a)


class Mistaken(Noting):
    def eigenvalues(self, a):
        raise RuntimeError("a mistake")


class Twice(DenseEigh):
    def solve(self, a):
        values, vectors = super().solve(a)
        return 2.0 * values, vectors


@dataclass(frozen=True)
class WithANumber:
    eigenvalues: int = 3

    def solve(self, a):
        return DenseEigh().solve(a)


@dataclass(frozen=True)
class Answering:
    answer: Any = field(compare=False)

    def solve(self, a):
        return DenseEigh().solve(a)

    def eigenvalues(self, a):
        return self.answer


def matrices(dtype):
    return np.stack([random_hermitian(4, dtype, np.random.default_rng(seed)) for seed in (0, 1)])


def test_no_derivative_no_eigenvectors(backend, dtype):
    a, solver = matrices(dtype), Noting()
    found = backend.numpy(eigvalsh(backend.array(a), solver=solver))
    assert solver.asked == ["eigenvalues"]
    tolerance = 20 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(found, np.linalg.eigvalsh(a), atol=tolerance)


def test_a_derivative_has_its_eigenvectors(backend):
    a, solver = backend.array(matrices("float64")), Noting()
    vjp(eigvalsh, a, solver=solver)
    jvp(eigvalsh, (a,), (a,), solver=solver)
    eigvalsh(a, solver=solver, check_finite=False)
    assert solver.asked == ["all"] * 3


@pytest.mark.parametrize("kind", [Failing, Broken])
def test_where_eigenvalues_alone_fail_all_is_computed(backend, kind):
    a, solver = matrices("float64"), kind()
    found = backend.numpy(eigvalsh(backend.array(a), solver=solver))
    assert solver.asked[-1] == "all"
    np.testing.assert_allclose(found, np.linalg.eigvalsh(a), atol=1e-14)


def test_a_mistake_of_a_solver_is_not_taken_for_a_failure(backend):
    with pytest.raises(RuntimeError, match="a mistake"):
        eigvalsh(backend.array(matrices("float64")), solver=Mistaken())


def test_a_subclass_with_a_solve_of_its_own_is_asked_for_all(backend):
    a = matrices("float64")
    for solver, factor in ((Twice(), 2.0), (WithANumber(), 1.0)):
        found = backend.numpy(eigvalsh(backend.array(a), solver=solver))
        np.testing.assert_allclose(found, factor * np.linalg.eigvalsh(a), atol=1e-14)


def test_an_answer_that_is_no_eigenvalues_is_named(backend):
    a = backend.array(np.eye(2))
    for answer in ([1.0, 1.0], backend.array(np.ones(3)), backend.array(np.ones(2, dtype="complex128"))):
        with pytest.raises(
            TypeError, match=r"Answering.* gave a .* and a real one of its kind, of shape \(2,\)"
        ):
            eigvalsh(a, solver=Answering(answer))


def test_the_hermitian_part_of_what_is_hermitian_to_rounding(backend):
    a = np.array([[1.0, 2.0], [2.0 + 2e-9, 1.0]])
    found = backend.numpy(eigvalsh(backend.array(a)))
    np.testing.assert_allclose(found, np.linalg.eigvalsh((a + a.T) / 2), atol=1e-15)

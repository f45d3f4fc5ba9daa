"""NumPy's arrays of other types than its own: in a file, or of a class of the user's."""

import numpy as np
import pytest

from specgrad import (
    DenseSVD,
    Fallback,
    NewtonSchulz,
    PowerIteration,
    Refined,
    eigh,
    inv_sqrtm,
    sqrtm,
    vjp,
    zca_whiten,
)
from specgrad._namespace import namespace
from specgrad.solvers import DenseEigh
from specgrad.testing import check_solver

MATRIX = np.array([[2.0, 1.0, 0.0], [1.0, 3.0, 1.0], [0.0, 1.0, 4.0]])


class Subclass(np.ndarray):
    """An array with a name of its own."""


@pytest.fixture(params=["memory map", "subclass"])
def other(request, tmp_path):
    """A function from NumPy's arrays to such arrays."""

    def mapped(numbers):
        np.save(tmp_path / "numbers.npy", numbers)
        return np.load(tmp_path / "numbers.npy", mmap_mode="r")

    return mapped if request.param == "memory map" else lambda numbers: numbers.view(Subclass)


@pytest.mark.parametrize("check_finite", [True, False])
@pytest.mark.parametrize(
    "solver",
    [DenseEigh(), DenseSVD(), Refined(), Fallback(DenseEigh(), DenseSVD()), PowerIteration(5)],
    ids=repr,
)
def test_decompositions(other, solver, check_finite):
    results = [vjp(eigh, a, solver=solver, check_finite=check_finite) for a in (other(MATRIX), MATRIX)]
    for found, expected in zip(*(result for result, _ in results), strict=True):
        np.testing.assert_array_equal(found, expected)
    gradients = [pullback((np.arange(3.0), None))[0] for _, pullback in results]
    np.testing.assert_allclose(*gradients, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(
    "function",
    [sqrtm, inv_sqrtm, lambda a: sqrtm(a, solver=NewtonSchulz(20)), lambda a: zca_whiten(a).whitened],
    ids=["sqrtm", "inv_sqrtm", "Newton-Schulz", "zca_whiten"],
)
def test_functions(other, function):
    np.testing.assert_allclose(function(other(MATRIX)), function(MATRIX), rtol=1e-14, atol=1e-14)


def test_they_are_looked_at(other):
    with pytest.raises(ValueError, match="not Hermitian"):
        eigh(other(np.triu(np.ones((3, 3)))))
    with pytest.raises(ValueError, match="NaN or infinite"):
        zca_whiten(other(np.full((2, 5), np.nan)))


def test_a_solver_may_answer_with_them():
    class Answering:
        def solve(self, a):
            values, vectors = np.linalg.eigh(a)
            return values.view(Subclass), vectors.view(Subclass)

    np.testing.assert_array_equal(eigh(MATRIX, solver=Answering()).eigenvalues, eigh(MATRIX).eigenvalues)
    check_solver(Answering(), np, sizes=(3,))


@pytest.mark.parametrize(
    ("name", "arguments", "options"),
    [
        ("flip", (), {"axis": -1}),
        ("flip", (), {"axis": 0}),
        ("cumulative_sum", (), {"axis": -1}),
        ("astype", (np.float32,), {}),
        ("reshape", ((-1,),), {}),
        *((name, (), {}) for name in ("max", "min", "sum", "all", "any")),
        *((name, (), {"axis": -1, "keepdims": True}) for name in ("max", "min", "sum", "all", "any")),
        *((name, (), {"axis": (-2, -1)}) for name in ("max", "min", "sum", "all", "any")),
    ],
)
def test_functions_without_their_wrappers_are_those_of_numpy(name, arguments, options):
    for array in (MATRIX, MATRIX.view(Subclass), MATRIX > 1, MATRIX.astype(np.int32)):
        found, expected = (getattr(xp, name)(array, *arguments, **options) for xp in (namespace(array), np))
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype

"""`check_solver` finds what is broken, and says what and where."""

from collections.abc import Callable
from dataclasses import dataclass

import array_api_strict
import numpy as np
import pytest

from specgrad import (
    DenseEigh,
)
from specgrad.testing import (
    SPECTRA,
    check_solver,
    random_unitary,
)
from specgrad.testing.solver_checks import orthogonality_ratio, reconstruction_ratio


@dataclass(frozen=True)
class Perturbed:
    """A solver with one of several faults."""

    values: float = 0.0
    vectors: float = 0.0
    descending: bool = False
    batched: bool = True
    not_finite: bool = False
    strict: bool = False

    def solve(self, a):
        if self.strict:
            return tuple(map(array_api_strict.asarray, DenseEigh().solve(a)))
        if not self.batched and a.ndim > 2:
            raise TypeError("one matrix at a time, please")
        values, vectors = DenseEigh().solve(a)
        values, vectors = values * (1 + self.values), vectors * (1 + self.vectors)
        values[..., 0] = np.nan if self.not_finite else values[..., 0]
        return (values[..., ::-1], vectors[..., ::-1]) if self.descending else (values, vectors)


@pytest.mark.parametrize(
    ("solver", "message"),
    [
        (
            Perturbed(values=1e-4),
            r"'LAPACK 2: identity', n = 2, float32: \|A - V.* is \d.*at most 60 is allowed",
        ),
        (Perturbed(vectors=1e-4), r"'LAPACK 1: zero', n = 2, float32: \|I - V\^H V\|.*at most 60 is allowed"),
        (Perturbed(descending=True), r"'LAPACK 3.*not ascending"),
        (Perturbed(not_finite=True), r"'LAPACK 1: zero', n = 2, float32: an eigenvalue is not finite"),
        (
            Perturbed(strict=True),
            r"'LAPACK 1.*gives a Array and a Array for a ndarray, and arrays of the same",
        ),
        (Perturbed(batched=False), r"a batch of spectra, and not alone.*raises TypeError: one matrix"),
    ],
)
def test_solver_faults_are_found_and_named(solver, message):
    with pytest.raises(AssertionError, match=message):
        check_solver(solver, np, sizes=(2,))


@dataclass(frozen=True)
class Doubling:
    """A solver that decomposes what it has made of its input."""

    def solve(self, a):
        a *= 2
        return DenseEigh().solve(a)


@dataclass(frozen=True)
class Positive:
    """A solver that loses the sign of numbers, and a list where an array should be."""

    listed: bool = False

    def solve(self, a):
        values, vectors = DenseEigh().solve(a)
        values = np.abs(values) if a.shape[-1] == 1 else values
        return (values.tolist(), vectors) if self.listed else (values, vectors)


def test_a_solver_leaves_its_input_and_its_signs_as_they_are():
    with pytest.raises(AssertionError, match="it writes into its input"):
        check_solver(Doubling(), np, sizes=(2,))
    with pytest.raises(AssertionError, match=r"n = 1, .* at most 60 is allowed"):
        check_solver(Positive(), np, sizes=(1,))
    with pytest.raises(AssertionError, match="it gives list and ndarray, and arrays are needed"):
        check_solver(Positive(listed=True), np, sizes=(2,))


@dataclass(frozen=True)
class Choosy:
    """A solver that refuses some shapes of batches."""

    axes: tuple[int, ...] = (0, 1, 2)
    empty: bool = True
    shared: bool = False

    def solve(self, a):
        if a.ndim - 2 not in self.axes:
            raise TypeError(f"{a.ndim - 2} batch axes")
        if not self.empty and 0 in a.shape:
            raise ValueError("nothing to decompose")
        if self.shared and a.ndim > 3:
            a = a[:1] + 0 * a
        return DenseEigh().solve(a)


@pytest.mark.parametrize(
    ("solver", "message"),
    [
        (Choosy(axes=(1, 2)), r"'tie at the cut' without a batch axis, n = 2, .*TypeError: 0 batch axes"),
        (Choosy(axes=(0, 1)), r"two batch axes, and not one, n = 2, .*raises TypeError: 2 batch axes"),
        (Choosy(shared=True), r"two batch axes, and not one, n = 2, .*\|A - V.* is "),
        (Choosy(empty=False), r"an empty batch, n = 2, .*raises ValueError: nothing to decompose"),
    ],
)
def test_shapes_that_a_solver_refuses_are_found_and_named(solver, message):
    with pytest.raises(AssertionError, match=message):
        check_solver(solver, np, sizes=(1, 2))


def test_one_spectrum_is_enough():
    check_solver(Choosy(), np, sizes=(2,), spectra=SPECTRA[-1:])


@dataclass(frozen=True)
class Changed:
    """A solver whose answer is changed by a function."""

    change: Callable

    def solve(self, a):
        return self.change(*DenseEigh().solve(a))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values, vectors: (values.astype("float64"), vectors), "eigenvalues .* dtype float64"),
        (lambda values, vectors: (values, vectors.astype("complex64")), "eigenvectors .* dtype complex64"),
        (lambda values, vectors: (values[..., None], vectors), r"eigenvalues of shape \(2, 1\)"),
        (lambda values, vectors: (values, vectors[..., None]), r"eigenvectors of shape \(2, 2, 1\)"),
        (
            lambda values, vectors: (values, array_api_strict.asarray(vectors)),
            "gives a ndarray and a Array for a ndarray, and arrays of the same",
        ),
        (lambda values, vectors: (values, np.nan * vectors), "is nan, and at most 60 is allowed"),
    ],
)
def test_answers_that_are_nan_or_of_another_shape_precision_or_library_are_found(change, message):
    with pytest.raises(AssertionError, match=message):
        check_solver(Changed(change), np, sizes=(2,), dtypes=("float32",))


@pytest.mark.parametrize("n", [2, 5])
def test_the_ratios_are_those_of_lapack(n):
    off, unit = 2.0**-40, n * float(np.finfo("float64").eps)
    identity = np.eye(n)
    # The 1-norm is that of the worst column.
    last = np.where(np.arange(n) == n - 1, 1 + off, 1.0)
    for values in (last, np.full(n, 1 + off)):
        assert float(reconstruction_ratio(identity, values, identity)) == off / unit
        assert float(reconstruction_ratio(np.diag(values), values, identity)) == 0
        assert float(orthogonality_ratio(np.diag(values))) == pytest.approx(2 * off / unit)


def test_a_unitary_matrix_is_orthonormal():
    assert float(orthogonality_ratio(random_unitary(3, "complex128", np.random.default_rng(0)))) < 60


@pytest.mark.parametrize("scale", [3e-308, 1.2e308])
def test_the_ratios_near_the_ends_of_the_exponent_range_are_those_of_1(scale):
    # The 1-norm of the larger one is out of range, and its eigenvalues are not.
    a = np.array([[1.0, 1.0], [1.0, -1.0]])
    values, vectors = np.linalg.eigh(a)
    near, of_one = (
        float(reconstruction_ratio(c * a, c * (1 + 1e-6) * values, vectors)) for c in (scale, 1.0)
    )
    assert near == pytest.approx(of_one, rel=1e-6)


@dataclass(frozen=True)
class WithEigenvalues(DenseEigh):
    """A solver whose eigenvalues alone are off, fail, or have another shape."""

    factor: float = 1.0
    shortened: bool = False

    def eigenvalues(self, a):
        values = self.factor * super().eigenvalues(a)
        return values[..., 1:] if self.shortened else values


def test_eigenvalues_alone_are_checked_too():
    check_solver(WithEigenvalues(), np, sizes=(1, 2))
    for solver, message in (
        (WithEigenvalues(factor=1 + 1e-4), r"its eigenvalues\(a\) are .* n eps"),
        (WithEigenvalues(factor=np.nan), r"its eigenvalues\(a\) fails"),
        (WithEigenvalues(shortened=True), r"raises TypeError: .*for the eigenvalues of a"),
    ):
        with pytest.raises(AssertionError, match=message):
            check_solver(solver, np, sizes=(2,))

"""`check_solver` finds what is broken, and says what and where."""

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
)


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
        check_solver(solver, np, sizes=(2,))


def test_one_spectrum_is_enough():
    check_solver(Choosy(), np, sizes=(2,), spectra=SPECTRA[-1:])


@dataclass(frozen=True)
class OfAnotherPrecision:
    values: str = "float32"
    vectors: str = "float32"

    def solve(self, a):
        values, vectors = DenseEigh().solve(a)
        return values.astype(self.values), vectors.astype(self.vectors)


@pytest.mark.parametrize(
    ("solver", "message"),
    [
        (OfAnotherPrecision(values="float64"), "eigenvalues of shape .* and dtype float64"),
        (OfAnotherPrecision(vectors="complex64"), "eigenvectors of shape .* and dtype complex64"),
    ],
)
def test_another_precision_is_found_and_named(solver, message):
    with pytest.raises(AssertionError, match=message):
        check_solver(solver, np, sizes=(2,), dtypes=("float32",))

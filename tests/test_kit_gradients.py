"""`check_gradient` finds what is broken, and says what and where."""

from dataclasses import dataclass

import numpy as np
import pytest

from specgrad import (
    BroadenedGap,
    DenseEigh,
    ExactGap,
    MaskedGap,
    MaxRank,
    PowerIteration,
    WarnGauge,
    eigh,
    eigvalsh,
    sqrtm,
)
from specgrad.bind import differentiable
from specgrad.primitives import Eigh
from specgrad.testing import (
    ClusterLoss,
    LinearLoss,
    check_gap,
    check_gradient,
    check_solver,
    gap_spectrum,
)


@dataclass(frozen=True)
class WrongVjp(Eigh):
    def vjp(self, binding, arrays, outputs, cotangents):
        return (1.001 * super().vjp(binding, arrays, outputs, cotangents)[0],)


@dataclass(frozen=True)
class WrongBoth(WrongVjp):
    def jvp(self, binding, arrays, outputs, tangents):
        return tuple(1.001 * t for t in super().jvp(binding, arrays, outputs, tangents))


@pytest.mark.parametrize(("kind", "message"), [(WrongVjp, "not adjoint"), (WrongBoth, "finite differences")])
def test_gradient_faults_are_found_and_told_apart(kind, message):
    @differentiable
    def faulty(binding, a):
        return binding.apply(kind(DenseEigh(), ExactGap(), eigh_gauge), a)[0]

    eigh_gauge = None
    with pytest.raises(AssertionError, match=rf"faulty.*{message}.*is allowed"):
        check_gradient(faulty, gap_spectrum(0.1).matrix(4))


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_gradient_faults_of_eigenvectors_are_found(dtype):
    # A rule that is wrong everywhere by a part in a thousand or so.
    a = gap_spectrum(0.2).matrix(4, dtype)
    loss = ClusterLoss(((2, 3),))
    check_gradient(eigh, a, loss=loss, gap=MaskedGap())
    with pytest.raises(AssertionError, match=r"finite differences .* is allowed"):
        check_gradient(eigh, a, loss=loss, gap=BroadenedGap(width=0.1))


@dataclass(frozen=True)
class WritesIntoItsInput(Eigh):
    def forward(self, a):
        found = super().forward(a)
        a[...] *= 2
        return found


@dataclass(frozen=True)
class WritesIntoItsCotangent(Eigh):
    def vjp(self, binding, arrays, outputs, cotangents):
        found = super().vjp(binding, arrays, outputs, cotangents)
        cotangents[0][...] *= 2
        return found


@dataclass(frozen=True)
class WritesIntoItsOutput(Eigh):
    def vjp(self, binding, arrays, outputs, cotangents):
        found = super().vjp(binding, arrays, outputs, cotangents)
        outputs[1][...] *= 1.001
        return found


@dataclass(frozen=True)
class LowerTriangle(Eigh):
    def vjp(self, binding, arrays, outputs, cotangents):
        (found,) = super().vjp(binding, arrays, outputs, cotangents)
        return (2 * np.tril(found) - np.diag(np.diag(found)),)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (WritesIntoItsInput, "its arguments, which belong to the caller, are written into"),
        (WritesIntoItsCotangent, "its cotangents, which belong to the caller, are written into"),
        (WritesIntoItsOutput, "another gradient when it is called again: some part writes into arrays"),
        (LowerTriangle, "the gradient is not Hermitian"),
    ],
)
def test_gradients_that_are_right_by_number_alone_are_found(kind, message):
    @differentiable
    def faulty(binding, a):
        return binding.apply(kind(DenseEigh(), MaskedGap(), WarnGauge()), a)[0]

    with pytest.raises(AssertionError, match=message):
        check_gradient(faulty, gap_spectrum(0.1).matrix(4))


def test_a_library_without_double_precision_is_named():
    class Single:
        """NumPy, but for its double precision."""

        asarray = staticmethod(lambda numbers, **options: np.asarray(numbers, dtype="float32"))

    for check, value in ((check_solver, DenseEigh()), (check_gap, MaskedGap())):
        with pytest.raises(ValueError, match=r"gave float32 for float64, .* keep double precision"):
            check(value, Single, sizes=(2,), dtypes=("float64",))


@pytest.mark.parametrize("scale", [1e-150, 1e-20, 1e150])
def test_gradients_at_every_scale_pass(scale):
    check_gradient(sqrtm, scale * np.diag([1.0, 2.0, 3.0]))
    check_gradient(eigh, scale * np.diag([1.0, 2.0, 4.0]), loss=ClusterLoss(((1, 2),)))


@pytest.mark.parametrize("shape", [(0, 3, 3), (2, 0, 3, 3), (0, 0), (2, 0, 0)])
def test_gradients_of_empty_arrays_pass(shape):
    check_gradient(eigvalsh, np.zeros(shape))
    check_gradient(eigh, np.zeros(shape), loss=ClusterLoss(((0, 1),)))


@dataclass(frozen=True)
class WrongShape(Eigh):
    def vjp(self, binding, arrays, outputs, cotangents):
        return (super().vjp(binding, arrays, outputs, cotangents)[0][None],)


@dataclass(frozen=True)
class NaNVjp(Eigh):
    def vjp(self, binding, arrays, outputs, cotangents):
        return (np.nan * super().vjp(binding, arrays, outputs, cotangents)[0],)


@dataclass(frozen=True)
class NaNJvp(Eigh):
    def jvp(self, binding, arrays, outputs, tangents):
        return tuple(np.nan * t for t in super().jvp(binding, arrays, outputs, tangents))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (NaNVjp, "the gradient is not finite"),
        (NaNJvp, "the tangent from jvp is not finite"),
        (WrongShape, r"the gradient has shape \(1, 3, 3\), and \(3, 3\) is needed"),
    ],
)
def test_gradients_that_are_not_finite_or_of_a_wrong_shape_are_found(kind, message):
    @differentiable
    def faulty(binding, a):
        return binding.apply(kind(DenseEigh(), ExactGap(), None), a)[0]

    with pytest.raises(AssertionError, match=f"faulty.*{message}"):
        check_gradient(faulty, gap_spectrum(0.1).matrix(3))


def test_a_loss_that_is_not_finite_is_found():
    @dataclass(frozen=True)
    class NaNBeside:
        def solve(self, a):
            values, vectors = DenseEigh().solve(a)
            return (values if np.array_equal(a, given) else np.nan * values), vectors

    given = gap_spectrum(0.1).matrix(3)
    with pytest.raises(AssertionError, match=r"eigvalsh.*the loss at a step of .* is not finite"):
        check_gradient(eigvalsh, given, solver=NaNBeside())


@pytest.mark.parametrize("truncation", [None, MaxRank(2)])
def test_a_loss_that_depends_on_signs_is_refused(truncation):
    a = gap_spectrum(0.1).matrix(4)
    for chosen in ({}, {"loss": LinearLoss(seed=1)}):
        with pytest.raises(ValueError, match=r"eigh with .* puts out eigenvectors.*loss=ClusterLoss\("):
            check_gradient(eigh, a, truncation=truncation, **chosen)


def test_signs_that_a_solver_differentiates_are_no_chance():
    check_gradient(eigh, gap_spectrum(0.3).matrix(4), solver=PowerIteration(steps=3))


def test_gradient_of_eigenvalues_passes():
    check_gradient(eigvalsh, gap_spectrum(0.1).matrix(4))

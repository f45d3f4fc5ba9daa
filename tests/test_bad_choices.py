"""Solvers, rules and numbers that could not work are refused in a sentence."""

from dataclasses import dataclass
from decimal import Decimal
from functools import partial

import numpy as np
import pytest

from specgrad import (
    DaleckiiKrein,
    DenseSVD,
    EigenvalueFloor,
    EnergyRatio,
    Fallback,
    FromDerivative,
    MaskedGap,
    MaxRank,
    NewtonSchulz,
    NewtonSchulzGradient,
    Power,
    PowerIteration,
    RaiseGauge,
    RaiseResidual,
    Refined,
    Standardise,
    ThroughEigenvectors,
    ThroughSolver,
    WarnGauge,
    WarnResidual,
    covariance,
    eigh,
    eigvalsh,
    generalised_eigh,
    sqrtm,
)
from specgrad.solvers import DenseEigh


@dataclass(frozen=True)
class HalfDifferentiated:
    """A solver whose author forgot forward mode."""

    def solve(self, a):
        return DenseEigh().solve(a)

    def vjp(self, a, cotangents):
        return a


@dataclass(frozen=True)
class RootAlone:
    def root(self, a):
        return a, a


@pytest.mark.parametrize(
    ("choice", "numbers"),
    [
        (Standardise, (-1.0, "5", float("inf"))),
        (NewtonSchulz, (0, 2.5, "5")),
        (NewtonSchulzGradient, (0, 1.5)),
        (WarnResidual, (-1.0,)),
        (RaiseResidual, (-1.0, "0.1")),
        (WarnGauge, (-1.0,)),
        (RaiseGauge, (-1.0,)),
        (EigenvalueFloor, ("a", float("nan"))),
        (EnergyRatio, (0.0, "0.5")),
        (partial(EnergyRatio, 0.5), ("no", None, 2)),
        (Power, ("a", float("nan"), float("inf"))),
        (MaxRank, (np.array([1, 2]), np.datetime64("2020"))),
        (MaskedGap, (np.array([1.0, 2.0]),)),
    ],
)
def test_a_number_out_of_range_is_refused_when_the_value_is_made(choice, numbers):
    name = getattr(choice, "func", choice).__name__
    for number in numbers:
        with pytest.raises((TypeError, ValueError), match=f"{name} needs"):
            choice(number)


def test_a_choice_made_of_a_class_is_refused_when_the_value_is_made():
    for make in (
        lambda: Fallback(DenseEigh, DenseSVD),
        lambda: Refined(DenseEigh),
        lambda: ThroughEigenvectors(MaskedGap),
        lambda: DaleckiiKrein(MaskedGap),
        lambda: ThroughSolver(PowerIteration),
        lambda: NewtonSchulz(5, WarnResidual),
    ):
        with pytest.raises(TypeError, match=r"is the class \w+, and a value is needed"):
            make()
    with pytest.raises(TypeError, match=r"solver is DenseEigh\(\), and a value with a method vjp"):
        ThroughSolver(DenseEigh())
    for function in (eigh, sqrtm):
        with pytest.raises(TypeError, match=r"HalfDifferentiated\(\), which has no jvp"):
            function(np.eye(2), solver=HalfDifferentiated())
    with pytest.raises(TypeError, match=r"which has no root_vjp, root_jvp, residual"):
        sqrtm(np.eye(2), solver=RootAlone())
    with pytest.raises(TypeError, match="residual is None"):
        NewtonSchulz(5, None)
    with pytest.raises(TypeError, match="derivative is 2"):
        FromDerivative(np.sin, 2)


def test_a_solver_with_its_own_derivative_sees_checked_input():
    for bad, message in (
        (np.array([[1.0, 2.0], [0.0, 1.0]]), "not Hermitian"),
        (np.diag([1, np.nan]), "NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            eigh(bad, solver=PowerIteration(4))


def test_a_gradient_rule_without_forward_mode_is_named_at_once():
    class ReverseOnly:
        def vjp(self, function, at, cotangent):
            return cotangent

    with pytest.raises(TypeError, match="a value with a method jvp is needed"):
        sqrtm(np.eye(2), gradient=ReverseOnly())


def test_choices_that_are_no_values_say_so(backend):
    a = backend.array(np.eye(2))
    with pytest.raises(TypeError, match=r"solver is 'svd', and a value with a method solve.*DenseEigh"):
        eigh(a, solver="svd")
    with pytest.raises(TypeError, match=r"gap is 0\.1, and a value with a method matrix"):
        eigh(a, gap=0.1)
    with pytest.raises(TypeError, match=r"truncation is 3, and a value with a method keep.*MaxRank"):
        eigh(a, truncation=3)
    with pytest.raises(TypeError, match=r"gauge is 'raise', and a value with a method apply.*RaiseGauge"):
        eigh(a, gauge="raise")
    with pytest.raises(TypeError, match=r"gap is the class MaskedGap, and a value is needed.*MaskedGap\(\)"):
        eigh(a, gap=MaskedGap)


def test_choices_in_a_metric_that_are_no_values_say_so(backend):
    a = backend.array(np.eye(2))
    for name, method in (("solver", "solve"), ("gap", "matrix"), ("gauge", "apply")):
        with pytest.raises(TypeError, match=rf"{name} is 'x', and a value with a method {method}"):
            generalised_eigh(a, a, **{name: "x"})


def test_a_fallback_sees_checked_input(backend):
    values = eigvalsh(backend.array(np.diag([2.0, 1.0])), solver=Fallback(DenseEigh(), DenseSVD()))
    np.testing.assert_allclose(backend.numpy(values), [1.0, 2.0])


@pytest.mark.parametrize("choice", [MaxRank, NewtonSchulz, Power, MaskedGap, WarnGauge])
def test_an_array_with_axes_is_no_number(backend, choice):
    with pytest.raises(TypeError, match=f"{choice.__name__} needs"):
        choice(backend.array(np.asarray([3.0])))


def test_an_array_of_numpy_without_axes_is_a_number():
    assert MaxRank(np.asarray(2)) == MaxRank(2)
    assert type(Power(np.asarray(0.5)).exponent) is float
    with pytest.raises(ValueError, match="integer of at least 1 for rank, not -1"):
        MaxRank(np.asarray(-1))


def test_numbers_keep_their_kind():
    assert type(MaxRank(np.int64(2)).rank) is int
    with pytest.raises(TypeError, match=r"absolute, not Decimal\('0.1'\)"):
        EigenvalueFloor(Decimal("0.1"))


def test_a_truth_value_is_no_whole_number():
    with pytest.raises(ValueError, match="MaxRank needs an integer"):
        MaxRank(True)


def test_an_argument_takes_the_numbers_of_numpy_too():
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(covariance(x, eps=np.asarray(0.5)), covariance(x, eps=0.5))
    with pytest.raises(TypeError, match="and a number is needed"):
        covariance(x, eps=np.asarray([0.5]))


def test_an_argument_that_is_an_array_of_another_library_says_what_to_do(backend):
    if backend.name == "numpy":
        pytest.skip("its arrays without axes are numbers")
    x = backend.array(np.arange(6.0).reshape(2, 3))
    with pytest.raises(TypeError, match=r"and a number is needed: convert it by float\(\)"):
        covariance(x, eps=backend.array(np.asarray(0.5)))

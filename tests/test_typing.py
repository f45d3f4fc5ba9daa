"""What a type checker says of programs that use the library: `make lint` runs mypy on this file."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, assert_type

import numpy as np
import pytest

import specgrad as sg
from specgrad.gauge import GaugePolicy
from specgrad.solvers import RootSolver, Solver
from specgrad.truncation import Truncation

MATRIX: np.ndarray = np.diag([3.0, 2.0, 1.0])


@dataclass(frozen=True)
class OwnSolver:
    """Parts of users name their arguments as they like."""

    def solve(self, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, vectors = np.linalg.eigh(matrix)
        return values, vectors


@dataclass(frozen=True)
class OwnGap:
    def matrix(self, eigenvalues: np.ndarray) -> Any:
        return sg.MaskedGap().matrix(eigenvalues)

    def bound(self, eigenvalues: np.ndarray) -> Any:
        return sg.MaskedGap().bound(eigenvalues)


@dataclass(frozen=True)
class OwnTruncation:
    def keep(self, matrix: np.ndarray, eigenvalues: np.ndarray, eigenvectors: np.ndarray) -> np.ndarray:
        return eigenvalues > 1.5


@dataclass(frozen=True)
class Square:
    def __call__(self, eigenvalues: np.ndarray) -> Any:
        return eigenvalues**2

    def divided_difference(self, left: np.ndarray, right: np.ndarray) -> Any:
        return left + right


def test_the_result_of_eigh_has_the_type_that_goes_with_its_truncation() -> None:
    values, vectors = assert_type(sg.eigh(MATRIX), sg.EighResult)
    assert values.shape == (3,)
    assert vectors.shape == (3, 3)
    assert assert_type(sg.generalised_eigh(MATRIX, MATRIX), sg.EighResult).eigenvalues.shape == (3,)
    assert assert_type(sg.eigh(MATRIX, truncation=sg.MaxRank(2)), sg.TruncatedEighResult).rank == 2

    def by_choice(truncation: Truncation | None) -> sg.EighResult | sg.TruncatedEighResult:
        return assert_type(
            sg.eigh(MATRIX, truncation=truncation, gap=sg.ExactGap()),
            sg.EighResult | sg.TruncatedEighResult,
        )

    assert isinstance(by_choice(None), sg.EighResult)
    assert isinstance(by_choice(sg.MaxRank(1)), sg.TruncatedEighResult)


def test_what_eigh_does_not_know_is_an_error_of_the_checker_too() -> None:
    calls: list[Callable[[], object]] = [
        lambda: sg.eigh(MATRIX, gap=3),  # type: ignore[call-overload]
        lambda: sg.eigh(MATRIX, rule=sg.MaskedGap()),  # type: ignore[call-overload]
        lambda: sg.eigh(MATRIX, sg.MaskedGap()),  # type: ignore[call-overload]
        lambda: sg.inv_sqrtm(MATRIX, solver=3),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(TypeError):
            call()


def test_values_of_the_library_and_of_users_are_what_the_protocols_ask_for() -> None:
    solvers: list[Solver] = [sg.DenseEigh(), sg.DenseSVD(), sg.PowerIteration(9), OwnSolver()]
    solvers += [sg.Fallback(sg.DenseEigh(), OwnSolver()), sg.Refined(sg.DenseEigh())]
    roots: list[RootSolver] = [sg.NewtonSchulz(12, residual=sg.RaiseResidual())]
    truncations: list[Truncation] = [sg.MaxRank(2) & OwnTruncation(), sg.EnergyRatio(0.5) | sg.MaxRank(1)]
    policies: list[GaugePolicy] = [sg.WarnGauge(), sg.RaiseGauge(), sg.ProjectGauge()]
    for solver in solvers:
        assert sg.eigh(MATRIX, solver=solver, gap=OwnGap()).eigenvalues.shape == (3,)
    for root in roots:
        assert np.allclose(sg.sqrtm(MATRIX, solver=root), sg.sqrtm(MATRIX), atol=1e-6)
    for truncation in truncations:
        assert sg.spectral_projector(MATRIX, truncation).shape == (3, 3)
    for policy in policies:
        assert sg.eigh(MATRIX, gauge=policy).eigenvalues.shape == (3,)


def test_functions_and_gradient_rules_fit_their_protocols() -> None:
    functions: list[sg.functions.MatrixFunction] = [
        Square(),
        sg.Power(2),
        sg.Log(),
        sg.Shifted(sg.Exp(), 1.0),
        sg.Clamped(sg.Sqrt(), 0.5),
        sg.FromDerivative(np.sin, np.cos),
    ]
    rules: list[sg.gradients.GradientRule] = [
        sg.DaleckiiKrein(cut=sg.MaskedCut()),
        sg.ThroughEigenvectors(OwnGap()),
        sg.ThroughSolver(sg.PowerIteration(9)),
    ]
    for function in functions:
        for rule in rules:
            assert sg.matrix_function(MATRIX, function, gradient=rule).shape == (3, 3)

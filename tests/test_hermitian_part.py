"""Without its check, every part of the library sees the Hermitian part of what it is given."""

from dataclasses import dataclass

import numpy as np
import pytest

from specgrad import (
    AcceptResidual,
    DaleckiiKrein,
    DenseEigh,
    ExactGap,
    NewtonSchulz,
    NewtonSchulzGradient,
    PowerIteration,
    ThroughEigenvectors,
    eigh,
    jvp,
    sqrtm,
    vjp,
)
from specgrad.testing import dense, random_hermitian


@pytest.mark.parametrize(
    ("solver", "gradient"),
    [
        (DenseEigh(), DaleckiiKrein()),
        (DenseEigh(), ThroughEigenvectors(ExactGap())),
        (DenseEigh(), NewtonSchulzGradient(5)),
        (NewtonSchulz(5, AcceptResidual()), None),
        pytest.param(PowerIteration(500), None, marks=pytest.mark.eager),
    ],
    ids=repr,
)
def test_every_solver_and_rule_sees_the_hermitian_part(backend, double, solver, gradient):
    generator = np.random.default_rng(0)
    hermitian = dense(np.array([1.0, 0.7, 0.45, 0.25, 0.1]), double, generator)
    one_sided = np.triu(hermitian, 1) * 2 + np.diag(np.diag(hermitian))
    direction = random_hermitian(5, double, generator)

    def derivatives(a):
        a, options = backend.array(a), {"solver": solver, "gradient": gradient, "check_finite": False}
        root, pullback = vjp(sqrtm, a, **options)
        _, tangent = jvp(sqrtm, (a,), (backend.array(direction),), **options)
        return [backend.numpy(x) for x in (root, *pullback(backend.array(direction)), tangent)]

    for found, expected in zip(derivatives(one_sided), derivatives(hermitian), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-12 * np.max(np.abs(expected)))


@dataclass(frozen=True)
class AboveTheCorner:
    def keep(self, a, values, vectors):
        return values > a[..., 1, :1]


def test_a_truncation_sees_the_hermitian_part(backend):
    one_sided = backend.array(np.array([[3.0, 2.0], [0.0, 1.0]]))  # eigenvalues 2 + 2**0.5, 2 - 2**0.5
    assert int(eigh(one_sided, truncation=AboveTheCorner(), check_finite=False).rank) == 1


def test_the_derivative_of_a_root_solver_sees_the_hermitian_part_of_a_tangent(backend):
    a, one_sided = backend.array(np.diag([1.0, 2.0])), np.array([[0.0, 1.0], [0.0, 0.0]])
    tangents = (backend.array(t) for t in (one_sided, (one_sided + one_sided.T) / 2))
    found, expected = (NewtonSchulz(9).root_jvp(a, tangent) for tangent in tangents)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(backend.numpy(one), backend.numpy(other), atol=1e-14)

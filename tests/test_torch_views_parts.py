"""Which primitives are evaluated on NumPy's views, and that parts of a user never are."""

import copy
import pickle
from dataclasses import dataclass, field

import numpy as np
import pytest
from torch_cases import SEPARATED, loss, matrices, specgrad_torch, torch
from view_cases import one_thread, outputs_and_gradients, several_threads

from specgrad import (
    DaleckiiKrein,
    DenseEigh,
    EnergyRatio,
    Log,
    MaskedGap,
    MaxRank,
    NewtonSchulz,
    PowerIteration,
    Standardise,
    primitives,
)
from specgrad_torch import _views

on_one_thread = pytest.fixture(autouse=True)(one_thread)


@dataclass(frozen=True)
class Recording:
    """A part that notes the types of the arrays that it is given."""

    seen: list = field(default_factory=list, compare=False)

    def note(self, array):
        self.seen.append(type(array))


class RecordingGap(Recording):
    def matrix(self, values):
        self.note(values)
        return MaskedGap(noise=None).matrix(values)

    def bound(self, values):
        return MaskedGap().bound(values)


class RecordingTruncation(Recording):
    def keep(self, a, values, vectors):
        self.note(values)
        return values > 2.0


class RecordingSolver(Recording):
    def solve(self, a):
        self.note(a)
        return torch.linalg.eigh(a)


class RecordingGauge(Recording):
    def apply(self, values, vectors, cotangents, viewer):
        self.note(cotangents[1])
        return cotangents[1]


class RecordingLog(Recording):
    def __call__(self, values):
        self.note(values)
        return torch.log(values)

    def divided_difference(self, x, y):
        self.note(x)
        return Log().divided_difference(x, y)


class RecordingGradient(Recording):
    def vjp(self, function, at, cotangent):
        self.note(cotangent)
        return DaleckiiKrein().vjp(function, at, cotangent)

    def jvp(self, function, at, tangent):
        self.note(tangent)
        return DaleckiiKrein().jvp(function, at, tangent)


def in_own_metric(a, **options):
    return specgrad_torch.generalised_eigh(a, a @ a, **options)


USERS = {
    "gap": lambda part: lambda a: loss(a, gap=part),
    "truncation": lambda part: lambda a: loss(a, truncation=part),
    "solver": lambda part: lambda a: specgrad_torch.inv_sqrtm(a, solver=part),
    "gauge": lambda part: lambda a: loss(a, gauge=part),
    "function": lambda part: lambda a: specgrad_torch.matrix_function(a, part),
    "gradient": lambda part: lambda a: specgrad_torch.logm(a, gradient=part),
    "cut": lambda part: (
        lambda a: specgrad_torch.sqrtm(a, gradient=DaleckiiKrein(cut=part), truncation=MaxRank(2))
    ),
    "combined": lambda part: lambda a: loss(a, truncation=MaxRank(3) & part),
    "solver of whitening": lambda part: lambda a: specgrad_torch.zca_whiten(a, solver=part).whitened.sum(),
    "gap in a metric": lambda part: lambda a: loss(a, in_own_metric, gap=part),
    "gauge in a metric": lambda part: lambda a: loss(a, in_own_metric, gauge=part),
    "solver in a metric": lambda part: lambda a: loss(a, in_own_metric, solver=part),
}
KINDS = {
    "gap": RecordingGap,
    "truncation": RecordingTruncation,
    "solver": RecordingSolver,
    "gauge": RecordingGauge,
    "function": RecordingLog,
    "gradient": RecordingGradient,
    "cut": RecordingGap,
    "combined": RecordingTruncation,
    "solver of whitening": RecordingSolver,
    "gap in a metric": RecordingGap,
    "gauge in a metric": RecordingGauge,
    "solver in a metric": RecordingSolver,
}


@pytest.mark.parametrize("name", USERS)
def test_parts_of_a_user_are_given_tensors(name):
    part = KINDS[name]()
    outputs_and_gradients(USERS[name](part), matrices(SEPARATED))
    assert set(part.seen) == {torch.Tensor}


def types_given_to_the_rule(monkeypatch, function, *inputs):
    """The types of eigenvalues that the default rule is asked about."""
    seen = set()
    original = MaskedGap.matrix
    monkeypatch.setattr(MaskedGap, "matrix", lambda self, x: seen.add(type(x)) or original(self, x))
    outputs_and_gradients(function, *inputs)
    return seen


def rotated(values):
    return matrices((tuple(values),))


def test_small_matrices_are_evaluated_by_numpy(monkeypatch):
    several_threads(monkeypatch)
    seen = types_given_to_the_rule(monkeypatch, loss, rotated(range(1, 65)))
    assert seen == {np.ndarray}


def test_large_matrices_are_left_to_several_threads(monkeypatch):
    several_threads(monkeypatch)
    seen = types_given_to_the_rule(monkeypatch, loss, rotated(range(1, 66)))
    assert seen == {torch.Tensor}


def test_one_thread_has_no_use_for_them(monkeypatch):
    seen = types_given_to_the_rule(monkeypatch, loss, rotated(range(1, 66)))
    assert seen == {np.ndarray}


def test_few_samples_of_many_variables_are_left_to_several_threads(monkeypatch):
    several_threads(monkeypatch)
    seen = set()
    keep = MaxRank.keep
    monkeypatch.setattr(MaxRank, "keep", lambda self, a, *pair: seen.add(type(a)) or keep(self, a, *pair))
    for variables in (64, 65):
        x = torch.randn(variables, 9, dtype=torch.float64, generator=torch.manual_seed(0))
        specgrad_torch.pca_denoise(x, truncation=MaxRank(2))
        assert seen == {np.ndarray if variables == 64 else torch.Tensor}
        seen.clear()


def test_products_that_outweigh_all_else_are_operations(monkeypatch):
    monkeypatch.setattr(_views, "_ENTRIES_ON_ONE_THREAD", 64 * 64)
    seen = types_given_to_the_rule(monkeypatch, loss, rotated(range(1, 66)))
    assert seen == {torch.Tensor}


def test_threads_may_be_given_to_pytorch_later(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    seen = types_given_to_the_rule(monkeypatch, loss, rotated(range(1, 66)))
    assert seen == {torch.Tensor}


def test_a_small_covariance_of_many_samples_is_evaluated_by_numpy(monkeypatch):
    several_threads(monkeypatch)
    x = torch.randn(4, 5000, dtype=torch.float64, generator=torch.manual_seed(0))
    rule = DaleckiiKrein(cut=MaskedGap())
    seen = types_given_to_the_rule(
        monkeypatch, lambda x: specgrad_torch.pca_denoise(x, truncation=MaxRank(2), gradient=rule).denoised, x
    )
    assert seen == {np.ndarray}


EVALUATED = {
    primitives.Covariance: specgrad_torch.covariance,
    primitives.PooledCovariance: specgrad_torch.covariance_pool,
    primitives.SpectralFilter: lambda x: specgrad_torch.zca_whiten(x).whitened,
    primitives.Standardised: lambda x: (
        specgrad_torch.pca_denoise(x, truncation=MaxRank(2), scaling=Standardise()).denoised
    ),
    primitives.SquareRoot: lambda x: specgrad_torch.sqrtm(x, solver=NewtonSchulz(20)),
    primitives.ApplyFunction: specgrad_torch.expm,
    primitives.TruncatedEigh: lambda x: loss(x, truncation=EnergyRatio(0.9)),
    primitives.Eigh: loss,
    primitives.GeneralisedEigh: lambda x: loss(x, in_own_metric),
}


@pytest.mark.parametrize("kind", EVALUATED, ids=lambda kind: kind.__name__)
def test_every_primitive_is_evaluated_by_numpy(monkeypatch, kind):
    seen = {"forward": set(), "vjp": set()}
    forward, vjp = kind.forward, kind.vjp

    def forward_seen(self, *arrays):
        seen["forward"].add(type(arrays[0]))
        return forward(self, *arrays)

    def vjp_seen(self, binding, arrays, outputs, cotangents):
        seen["vjp"].add(next(type(g) for g in cotangents if g is not None))
        return vjp(self, binding, arrays, outputs, cotangents)

    monkeypatch.setattr(kind, "forward", forward_seen)
    monkeypatch.setattr(kind, "vjp", vjp_seen)
    outputs_and_gradients(EVALUATED[kind], matrices(SEPARATED))
    assert seen["vjp"] == {np.ndarray}
    # A decomposition without a truncation is its solver, which is given tensors.
    assert seen["forward"] == {torch.Tensor if kind is primitives.Eigh else np.ndarray}


def test_a_solver_that_repeats_its_steps_is_given_the_same_arrays(monkeypatch):
    """Of eigenvectors that rounding decides, it would find others in another library."""
    seen = []
    solve, vjp = PowerIteration.solve, PowerIteration.vjp
    monkeypatch.setattr(PowerIteration, "solve", lambda self, a: seen.append(type(a)) or solve(self, a))
    monkeypatch.setattr(PowerIteration, "vjp", lambda self, a, g: seen.append(type(a)) or vjp(self, a, g))
    for function in (
        lambda a: loss(a, solver=PowerIteration(9)),
        lambda a: specgrad_torch.sqrtm(a, solver=PowerIteration(9)),
        lambda a: specgrad_torch.whitening_matrix(a, solver=PowerIteration(9), truncation=None),
    ):
        outputs_and_gradients(function, matrices(SEPARATED))
        assert set(seen) == {torch.Tensor}
        assert len(seen) >= 2
        seen.clear()


def test_second_derivatives_and_transforms_are_operations(monkeypatch):
    a = matrices(SEPARATED)
    seen = set()
    original = MaskedGap.matrix
    monkeypatch.setattr(MaskedGap, "matrix", lambda self, x: seen.add(type(x)) or original(self, x))
    given = a.clone().requires_grad_()
    torch.autograd.grad(loss(given), given, create_graph=True)
    torch.func.grad(loss)(a)
    with torch.autograd.forward_ad.dual_level():
        loss(torch.autograd.forward_ad.make_dual(a, a))
    assert np.ndarray not in seen


def test_the_adapted_solver_takes_both():
    solver = _views.SolverOnTensors(DenseEigh())
    a = matrices(SEPARATED)
    for one, other in zip(solver.solve(a.numpy()), solver.solve(a), strict=True):
        assert isinstance(one, np.ndarray)
        np.testing.assert_array_equal(one, other.numpy())
    assert repr(solver) == "DenseEigh()"
    assert copy.deepcopy(solver) == pickle.loads(pickle.dumps(solver)) == solver

"""The evaluation of primitives on NumPy's views: what it gives, whom it concerns, and whose memory it is."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from torch.utils._python_dispatch import TorchDispatchMode
from torch_cases import GAP_RULES, RAGGED, SEPARATED, TIED, TRUNCATIONS, loss, matrices, specgrad_torch, torch

from specgrad import (
    ConvergenceError,
    DaleckiiKrein,
    DenseEigh,
    EnergyRatio,
    ExactGap,
    Log,
    MaskedGap,
    MaxRank,
    NewtonSchulz,
    PowerIterationGap,
    RaiseGauge,
    Standardise,
    ThroughEigenvectors,
    WarnGauge,
)
from specgrad_torch import _host
from specgrad_torch.nn import CovariancePooling, PCADenoising, ZCAWhitening

ROUNDING = {"rtol": 1e-11, "atol": 1e-11}


class Watching(TorchDispatchMode):
    """Counts operations, which are then PyTorch's."""

    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.operations.append(str(function))
        return function(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    monkeypatch.setattr(_host, "_STARTED_ON_ONE_THREAD", True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def several_threads(monkeypatch):
    monkeypatch.setattr(_host, "_STARTED_ON_ONE_THREAD", False)


def outputs_and_gradients(function, *inputs):
    """All outputs, and the gradients of a weighted sum of those that have any."""
    inputs = [x.detach().clone().requires_grad_() for x in inputs]
    outputs = function(*inputs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    weighted = (torch.arange(y.numel()).reshape(y.shape).cos() * y for y in outputs if y.requires_grad)
    total = sum(product.sum() for product in weighted)
    return [y.detach() for y in outputs], torch.autograd.grad(total, inputs)


def agrees_with_operations(function, *inputs):
    measured = outputs_and_gradients(function, *inputs)
    with Watching():
        expected = outputs_and_gradients(function, *inputs)
    for one, other in zip(measured, expected, strict=True):
        torch.testing.assert_close(list(one), list(other), **ROUNDING)


@pytest.mark.parametrize("gap", GAP_RULES, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_rules_agree_with_operations(gap, dtype):
    a = matrices(SEPARATED, dtype)
    agrees_with_operations(lambda a: loss(a, gap=gap), a)


@pytest.mark.parametrize("truncation", TRUNCATIONS, ids=repr)
def test_truncations_agree_with_operations(truncation):
    agrees_with_operations(lambda a: loss(a, truncation=truncation), matrices(RAGGED))
    agrees_with_operations(
        lambda a: specgrad_torch.matrix_function(a, Log(), truncation=truncation), matrices(RAGGED)
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gradient": ThroughEigenvectors(PowerIterationGap(40))},
        {"solver": NewtonSchulz(20)},
        {"check_finite": False},
    ],
    ids=repr,
)
def test_functions_agree_with_operations(options):
    agrees_with_operations(lambda a: specgrad_torch.inv_sqrtm(a, **options), matrices(SEPARATED))


STATISTICS = {
    "covariance": {},
    "zca_whiten": {"groups": 2},
    "pca_denoise": {"truncation": MaxRank(2), "scaling": Standardise(eps=0.1)},
    "covariance_pool": {},
}


@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize("several", [False, True])
def test_statistics_agree_with_operations(name, several, monkeypatch):
    if several:
        several_threads(monkeypatch)
    x = torch.randn(4, 2000 if several else 9, dtype=torch.float64, generator=torch.manual_seed(0))

    def function(x):
        scaled = x * torch.tensor([[4.0], [3.0], [2.0], [1.0]])
        return getattr(specgrad_torch, name)(scaled, **STATISTICS[name])

    agrees_with_operations(function, x)


@pytest.mark.parametrize("layer", [ZCAWhitening, PCADenoising, CovariancePooling])
def test_layers_agree_with_operations(layer):
    x = torch.randn(5, 6, 3, 3, dtype=torch.float64, generator=torch.manual_seed(0))
    agrees_with_operations(lambda x: layer(6, dtype=torch.float64)(x), x)


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
    def apply(self, values, vectors, vectors_cotangent, viewer):
        self.note(vectors_cotangent)
        return vectors_cotangent


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


def test_products_that_outweigh_all_else_are_operations(monkeypatch):
    monkeypatch.setattr(_host, "_ENTRIES_ON_ONE_THREAD", 64 * 64)
    seen = types_given_to_the_rule(monkeypatch, loss, rotated(range(1, 66)))
    assert seen == {torch.Tensor}


def test_threads_may_be_given_to_pytorch_later(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    seen = types_given_to_the_rule(monkeypatch, loss, rotated(range(1, 66)))
    assert seen == {torch.Tensor}


def test_a_small_covariance_of_many_samples_is_evaluated_by_numpy(monkeypatch):
    several_threads(monkeypatch)
    x = torch.randn(4, 5000, dtype=torch.float64, generator=torch.manual_seed(0))
    seen = types_given_to_the_rule(
        monkeypatch, lambda x: specgrad_torch.pca_denoise(x, truncation=MaxRank(2)).denoised, x
    )
    assert seen == {np.ndarray}


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


def test_a_mode_that_watches_sees_the_operations_of_backward():
    a = matrices(SEPARATED).requires_grad_()
    with Watching() as mode:
        specgrad_torch.eigh(a).eigenvectors.square().sum().backward()
    assert sum("bmm" in name for name in mode.operations) >= 3


def test_nothing_is_said_of_what_divides_by_zero():
    given = TIED.clone().requires_grad_()
    _, vectors = specgrad_torch.eigh(given, gap=ExactGap(), gauge=WarnGauge(tolerance=1e300))
    (gradient,) = torch.autograd.grad((vectors[:, 0] * torch.arange(4)).sum(), given)
    assert not torch.isfinite(gradient).all()


def test_errors_name_the_matrix_and_the_solver_of_the_user():
    @dataclass(frozen=True)
    class Failing:
        def solve(self, a):
            if bool((torch.diagonal(a, dim1=-2, dim2=-1).sum(-1) < 0).any()):
                raise torch.linalg.LinAlgError("no convergence")
            return torch.linalg.eigh(a)

    batch = torch.stack([torch.eye(3), -torch.eye(3)])
    with pytest.raises(ConvergenceError, match=r"batch index \(1,\).*Failing\(\)"):
        specgrad_torch.eigh(batch, solver=Failing(), truncation=EnergyRatio(0.9))
    given = TIED.clone().requires_grad_()
    _, vectors = specgrad_torch.eigh(given, gauge=RaiseGauge())
    with pytest.raises(ValueError, match="depends on the phase"):
        (vectors[:, 0] * torch.arange(4)).sum().backward()


def are_apart(tensors):
    """Whether no two of them share memory."""
    starts = [x.untyped_storage().data_ptr() for x in tensors]
    ends = [start + x.untyped_storage().nbytes() for start, x in zip(starts, tensors, strict=True)]
    return all(end <= start for end, start in zip(sorted(ends)[:-1], sorted(starts)[1:], strict=True))


def is_same(x, y):
    return x.data_ptr() == y.data_ptr() and x.shape == y.shape


CALLS = {
    "rank": lambda a: specgrad_torch.eigh(a, truncation=MaxRank(2)),
    "whole rank": lambda a: specgrad_torch.eigh(a, truncation=MaxRank(9)),
    "energy": lambda a: specgrad_torch.eigh(a, truncation=EnergyRatio(0.9)),
    "root": lambda a: (specgrad_torch.sqrtm(a),),
    "truncated root": lambda a: (specgrad_torch.sqrtm(a, truncation=MaxRank(2)),),
    "whitening": lambda a: tuple(specgrad_torch.zca_whiten(a)),
    "denoising": lambda a: tuple(specgrad_torch.pca_denoise(a, truncation=MaxRank(2))),
}


@pytest.mark.parametrize("name", CALLS)
def test_results_share_no_memory(name):
    a = matrices(RAGGED).requires_grad_()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        outputs = CALLS[name](a)
    cotangents = [torch.ones_like(y) if y.requires_grad else None for y in outputs]
    differentiable = [y for y in outputs if y.requires_grad]
    (gradient,) = torch.autograd.grad(differentiable, a, [g for g in cotangents if g is not None])
    results = [*outputs, gradient, a]
    results += [x for x in kept if not any(is_same(x, y) for y in results)]
    assert are_apart(results)


@dataclass(frozen=True)
class Same:
    """Puts out what it is given, twice, and once in reverse."""

    portable = ("forward", "vjp")

    def forward(self, a):
        fresh = a + 1.0
        return a, fresh, fresh, fresh.mT, a[..., ::-1]

    def vjp(self, binding, arrays, outputs, cotangents):
        return (cotangents[0],)


def test_what_is_passed_on_is_copied():
    a = torch.arange(16.0).reshape(4, 4).requires_grad_()
    outputs = specgrad_torch._bind.TORCH.apply(Same(), a)
    expected = (a, a + 1, a + 1, (a + 1).mT, a.flip(-1))
    for one, other in zip(outputs, expected, strict=True):
        torch.testing.assert_close(one, other)
    cotangent = torch.ones_like(a)
    (gradient,) = torch.autograd.grad(outputs[0], a, cotangent)
    assert are_apart([a, *outputs, cotangent, gradient])


def test_gradients_are_added_up():
    a = matrices(SEPARATED)
    given = a.clone().requires_grad_()
    for _ in range(3):
        loss(given).backward()
    torch.testing.assert_close(given.grad, 3 * outputs_and_gradients(loss, a)[1][0], **ROUNDING)


def test_the_adapted_solver_takes_both():
    solver = _host.OnTensors(DenseEigh())
    a = matrices(SEPARATED)
    for one, other in zip(solver.solve(a.numpy()), solver.solve(a), strict=True):
        assert isinstance(one, np.ndarray)
        np.testing.assert_array_equal(one, other.numpy())
    assert repr(solver) == "DenseEigh()"

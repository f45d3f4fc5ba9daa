"""The evaluation of primitives on NumPy's views: what it gives, what it says, and whose memory it is."""

from dataclasses import dataclass

import numpy as np
import pytest
from torch_cases import (
    GAP_RULES,
    RAGGED,
    SEPARATED,
    TIED,
    TRUNCATIONS,
    gradient,
    loss,
    matrices,
    specgrad_torch,
    torch,
)
from view_cases import Watching, one_thread, outputs_and_gradients, several_threads

from specgrad import (
    ConvergenceError,
    EnergyRatio,
    ExactGap,
    Log,
    MaxRank,
    NewtonSchulz,
    PowerIterationGap,
    RaiseGauge,
    Standardise,
    ThroughEigenvectors,
    WarnGauge,
)
from specgrad_torch.nn import CovariancePooling, PCADenoising, ZCAWhitening

on_one_thread = pytest.fixture(autouse=True)(one_thread)

ROUNDING = {"rtol": 1e-11, "atol": 1e-11}


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


def test_a_mode_that_watches_sees_the_operations_of_backward():
    a = matrices(SEPARATED).requires_grad_()
    with Watching() as mode:
        specgrad_torch.eigh(a).eigenvectors.square().sum().backward()
    assert sum("bmm" in name for name in mode.operations) >= 3


def test_nothing_is_said_of_what_divides_by_zero():
    given = TIED.clone().requires_grad_()
    _, vectors = specgrad_torch.eigh(given, gap=ExactGap(), gauge=WarnGauge(tolerance=1e300))
    (found,) = torch.autograd.grad((vectors[:, 0] * torch.arange(4)).sum(), given)
    assert not torch.isfinite(found).all()


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
    "metric": lambda a: specgrad_torch.generalised_eigh(a, a @ a),
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
    (found,) = torch.autograd.grad(differentiable, a, [g for g in cotangents if g is not None])
    results = [*outputs, found, a]
    results += [x for x in kept if not any(is_same(x, y) for y in results)]
    assert are_apart(results)


@dataclass(frozen=True)
class Same:
    """Puts out what it is given, twice, and once in reverse, and entries that share memory."""

    portable = ("forward", "vjp")

    def forward(self, a):
        fresh = a + 1.0
        return a, fresh, fresh, fresh.mT, a[..., ::-1], np.broadcast_to((a + 2.0)[:1], a.shape)

    def vjp(self, binding, arrays, outputs, cotangents):
        return (cotangents[0],)


def test_what_is_passed_on_is_copied():
    a = torch.arange(16.0).reshape(4, 4).requires_grad_()
    outputs = specgrad_torch._bind.TORCH.apply(Same(), a)
    expected = (a, a + 1, a + 1, (a + 1).mT, a.flip(-1), (a + 2)[:1].expand(4, 4))
    for one, other in zip(outputs, expected, strict=True):
        torch.testing.assert_close(one, other)
        assert min(one.stride()) > 0
    cotangent = torch.ones_like(a)
    (found,) = torch.autograd.grad(outputs[0], a, cotangent)
    assert are_apart([a, *outputs, cotangent, found])


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("layer", [ZCAWhitening, PCADenoising])
def test_an_activation_behind_a_layer_may_work_in_place(layer, several, monkeypatch):
    if several:
        several_threads(monkeypatch)
    x = torch.randn(1, 4, 40, 40, generator=torch.manual_seed(0)).requires_grad_()
    (expected,) = torch.autograd.grad(torch.relu(layer(4)(x)).square().sum(), x)
    (found,) = torch.autograd.grad(torch.relu_(layer(4)(x)).square().sum(), x)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", ["covariance", "sqrtm"])
@pytest.mark.parametrize("several", [False, True])
def test_a_result_that_no_derivative_reads_may_be_modified(name, several, monkeypatch):
    if several:
        several_threads(monkeypatch)
    function = getattr(specgrad_torch, name)
    x = torch.eye(70 if several else 4) + 0.1
    given = x.clone().requires_grad_()
    function(given).mul_(2.0).sum().backward()
    torch.testing.assert_close(given.grad, gradient(lambda x: 2.0 * function(x).sum(), x))


def test_a_tangent_passes_through_a_backward_pass():
    a, direction, step = matrices(SEPARATED), matrices(RAGGED), 1e-6
    forward_ad = torch.autograd.forward_ad
    with forward_ad.dual_level():
        x = forward_ad.make_dual(a.clone().requires_grad_(), direction)
        (found,) = torch.autograd.grad(loss(x), x)
        tangent = forward_ad.unpack_dual(found).tangent
    ends = [gradient(loss, a + s * direction) for s in (step, -step)]
    torch.testing.assert_close(tangent, (ends[0] - ends[1]) / (2 * step), rtol=1e-5, atol=1e-5)


def test_cotangents_in_a_batch():
    a = matrices(SEPARATED).requires_grad_()
    _, vectors = specgrad_torch.eigh(a)
    projector = vectors[..., :, -1:] @ vectors[..., :, -1:].mT
    cotangents = torch.randn(3, *projector.shape, dtype=a.dtype, generator=torch.manual_seed(0))
    (batched,) = torch.autograd.grad(projector, a, cotangents, is_grads_batched=True, retain_graph=True)
    for cotangent, one in zip(cotangents, batched, strict=True):
        (found,) = torch.autograd.grad(projector, a, cotangent, retain_graph=True)
        torch.testing.assert_close(one, found, **ROUNDING)


def test_gradients_are_added_up():
    a = matrices(SEPARATED)
    given = a.clone().requires_grad_()
    for _ in range(3):
        loss(given).backward()
    torch.testing.assert_close(given.grad, 3 * outputs_and_gradients(loss, a)[1][0], **ROUNDING)


def test_a_plain_tensor_among_fake_ones_is_not_looked_at():
    fake_tensor = pytest.importorskip("torch._subclasses.fake_tensor")
    a = matrices(SEPARATED[0])
    expected = specgrad_torch.sqrtm(a)
    with fake_tensor.FakeTensorMode(allow_non_fake_inputs=True):
        assert isinstance(specgrad_torch.sqrtm(a), fake_tensor.FakeTensor)
    torch.testing.assert_close(specgrad_torch.sqrtm(a), expected)

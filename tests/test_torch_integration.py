"""`eigh` inside PyTorch: mixed precision, activation checkpointing, pickling."""

import contextlib
import copy
import dataclasses
import pickle
import warnings

import numpy as np
import pytest
from torch_cases import RAGGED, SEPARATED, gradient, hermitian, loss, matrices, specgrad_torch, torch

import specgrad
from specgrad import (
    DenseEigh,
    DenseSVD,
    EnergyRatio,
    ExactGap,
    MaskedGap,
    MaxRank,
    PowerIteration,
    RayleighMismatch,
    RoundingFloor,
)

ROUNDING = {"atol": 1e-11, "rtol": 1e-11}


def bfloat16_autocast():
    return torch.autocast("cpu", dtype=torch.bfloat16)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_computed_in_float32_and_its_gradient_is_half_again(half):
    a = torch.diag(torch.tensor([1.0, 2.0, 4.0])).to(half).requires_grad_()
    values, vectors = specgrad_torch.eigh(a)
    assert values.dtype == vectors.dtype == torch.float32
    (result,) = torch.autograd.grad((values * values).sum(), a)
    assert result.dtype == half
    torch.testing.assert_close(result, 2 * a)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"truncation": RayleighMismatch(tolerance=1e-4)},
        {"solver": PowerIteration(steps=5)},
        {"gap": MaskedGap(noise=RoundingFloor(eps=2**-8))},
    ],
    ids=repr,
)
def test_autocast_does_not_lower_the_precision(options):
    a = matrices(SEPARATED, torch.float32).requires_grad_()

    def forward_backward():
        values, vectors = specgrad_torch.eigh(a, **options)[:2]
        # In elementwise operations, so that the loss itself is the same.
        cotangents = (values.cos(), vectors.sin())
        return values, vectors, *torch.autograd.grad((values, vectors), a, cotangents)

    expected = forward_backward()
    with bfloat16_autocast():
        outputs = forward_backward()
    assert all(torch.equal(x, y) for x, y in zip(outputs, expected, strict=True))


def test_autocast_network_around_it_trains_in_bfloat16():
    torch.manual_seed(0)
    encoder = torch.nn.Linear(4, 4)
    x = torch.randn(64, 4)

    def subspace_loss():
        features = encoder(x)
        covariance = hermitian(features.mT @ features)
        gap = MaskedGap(noise=RoundingFloor(eps=2**-8))
        _, vectors, _ = specgrad_torch.eigh(covariance, gap=gap, truncation=MaxRank(2))
        return covariance.dtype, 1 - (vectors[0] @ vectors[0])

    _, expected = subspace_loss()
    (expected_gradient,) = torch.autograd.grad(expected, encoder.weight)
    with bfloat16_autocast():
        dtype, value = subspace_loss()
    (result,) = torch.autograd.grad(value, encoder.weight)
    assert dtype == torch.bfloat16
    size = expected_gradient.norm()
    assert size > 0
    assert (result - expected_gradient).norm() <= 16 * 2**-8 * size


def test_rounding_floor_of_bfloat16_removes_the_noise_of_bfloat16_cotangents():
    # A tie broken by 1e-4, and a subspace loss whose cotangent went through bfloat16.
    a = matrices((1.0, 1.0001, 5.0), torch.float32).requires_grad_()

    def size_of_gradient(noise):
        vectors = specgrad_torch.eigh(a, gap=MaskedGap(noise=noise)).eigenvectors
        kept = vectors[:, :2]
        cotangent = (torch.tensor([[3.0], [1.0], [2.0]]) * kept).bfloat16().float()
        cotangent = kept @ hermitian(kept.mT @ cotangent)  # inside the subspace, where no loss has a gradient
        cotangent = cotangent.bfloat16().float()
        padded = torch.cat([cotangent, torch.zeros(3, 1)], dim=1)
        return float(torch.autograd.grad(vectors, a, padded)[0].norm())

    assert size_of_gradient(RoundingFloor()) > 1.0
    assert size_of_gradient(RoundingFloor(eps=2**-8)) < 0.1


@dataclasses.dataclass(frozen=True)
class Counted:
    """A solver that counts its calls."""

    calls = []  # noqa: RUF012

    def solve(self, a):
        self.calls.append(a.shape)
        return DenseEigh().solve(a)


def test_activation_checkpointing_computes_again_and_gives_the_same_gradient():
    a = matrices(RAGGED).requires_grad_()
    expected = gradient(loss, a)
    Counted.calls.clear()
    value = torch.utils.checkpoint.checkpoint(lambda a: loss(a, solver=Counted()), a, use_reentrant=False)
    assert len(Counted.calls) == 1
    assert torch.equal(torch.autograd.grad(value, a)[0], expected)
    assert len(Counted.calls) == 2


ARGUMENTS = {  # of those that have no default
    specgrad.TopNGap: (3,),
    specgrad.MaxRank: (2,),
    specgrad.EnergyRatio: (0.9,),
    specgrad.Fallback: (DenseEigh(), DenseSVD()),
    specgrad.ThroughEigenvectors: (ExactGap(),),
    specgrad.ThroughSolver: (PowerIteration(),),
    specgrad.Power: (0.3,),
    specgrad.Shifted: (specgrad.Log(), 0.1),
    specgrad.Clamped: (specgrad.Log(), 0.1),
    specgrad.FromDerivative: (np.sin, np.cos),
}
FROZEN = [kind for name in specgrad.__all__ if dataclasses.is_dataclass(kind := getattr(specgrad, name))]


@pytest.mark.parametrize("kind", FROZEN)
def test_public_values_survive_pickling_and_copying(kind):
    value = kind(*ARGUMENTS.get(kind, ()))
    for again in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value)):
        assert again == value
        assert hash(again) == hash(value)
        assert repr(again) == repr(value)


def test_combined_truncations_survive_pickling():
    value = MaxRank(3) & EnergyRatio(0.9) | RayleighMismatch()
    assert pickle.loads(pickle.dumps(value)) == value


class Subspace(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.linspace(1.0, 2.0, 4, dtype=torch.float64))
        self.options = {"gap": MaskedGap(), "truncation": EnergyRatio(0.9), "solver": DenseEigh()}

    def forward(self, a):
        return loss(self.weight[:, None] * a * self.weight, **self.options)


def test_a_function_of_the_core_says_that_it_does_not_carry_this_gradient():
    a = torch.eye(3, dtype=torch.float64, requires_grad=True)
    with pytest.warns(UserWarning, match="the same name in specgrad_torch"):
        specgrad.inv_sqrtm(a)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        specgrad.eigh(a.detach())
        with torch.no_grad():
            specgrad.eigh(a)
        specgrad_torch.eigh(a)


def test_a_subclass_of_tensors_stays_one():
    class Own(torch.Tensor):
        pass

    a = torch.eye(3).as_subclass(Own)
    for output in (*specgrad_torch.eigh(a), specgrad_torch.inv_sqrtm(a), specgrad_torch.covariance(a)):
        assert type(output) is Own


def test_an_array_of_another_library_is_named():
    with pytest.raises(TypeError, match=r"given a numpy.ndarray, and a torch.Tensor is needed"):
        specgrad_torch.eigh(np.eye(2))


@pytest.mark.parametrize("name", specgrad_torch.__all__)
def test_functions_are_pickled_by_name(name):
    function = getattr(specgrad_torch, name)
    assert pickle.loads(pickle.dumps(function)) is function
    function = getattr(specgrad, name)
    assert pickle.loads(pickle.dumps(function)) is function


@pytest.mark.parametrize("again", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy])
def test_module_that_holds_choices_survives_pickling_and_copying(again):
    module, a = Subspace(), matrices(RAGGED)
    twin = again(module)
    assert twin.options == module.options
    module(a).backward()
    twin(a).backward()
    assert torch.equal(twin.weight.grad, module.weight.grad)


def test_forward_mode_needs_no_recording():
    a = 2 * torch.eye(3, dtype=torch.float64)
    forward_ad = torch.autograd.forward_ad
    with torch.no_grad(), forward_ad.dual_level():
        root = specgrad_torch.sqrtm(forward_ad.make_dual(a, a))
        torch.testing.assert_close(forward_ad.unpack_dual(root).tangent, 0.5 * a**0.5)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_a_trace_without_gradients_follows_its_input():
    x = torch.randn(3, 8, dtype=torch.float64, generator=torch.manual_seed(0))
    with torch.no_grad():
        traced = torch.jit.trace(specgrad_torch.covariance, (x,), check_trace=False)
        torch.testing.assert_close(traced(2 * x), 4 * torch.cov(x), rtol=1e-14, atol=1e-14)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_a_trace_in_double_precision_has_no_number_in_single():
    x = torch.randn(3, 11, dtype=torch.float64, generator=torch.manual_seed(0)).requires_grad_()
    for function in (
        lambda x: specgrad_torch.covariance(x).pow(3).sum(),
        lambda x: specgrad_torch.zca_whiten(x, truncation=None, eps=0.1).whitened.pow(3).sum(),
        lambda x: specgrad_torch.covariance_pool(x, eps=0.1).pow(3).sum(),
    ):
        found, expected = (
            torch.autograd.grad(f(x), x)[0] for f in (torch.jit.trace(function, (x,)), function)
        )
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_eigenvalues_alone_are_those_of_a_tensor():
    for context in (contextlib.nullcontext(), torch.no_grad()):
        with context, pytest.raises(TypeError, match="convert it by torch"):
            specgrad_torch.eigvalsh(np.eye(3))


@dataclasses.dataclass(frozen=True)
class ByProducts:
    """A solver whose steps autocast would take to half precision."""

    def solve(self, a):
        return torch.linalg.eigh(a @ torch.eye(a.shape[-1]))

    def eigenvalues(self, a):
        return self.solve(a)[0]


def test_eigenvalues_alone_are_not_in_half_precision_under_autocast():
    a = torch.tensor([[1.001, 0.1], [0.1, 3.003]])
    with torch.autocast("cpu", torch.bfloat16):
        found = specgrad_torch.eigvalsh(a, solver=ByProducts())
    torch.testing.assert_close(found, torch.linalg.eigvalsh(a))


@dataclasses.dataclass(frozen=True)
class AnsweringNumPy:
    def solve(self, a):
        return tuple(np.linalg.eigh(a.numpy()))


def test_a_solver_that_answers_with_arrays_of_another_library_is_named():
    with torch.no_grad(), pytest.raises(TypeError, match="answered with"):
        specgrad_torch.sqrtm(torch.eye(3), solver=AnsweringNumPy())


class WithoutHash:
    def __hash__(self):
        raise ValueError("no hash")

    def solve(self, a):
        return torch.linalg.eigh(a)


def test_a_solver_without_a_hash_works():
    torch.testing.assert_close(specgrad_torch.sqrtm(4 * torch.eye(3), solver=WithoutHash()), 2 * torch.eye(3))


def test_eigenvectors_are_found_where_a_tensor_has_a_derivative():
    a = matrices(SEPARATED)
    expected = torch.linalg.eigvalsh(a)
    torch.testing.assert_close(specgrad_torch.eigvalsh(a), expected, **ROUNDING)
    with torch.no_grad():
        torch.testing.assert_close(specgrad_torch.eigvalsh(a.clone().requires_grad_()), expected, **ROUNDING)
    assert specgrad_torch.eigvalsh(a.clone().requires_grad_()).requires_grad
    identity = torch.eye(a.shape[-1], dtype=a.dtype).expand_as(a)
    with torch.autograd.forward_ad.dual_level():
        dual = specgrad_torch.eigvalsh(torch.autograd.forward_ad.make_dual(a, identity))
        tangent = torch.autograd.forward_ad.unpack_dual(dual).tangent
    torch.testing.assert_close(tangent, torch.ones_like(expected), **ROUNDING)

"""The generalised eigenproblem under the transforms of PyTorch, compiled and exported."""

import dataclasses

import pytest
from torch_cases import (
    RAGGED,
    SEPARATED,
    TIED,
    gradient,
    hermitian,
    loss,
    matrices,
    rebuilt,
    specgrad_torch,
    tied_subspace_loss,
    torch,
)

from specgrad import MaskedGap, WarnGauge

func = torch.func
ROUNDING = {"atol": 1e-10, "rtol": 1e-10}


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def in_metric(a, b=None, **options):
    """The decomposition in a metric that depends on the matrix too, or in a given one."""
    if b is None:
        b = torch.eye(a.shape[-1], dtype=a.dtype) + hermitian(a @ a) / 100
    return specgrad_torch.generalised_eigh(hermitian(a), hermitian(b), **options)


def of_both(a):
    return loss(a, eigh=in_metric)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128], ids=str)
def test_first_and_second_derivatives_in_both_matrices(dtype):
    pair = matrices((2.0, 1.0, -4.0), dtype), matrices((2.0, 1.0, 0.5), dtype, seed=1)
    arguments = tuple(m.requires_grad_() for m in pair)
    for check in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
        assert check(lambda a, b: rebuilt(a, lambda x: in_metric(x, b)), arguments)


TRANSFORMS = {
    "grad": lambda f: func.grad(f),
    "jacfwd": lambda f: func.jacfwd(f),
    "jacrev": lambda f: func.jacrev(f),
    "compiled": lambda f: torch.compile(func.grad(f), fullgraph=True, backend="aot_eager"),
    "exported": lambda f: lambda a: gradient(exported(f, a), a),
}


def exported(function, a):
    module = torch.nn.Module()
    module.forward = function
    return torch.export.export(module, (a,)).module()


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_transforms_agree_with_autograd(transform):
    a = matrices(SEPARATED[0])
    torch.testing.assert_close(TRANSFORMS[transform](of_both)(a), gradient(of_both, a), **ROUNDING)


@pytest.mark.parametrize("order", [func.hessian, lambda f: func.jacrev(func.jacfwd(f))])
def test_second_order_transforms_agree_with_autograd(order):
    a = matrices((2.0, 1.0, -4.0))
    expected = torch.autograd.functional.hessian(of_both, a)
    torch.testing.assert_close(order(of_both)(a), expected, **ROUNDING)
    torch.testing.assert_close(func.hessian(exported(of_both, a))(a), expected, **ROUNDING)


def test_one_metric_for_a_batch_that_a_transform_makes():
    batch, b = matrices(RAGGED), matrices((4.0, 3.0, 2.0, 1.0), seed=1)

    def alone(a, b):
        return loss(a, lambda x: in_metric(x, b))

    measured = func.vmap(func.grad(alone, argnums=(0, 1)), in_dims=(0, None))(batch, b)
    for k, a in enumerate(batch):
        for found, expected in zip(measured, func.grad(alone, argnums=(0, 1))(a, b), strict=True):
            torch.testing.assert_close(found[k], expected, **ROUNDING)


def test_the_gradient_of_a_subspace_at_a_tie_where_that_of_torch_is_nan():
    metric = torch.diag(torch.tensor([1.0, 4.0, 1.0, 2.0], dtype=torch.float64))
    scale = metric.diagonal().rsqrt()

    def of_torch(a):
        values, vectors = torch.linalg.eigh(scale[:, None] * a * scale)
        return values, scale[:, None] * vectors

    def ordinary(a):
        values, vectors = specgrad_torch.eigh(scale[:, None] * a * scale)
        return values, scale[:, None] * vectors

    tied = TIED * metric  # of the same eigenvalues
    found = [
        gradient(lambda a, eigh=eigh: tied_subspace_loss(a, eigh), tied)
        for eigh in (of_torch, ordinary, lambda a: in_metric(a, metric))
    ]
    assert not torch.isfinite(found[0]).all()
    torch.testing.assert_close(found[2], found[1], **ROUNDING)


@dataclasses.dataclass(frozen=True)
class GapOfTensors:
    def matrix(self, values):
        return MaskedGap().matrix(values.detach())

    def bound(self, values):
        return MaskedGap().bound(values.detach())


@dataclasses.dataclass(frozen=True)
class GaugeOfTensors:
    def apply(self, values, vectors, cotangents, viewer):
        return WarnGauge().apply(values.detach(), vectors, cotangents, viewer)


@pytest.mark.parametrize("choice", [{"gap": GapOfTensors()}, {"gauge": GaugeOfTensors()}], ids=str)
def test_parts_of_the_user_are_given_tensors(choice):
    a = matrices(SEPARATED[0])
    found = gradient(lambda a: loss(a, lambda x: in_metric(x, **choice)), a)
    torch.testing.assert_close(found, gradient(of_both, a), **ROUNDING)

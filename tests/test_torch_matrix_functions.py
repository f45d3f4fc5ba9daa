"""Matrix functions under PyTorch: second derivatives at ties, and the gradients that papers compose."""

import numpy as np
import pytest
from torch_cases import specgrad_torch, torch

from specgrad import (
    BalancedPowerIterationGap,
    BroadenedGap,
    ClippedGap,
    ExactGap,
    MaskedGap,
    MaxRank,
    NewtonSchulz,
    PadeGap,
    PowerIterationGap,
    TaylorGap,
    ThroughEigenvectors,
    TopNGap,
)
from specgrad.testing import random_unitary

ROOTS_AND_OTHERS = (
    specgrad_torch.sqrtm,
    specgrad_torch.inv_sqrtm,
    specgrad_torch.logm,
    specgrad_torch.expm,
    lambda a: specgrad_torch.powm(a, 0.3),
    lambda a: specgrad_torch.powm(a, -2),
)


def hermitian(values, dtype):
    q = random_unitary(len(values), dtype, np.random.default_rng(0))
    a = (q * np.array(values)) @ q.conj().T
    return torch.asarray((a + a.conj().T) / 2)


def scalar(function):
    """A real loss that depends on the whole of ``function(herm(a))``."""

    def loss(a):
        image = function(0.5 * (a + a.mH))
        weight = torch.arange(1.0, a.numel() + 1, dtype=torch.float64).reshape(a.shape)
        return (image * weight).abs().square().sum()

    return loss


@pytest.mark.parametrize("values", [(1.0, 1.0, 1.0), (2.0, 0.5, 0.5), (1.0, 1.0 + 1e-9, 3.0)], ids=str)
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("index", range(len(ROOTS_AND_OTHERS)))
def test_first_and_second_derivatives_hold_at_ties(index, dtype, values):
    loss = scalar(ROOTS_AND_OTHERS[index])
    a = hermitian(values, dtype).requires_grad_()
    assert torch.autograd.gradcheck(loss, a, check_forward_ad=True, rtol=1e-4)
    assert torch.autograd.gradgradcheck(loss, a, rtol=1e-4)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_derivatives_across_a_truncation(dtype):
    a = hermitian((3.0, 3.0, 1.0, 0.5), dtype).requires_grad_()
    for function in (
        lambda x: specgrad_torch.spectral_projector(x, MaxRank(2)),
        lambda x: specgrad_torch.inv_sqrtm(x, truncation=MaxRank(2)),
    ):
        assert torch.autograd.gradcheck(scalar(function), a, check_forward_ad=True, rtol=1e-4)
        assert torch.autograd.gradgradcheck(scalar(function), a, rtol=1e-4)


def test_hessians_by_every_nesting_agree_at_the_identity():
    loss = scalar(specgrad_torch.inv_sqrtm)
    a = torch.eye(3, dtype=torch.float64)
    modes = (torch.func.jacfwd, torch.func.jacrev)
    expected = torch.func.hessian(loss)(a)
    for outer in modes:
        for inner in modes:
            torch.testing.assert_close(outer(inner(loss))(a), expected, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize(
    "gap",
    [
        ExactGap(),
        MaskedGap(noise=None),
        BroadenedGap(width=0.1),
        ClippedGap(1.0),
        TopNGap(1),
        TaylorGap(3),
        PadeGap(),
        PowerIterationGap(3),
        BalancedPowerIterationGap(3),
    ],
    ids=repr,
)
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_through_eigenvectors_is_what_composing_gives(dtype, gap):
    a = hermitian((2.0, 1.0, 0.4), dtype)
    cotangent = hermitian((1.0, -2.0, 0.3), dtype).roll(1, 0)

    def gradient(function):
        x = a.clone().requires_grad_()
        return torch.autograd.grad(function(x), x, cotangent)[0]

    def composed(x):
        values, vectors = specgrad_torch.eigh(x, gap=gap)
        return (vectors * values.rsqrt().to(vectors.dtype)) @ vectors.mH

    measured = gradient(lambda x: specgrad_torch.inv_sqrtm(x, gradient=ThroughEigenvectors(gap)))
    torch.testing.assert_close(measured, gradient(composed), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("gap", [BroadenedGap(width=0.1), TaylorGap(3), PowerIterationGap(3)], ids=repr)
def test_second_derivative_through_eigenvectors_is_what_composing_gives(gap):
    a, direction = hermitian((2.0, 1.0, 0.4), "float64"), hermitian((1.0, -2.0, 0.3), "float64")

    def composed(x):
        values, vectors = specgrad_torch.eigh(x, gap=gap)
        return (vectors * values.rsqrt()) @ vectors.mT

    def twice(function):
        x = a.clone().requires_grad_()
        (first,) = torch.autograd.grad(function(x).pow(3).sum(), x, create_graph=True)
        return torch.autograd.grad((first * direction).sum(), x)[0]

    measured = twice(lambda x: specgrad_torch.inv_sqrtm(x, gradient=ThroughEigenvectors(gap)))
    torch.testing.assert_close(measured, twice(composed), rtol=1e-11, atol=1e-11)


def test_third_derivative_off_ties():
    """It arrives at the eigenvalues and eigenvectors of the first: against differences of the second."""
    a, direction = hermitian((2.0, 1.0, 0.4), "float64"), hermitian((1.0, -2.0, 0.3), "float64")

    def second(x):
        (first,) = torch.autograd.grad(specgrad_torch.inv_sqrtm(x).pow(2).sum(), x, create_graph=True)
        return torch.autograd.grad((first * direction).sum(), x, create_graph=True)[0]

    x, step = a.clone().requires_grad_(), 1e-5
    (third,) = torch.autograd.grad((second(x) * direction).sum(), x)
    ends = [second((a + sign * step * direction).requires_grad_()) for sign in (1, -1)]
    along = ((ends[0] - ends[1]) * direction).sum() / (2 * step)
    torch.testing.assert_close((third * direction).sum(), along, rtol=1e-7, atol=0)


@pytest.mark.parametrize("shape", [(0, 3, 3), (2, 0, 0)], ids=str)
def test_products_of_empty_input_are_empty(shape):
    assert specgrad_torch.sqrtm(torch.zeros(shape), solver=NewtonSchulz()).shape == shape


def test_a_compiled_matrix_function_keeps_its_gradient_at_a_tie():
    torch._dynamo.reset()
    a = torch.eye(3, dtype=torch.float64)
    compiled = torch.compile(scalar(specgrad_torch.inv_sqrtm), fullgraph=True, backend="aot_eager")
    gradients = []
    for loss in (compiled, scalar(specgrad_torch.inv_sqrtm)):
        x = a.clone().requires_grad_()
        loss(x).backward()
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients)


def test_a_parameter_to_be_learnt_is_no_option():
    exponent = torch.nn.Parameter(torch.tensor(0.5))
    with pytest.raises(TypeError, match=r"no gradient flows to it, so convert it by float\(\)"):
        specgrad_torch.powm(torch.eye(2), exponent)


def test_cotangents_of_the_function_and_of_its_decomposition_are_added():
    # The second derivative sends the latter, and a loss of the function itself the former.
    factor = torch.randn(3, 3, generator=torch.manual_seed(0), dtype=torch.float64)
    a = (factor @ factor.mT + torch.eye(3, dtype=torch.float64)).requires_grad_()
    root = specgrad_torch.sqrtm(a, gradient=ThroughEigenvectors(TaylorGap(20)))
    (gradient,) = torch.autograd.grad(root.square().sum(), a, create_graph=True)
    losses = gradient.square().sum(), root.sin().sum()
    parts = [torch.autograd.grad(loss, a, retain_graph=True)[0] for loss in losses]
    torch.testing.assert_close(torch.autograd.grad(sum(losses), a)[0], sum(parts))

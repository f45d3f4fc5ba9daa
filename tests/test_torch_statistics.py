"""Covariances and whitening under PyTorch: second derivatives, transforms, compilation, precision."""

import numpy as np
import pytest
from torch_cases import specgrad_torch, torch

import specgrad
from specgrad import EnergyRatio, MaxRank, NewtonSchulz, Standardise, vjp

CASES = {
    "covariance": {"eps": 0.1},
    "zca_whiten": {"groups": 2, "truncation": None},
    "pca_denoise": {"truncation": MaxRank(2), "scaling": Standardise(eps=0.1)},
    "covariance_pool": {"eps": 0.1},
}
PARAMETERS = {
    "covariance": lambda p, m: (torch.linspace(0.5, 1.5, m, dtype=torch.float64),),
    "zca_whiten": lambda p, m: (torch.linspace(0.5, 1.5, p, dtype=torch.float64), torch.zeros(p).double()),
    "pca_denoise": lambda p, m: (torch.linspace(0.5, 1.5, p, dtype=torch.float64), torch.zeros(p).double()),
    "covariance_pool": lambda p, m: (),
}


def samples(p=4, m=9, seed=0):
    generator = torch.manual_seed(seed)
    spread = torch.linspace(2.0, 0.5, p, dtype=torch.float64)[:, None]
    mixing = torch.eye(p) + 0.3 * torch.randn(p, p, generator=generator)
    return mixing.double() @ (spread * torch.randn(p, m, dtype=torch.float64, generator=generator)) + 1.0


def first_output(name, **options):
    function = getattr(specgrad_torch, name)

    def call(*arrays):
        output = function(*arrays, **options)
        return output[0] if isinstance(output, tuple) else output

    return call


def arguments(name, **shape):
    x = samples(**shape)
    return tuple(a.requires_grad_() for a in (x, *PARAMETERS[name](*x.shape)))


@pytest.mark.parametrize("name", CASES)
def test_first_and_second_derivatives(name):
    function = first_output(name, **CASES[name])
    assert torch.autograd.gradcheck(function, arguments(name))
    assert torch.autograd.gradgradcheck(function, arguments(name))


def test_every_output_has_its_derivatives():
    def outputs(x):
        return tuple(specgrad_torch.zca_whiten(x, groups=2, truncation=None))

    (x,) = arguments("covariance_pool")
    assert torch.autograd.gradcheck(outputs, (x,))
    assert torch.autograd.gradgradcheck(outputs, (x,))

    def denoised(x):
        return specgrad_torch.pca_denoise(x, truncation=MaxRank(2))[:3]

    assert torch.autograd.gradcheck(denoised, (x,))
    assert torch.autograd.gradgradcheck(denoised, (x,))


def test_second_derivative_is_exact_at_a_white_input():
    white = specgrad_torch.zca_whiten(samples(), truncation=None).whitened.detach().requires_grad_()
    function = first_output("zca_whiten", truncation=None)
    assert torch.autograd.gradcheck(function, (white,))
    assert torch.autograd.gradgradcheck(function, (white,))


@pytest.mark.parametrize("name", CASES)
def test_the_two_paths_agree_to_rounding(name):
    """Autograd and the pullback of the core."""
    tensors = arguments(name)
    output = first_output(name, **CASES[name])(*tensors)
    g = torch.randn(output.shape, dtype=output.dtype, generator=torch.manual_seed(1))
    by_autograd = torch.autograd.grad(output, tensors, g)
    arrays = tuple(t.detach().numpy() for t in tensors)
    plain, pullback = vjp(getattr(specgrad, name), *arrays, **CASES[name])
    cotangents = (g.numpy(), *(None,) * (len(plain) - 1)) if isinstance(plain, tuple) else g.numpy()
    for first, second in zip(by_autograd, pullback(cotangents), strict=True):
        np.testing.assert_allclose(first.numpy(), second, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_transforms(name):
    function = first_output(name, **CASES[name])
    x = samples()
    batch = torch.stack([x, 2 * x.flip(0)])
    torch.testing.assert_close(
        torch.func.vmap(function)(batch), torch.stack([function(item) for item in batch])
    )

    def loss(x):
        return function(x).square().sum() + function(x).sum()

    gradient = torch.func.grad(loss)(x)
    per_sample = torch.func.vmap(torch.func.grad(loss))(batch)
    torch.testing.assert_close(per_sample[0], gradient)
    tangent = torch.randn(x.shape, dtype=x.dtype, generator=torch.manual_seed(2))
    _, slope = torch.func.jvp(loss, (x,), (tangent,))
    torch.testing.assert_close(slope, (gradient * tangent).sum())
    torch.testing.assert_close(
        torch.func.jacrev(torch.func.grad(loss))(x), torch.func.jacfwd(torch.func.grad(loss))(x)
    )


@pytest.mark.parametrize("name", CASES)
def test_compilation_keeps_the_rule(name):
    function = first_output(name, **CASES[name])
    x, *parameters = arguments(name)

    def loss(*arrays):
        return function(*arrays).square().sum() + function(*arrays).sum()

    expected = torch.autograd.grad(loss(x, *parameters), (x, *parameters))
    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    measured = torch.autograd.grad(compiled(x, *parameters), (x, *parameters))
    for first, second in zip(measured, expected, strict=True):
        torch.testing.assert_close(first, second)


def test_compilation_with_newton_schulz_and_a_ragged_truncation():
    solver, truncation = NewtonSchulz(15), EnergyRatio(0.9)

    def loss(x):
        first = specgrad_torch.zca_whiten(x, truncation=None, eps=0.5, solver=solver).whitened
        second = specgrad_torch.zca_whiten(x, truncation=truncation, eps=1e-3).whitened
        return (first * second).square().sum()

    x = samples().requires_grad_()
    expected = torch.autograd.grad(loss(x), x)[0]
    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(torch.autograd.grad(compiled(x), x)[0], expected)


def test_half_precision_is_computed_in_single_and_its_gradient_comes_back_in_half():
    x = samples(m=64).to(torch.bfloat16).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = specgrad_torch.zca_whiten(x).whitened
    assert y.dtype == torch.float32
    torch.testing.assert_close(y @ y.mT / 64, torch.eye(4), atol=1e-5, rtol=0)
    (gradient,) = torch.autograd.grad((y * samples(m=64, seed=1).float()).sum(), x)
    assert gradient.dtype == torch.bfloat16


def test_tangents_of_the_parameters_alone():
    x, weight, bias = arguments("zca_whiten")
    _, tangent = torch.func.jvp(
        lambda weight: specgrad_torch.zca_whiten(x.detach(), weight, bias.detach()).whitened,
        (weight.detach(),),
        (torch.ones(4).double(),),
    )
    torch.testing.assert_close(tangent, specgrad_torch.zca_whiten(x).whitened)


@pytest.mark.parametrize("name", CASES)
def test_export_keeps_the_rule(name):
    function = first_output(name, **CASES[name])

    class Module(torch.nn.Module):
        def forward(self, *arrays):
            return function(*arrays)

    x, *parameters = arguments(name)
    program = torch.export.export(Module(), (x, *parameters)).module()
    output = function(x, *parameters)
    torch.testing.assert_close(program(x, *parameters), output)
    expected = torch.autograd.grad(output.square().sum(), x)[0]
    torch.testing.assert_close(torch.autograd.grad(program(x, *parameters).square().sum(), x)[0], expected)

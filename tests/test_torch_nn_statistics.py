"""What the whitening and denoising layers compute: statistics, gradients, precision."""

import numpy as np
import pytest
from layer_cases import LAYERS, double, inputs
from torch_cases import torch

from specgrad import MaxRank, PowerIterationGap, ThroughEigenvectors
from specgrad_torch.nn import PCADenoising, ZCAWhitening

EXACT = {"atol": 1e-12, "rtol": 1e-12}


def channels_first(x):
    return x.movedim(1, 0).flatten(1)


def output_and_gradients(module, x):
    """The output, and the gradients of a loss of it with respect to the input and the parameters."""
    x = x.clone().requires_grad_()
    y = module(x)
    (y * torch.arange(y.numel(), dtype=y.dtype).reshape(y.shape).sin()).sum().backward()
    return y.detach(), x.grad, *(parameter.grad for parameter in module.parameters())


@pytest.mark.parametrize("options", [{}, {"truncation": None}], ids=["default", "all"])
def test_one_channel_in_each_group_is_batch_normalisation(options):
    ours = double(ZCAWhitening, groups=6, **options)
    theirs = torch.nn.BatchNorm2d(6, eps=1e-4, dtype=torch.float64)
    for module in (ours, theirs):
        torch.nn.init.normal_(module.weight, generator=torch.manual_seed(3))
    for measured, expected in zip(
        output_and_gradients(ours, inputs()), output_and_gradients(theirs, inputs()), strict=True
    ):
        torch.testing.assert_close(measured, expected, atol=1e-11, rtol=1e-11)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean, **EXACT)


@pytest.mark.parametrize("layer", LAYERS)
def test_one_channel_in_each_group_standardises_also_where_it_is_constant(layer):
    x = inputs()
    x[:, 2] = 7.0
    y = channels_first(double(layer, groups=6)(x))
    expected = torch.nn.BatchNorm2d(6, eps=1e-4, dtype=torch.float64)(x)
    torch.testing.assert_close(y, channels_first(expected), **EXACT)


def test_one_group_is_white():
    y = channels_first(double(ZCAWhitening, 1e-12)(inputs((8, 6, 5, 5)))).detach()
    torch.testing.assert_close(torch.cov(y, correction=0), torch.eye(6).double(), atol=1e-9, rtol=0)
    torch.testing.assert_close(y.mean(1), torch.zeros(6).double(), **EXACT)


def test_what_is_kept_is_white():
    x = inputs((8, 6, 5, 5))
    x[:, 1], x[:, 4] = x[:, 0], 2.0
    y = channels_first(double(ZCAWhitening, 1e-12)(x)).detach()
    eigenvalues = torch.linalg.eigvalsh(torch.cov(y, correction=0))
    torch.testing.assert_close(eigenvalues, torch.tensor([0, 0, 1, 1, 1, 1]).double(), atol=1e-9, rtol=0)


def test_groups_do_not_see_each_other():
    x = inputs()
    together = double(ZCAWhitening, groups=2)(x)
    for part in (slice(0, 3), slice(3, 6)):
        alone = ZCAWhitening(3, dtype=torch.float64)(x[:, part])
        torch.testing.assert_close(together[:, part], alone, **EXACT)


def test_denoising_projects_the_standardised_channels():
    x = inputs()
    flat = channels_first(x).numpy()
    deviation = np.sqrt(flat.var(axis=1, keepdims=True) + 1e-4)
    z = (flat - flat.mean(axis=1, keepdims=True)) / deviation
    vectors = np.linalg.eigh(z @ z.T / z.shape[1])[1][:, -2:]
    y = channels_first(double(PCADenoising, truncation=MaxRank(2))(x)).detach()
    np.testing.assert_allclose(y, vectors @ vectors.T @ z, atol=1e-11)


@pytest.mark.parametrize("layer", LAYERS)
def test_without_parameters_the_output_is_that_of_weight_1_and_bias_0(layer):
    plain, affine = double(layer, affine=False, momentum=1.0), double(layer, momentum=1.0)
    assert plain.weight is None
    assert plain.bias is None
    for training in (True, False):
        expected = affine.train(training)(inputs())
        torch.testing.assert_close(plain.train(training)(inputs()), expected, **EXACT)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("training", [True, False])
def test_gradients_against_finite_differences(layer, groups, training):
    module = double(layer, groups=groups, truncation=MaxRank(2))
    module(inputs())
    module.train(training)
    x = inputs((3, 6, 2, 2), seed=1).requires_grad_()

    def function(x, weight, bias):
        return torch.func.functional_call(module, {"weight": weight, "bias": bias}, (x,))

    weight, bias = (torch.linspace(0.5, 1.5, 6).double().requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(function, (x, weight, bias))


@pytest.mark.parametrize("layer", LAYERS)
def test_the_gradient_rule_is_the_one_that_is_asked_for(layer):
    exact = output_and_gradients(double(layer, truncation=MaxRank(3)), inputs())
    rule = ThroughEigenvectors(PowerIterationGap(2))
    other = output_and_gradients(double(layer, truncation=MaxRank(3), gradient=rule), inputs())
    torch.testing.assert_close(other[0], exact[0], **EXACT)
    assert torch.linalg.norm(other[1] - exact[1]) > 1e-3 * torch.linalg.norm(exact[1])


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("training", [True, False])
def test_autocast_computes_in_single_precision(layer, training):
    module = layer(6, momentum=1.0)
    x = inputs((8, 6, 5, 5)).bfloat16()
    expected = module(x.float())
    module.train(training)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = x.clone().requires_grad_()
        y = module(half)
        y.sum().backward()
        assert module(x.float()).dtype == torch.float32
        torch.testing.assert_close(module(x.float()), expected, atol=1e-5, rtol=1e-5)
    assert y.dtype == half.grad.dtype == torch.bfloat16
    torch.testing.assert_close(y, expected.bfloat16(), atol=2**-6, rtol=2**-7)


@pytest.mark.parametrize("layer", LAYERS)
def test_half_precision_keeps_its_dtype_in_every_memory_format(layer):
    for memory_format in (torch.contiguous_format, torch.channels_last):
        x = inputs((8, 6, 5, 5)).bfloat16().to(memory_format=memory_format)
        for training in (True, False):
            y = layer(6).train(training)(x)
            assert y.dtype == x.dtype
            assert y.is_contiguous(memory_format=memory_format)


def test_evaluation_in_half_precision_is_rounded_at_its_end_alone():
    module, x = ZCAWhitening(6, affine=False).bfloat16(), inputs((64, 6), dtype=torch.bfloat16)
    module(x)
    centred = x.double() - module.running_mean.double()
    expected = (centred @ module.running_matrix[0].double().mT).bfloat16()
    torch.testing.assert_close(module.eval()(x), expected, atol=0, rtol=2**-8)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_in_half_precision(layer):
    module = layer(6, momentum=1.0).bfloat16()
    x = inputs((8, 6, 5, 5)).bfloat16()
    y = module(x)
    torch.testing.assert_close(y, layer(6)(x.float()).bfloat16(), atol=2**-6, rtol=2**-7)
    # The running statistics themselves have 8 bits.
    torch.testing.assert_close(module.eval()(x), y, atol=2**-4, rtol=2**-4)

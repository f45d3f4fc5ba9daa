"""Running statistics of the whitening and denoising layers, which evaluation uses."""

import copy

import pytest
from layer_cases import LAYERS, double, inputs
from torch_cases import torch

from specgrad_torch.nn import ZCAWhitening

EXACT = {"atol": 1e-12, "rtol": 1e-12}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("groups", [1, 2])
def test_training_with_momentum_1_equals_evaluation(layer, groups):
    module = double(layer, momentum=1.0, groups=groups)
    torch.nn.init.normal_(module.weight, generator=torch.manual_seed(3))
    torch.nn.init.normal_(module.bias, generator=torch.manual_seed(4))
    x = inputs()
    trained = module(x)
    torch.testing.assert_close(module.eval()(x), trained, **EXACT)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("momentum", [0.3, None])
def test_running_statistics_are_averages_over_batches(layer, momentum):
    module, single = double(layer, momentum=momentum, groups=2), double(layer, momentum=1.0, groups=2)
    mean, matrix = torch.zeros(6).double(), torch.eye(3).double().expand(2, 3, 3)
    for number in range(1, 4):
        x = inputs(seed=number)
        single(x)
        module(x)
        step = 1 / number if momentum is None else momentum
        mean = (1 - step) * mean + step * single.running_mean
        matrix = (1 - step) * matrix + step * single.running_matrix
    torch.testing.assert_close(module.running_mean, mean, **EXACT)
    torch.testing.assert_close(module.running_matrix, matrix, **EXACT)
    assert module.num_batches_tracked == 3
    module.eval()(x)
    assert module.num_batches_tracked == 3


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("momentum", [0.3, None])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_bad_batch_leaves_running_statistics(layer, momentum, bad):
    spoilt, clean = double(layer, momentum=momentum), double(layer, momentum=momentum)
    x = inputs()
    x[1, 2, 0, 0] = bad
    assert not torch.isfinite(spoilt(x)).all()
    for module in (spoilt, clean):
        module(inputs())
    assert not torch.isfinite(spoilt(x)).all()
    torch.testing.assert_close(spoilt.state_dict(), clean.state_dict(), **EXACT)


@pytest.mark.parametrize("earlier", [0, 1])
@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("layer", LAYERS)
def test_a_bad_batch_leaves_them_where_no_value_is_seen(layer, momentum, earlier):
    module = double(layer, momentum=momentum)
    for _ in range(earlier):
        module(inputs())
    before = copy.deepcopy(module.state_dict())
    x = inputs()
    x[1, 2, 0, 0] = float("nan")
    torch.compile(module, backend="eager")(x)
    torch.testing.assert_close(module.state_dict(), before, **EXACT)


@pytest.mark.parametrize("layer", LAYERS)
def test_momentum_0_keeps_them(layer):
    module = double(layer, momentum=0.0)
    before = module.running_matrix.clone()
    module(inputs())
    torch.testing.assert_close(module.running_matrix, before, **EXACT)
    assert int(module.num_batches_tracked) == 1


@pytest.mark.parametrize("layer", LAYERS)
def test_they_are_on_the_device_of_the_layer(layer):
    assert {tensor.device.type for tensor in layer(6, device="meta").state_dict().values()} == {"meta"}


@pytest.mark.parametrize("layer", LAYERS)
def test_evaluation_takes_an_input_of_higher_precision(layer):
    module = layer(6)
    module(inputs())
    y = module.eval()(inputs())
    assert y.dtype == torch.float64
    torch.testing.assert_close(y, module(inputs().float()).double(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_batch_beyond_the_range_of_the_statistics_leaves_them(layer):
    module = layer(6)
    before = copy.deepcopy(module.state_dict())
    module(inputs() + 1e40)
    torch.testing.assert_close(module.state_dict(), before, **EXACT)


@pytest.mark.parametrize("layer", LAYERS)
def test_running_statistics_carry_no_tangent(layer):
    module = double(layer)
    with torch.autograd.forward_ad.dual_level():
        x = torch.autograd.forward_ad.make_dual(inputs(), torch.ones_like(inputs()))
        module(x)
        for statistic in (module.running_mean, module.running_matrix):
            assert torch.autograd.forward_ad.unpack_dual(statistic).tangent is None


@pytest.mark.parametrize("layer", LAYERS)
def test_a_training_batch_may_come_before_the_gradient_of_an_evaluation(layer):
    module, x = double(layer), inputs().requires_grad_()
    module(inputs(seed=1))
    (expected,) = torch.autograd.grad(module.eval()(x).sin().sum(), x)
    y = module(x)
    module.train()(inputs(seed=2))
    torch.testing.assert_close(torch.autograd.grad(y.sin().sum(), x)[0], expected, **EXACT)


@pytest.mark.parametrize("layer", LAYERS)
def test_statistics_can_be_frozen_as_those_of_batch_normalisation(layer):
    module, theirs = double(layer), torch.nn.BatchNorm2d(6, dtype=torch.float64)
    for each in (module, theirs):
        before = copy.deepcopy(each.state_dict())
        each.track_running_stats = False
        each(inputs())
        torch.testing.assert_close(each.state_dict(), before, **EXACT)


@pytest.mark.parametrize("layer", LAYERS)
def test_without_running_statistics_evaluation_takes_the_batch(layer):
    module = double(layer, track_running_stats=False)
    assert module.running_mean is None
    torch.testing.assert_close(module.eval()(inputs()), double(layer)(inputs()), **EXACT)


def test_running_statistics_never_join_a_graph():
    module = ZCAWhitening(6)
    scale = torch.ones((), requires_grad=True)
    buffers = {
        name: scale * buffer if buffer.is_floating_point() else buffer.clone()
        for name, buffer in module.named_buffers()
    }
    before = buffers["running_matrix"].clone()
    torch.func.functional_call(module, buffers, (inputs(),))
    assert not torch.equal(buffers["running_matrix"], before)
    assert type(buffers["running_matrix"].grad_fn).__name__ == "MulBackward0"

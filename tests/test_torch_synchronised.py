"""Layers that synchronise their statistics, seen from one process."""

import copy
import pickle

import pytest
from layer_cases import LAYERS, double, inputs
from torch_cases import torch

from specgrad import MaxRank, PowerIteration, PowerIterationGap, ThroughEigenvectors
from specgrad_torch.nn import (
    PCADenoising,
    ZCAWhitening,
    convert_sync_whitening,
    distributed,
    normalisation,
)

RULE = ThroughEigenvectors(PowerIterationGap(3))
OPTIONS = {
    ZCAWhitening: {"eps": 0.1, "truncation": MaxRank(2), "gradient": RULE},
    PCADenoising: {"eps": 0.1, "truncation": MaxRank(2), "solver": PowerIteration(3), "gradient": RULE},
}

if not torch.distributed.is_available():
    pytest.skip("this PyTorch has no torch.distributed", allow_module_level=True)


@pytest.fixture
def groups(monkeypatch):
    """The groups over which sums were asked for; each sum is that of this process alone."""
    seen = []
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda total, group: seen.append(group))
    return seen


@pytest.fixture
def one_process():
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_sums_and_their_gradients_are_over_the_given_group(groups):
    samples = torch.randn(4, 9, dtype=torch.float64, requires_grad=True)
    _, covariance = distributed.joint_covariance(samples, 2, "a group")
    assert groups == ["a group"] * 2
    covariance.square().sum().backward()
    assert groups == ["a group"] * 4


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_statistics_of_half_precision_are_computed_in_single(groups, half):
    samples = (torch.randn(4, 300, generator=torch.manual_seed(0)) + 10.0).to(half)
    mean, covariance = distributed.joint_covariance(samples, 1, None)
    assert mean.dtype == covariance.dtype == torch.float32
    expected = torch.cov(samples.double(), correction=0)
    torch.testing.assert_close(covariance[0].double(), expected, atol=1e-4, rtol=0)


def test_a_large_mean_costs_no_digits(groups):
    samples = torch.randn(3, 200_000, generator=torch.manual_seed(0)) + 1e6
    mean, covariance = distributed.joint_covariance(samples, 1, None)
    exact = samples.double()
    half_of_the_last_digit = 0.5 * torch.finfo(torch.float32).eps
    torch.testing.assert_close(mean.double(), exact.mean(-1), atol=0, rtol=half_of_the_last_digit)
    torch.testing.assert_close(covariance[0].double(), torch.cov(exact, correction=0), atol=1e-5, rtol=0)


@pytest.mark.parametrize("layer", LAYERS)
def test_the_options_hold_as_for_one_process(monkeypatch, groups, layer):
    module, x = double(layer, groups=2, **OPTIONS[layer]), inputs().requires_grad_()
    expected = module(x)
    (gradient,) = torch.autograd.grad(expected.sin().sum(), x)
    monkeypatch.setattr(normalisation, "is_synchronised", lambda group: True)
    y = module(x)
    assert len(groups) == 2
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(torch.autograd.grad(y.sin().sum(), x)[0], gradient)


@pytest.mark.parametrize("layer", LAYERS)
def test_evaluation_sums_nothing(monkeypatch, groups, layer):
    monkeypatch.setattr(normalisation, "is_synchronised", lambda group: True)
    double(layer, track_running_stats=False).eval()(inputs())
    assert groups == []


@pytest.mark.usefixtures("groups")
def test_derivatives_in_reverse_mode_pass_through():
    samples = torch.randn(4, 9, generator=torch.manual_seed(0), dtype=torch.float64).requires_grad_()

    def covariance(samples):
        return distributed.joint_covariance(samples, 2, None)[1]

    assert torch.autograd.gradcheck(covariance, samples)
    assert torch.autograd.gradgradcheck(covariance, samples)
    gradient = torch.func.grad(lambda samples: covariance(samples).square().sum())(samples.detach())
    torch.testing.assert_close(gradient, torch.autograd.grad(covariance(samples).square().sum(), samples)[0])


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("layer", LAYERS)
def test_conversion_keeps_parameters_and_the_layers_can_be_copied(layer):
    before = torch.nn.Sequential(double(layer), double(layer))
    state = copy.deepcopy(before.state_dict())
    after = convert_sync_whitening(before)
    assert after is before
    torch.testing.assert_close(after.state_dict(), state)
    for other in (copy.deepcopy(after), pickle.loads(pickle.dumps(after))):
        assert other[0].process_group == other[1].process_group == after[0].process_group


def test_conversion_needs_processes():
    with pytest.raises(RuntimeError, match="init_process_group first"):
        convert_sync_whitening(ZCAWhitening(4))


@pytest.mark.usefixtures("one_process")
def test_conversion_leaves_the_layers_of_others():
    network = torch.nn.Sequential(torch.nn.SyncBatchNorm(4), ZCAWhitening(4))
    convert_sync_whitening(network)
    assert network[0].process_group is None
    assert network[1].process_group == distributed.AllProcesses()


@pytest.mark.parametrize("layer", LAYERS)
def test_a_converted_layer_trains_without_processes(layer):
    converted = double(layer, process_group=distributed.AllProcesses())
    torch.testing.assert_close(converted(inputs()), double(layer)(inputs()))


@pytest.mark.usefixtures("one_process")
def test_a_sharded_network_has_the_gradients_of_a_whole_one():
    """Sharding resizes the memory of parameters, which must stay possible."""
    torch.manual_seed(0)
    whole = torch.nn.Sequential(torch.nn.Linear(4, 4), ZCAWhitening(4), torch.nn.Linear(4, 1))
    sharded = copy.deepcopy(whole)
    mesh = torch.distributed.init_device_mesh("cpu", (1,))
    for module in (*sharded, sharded):
        torch.distributed.fsdp.fully_shard(module, mesh=mesh)
    for network in (whole, sharded):
        for x in (torch.randn(9, 4, generator=torch.manual_seed(1)) for _ in range(2)):
            network(x).pow(2).sum().backward()
    for one, other in zip(whole.parameters(), sharded.parameters(), strict=True):
        torch.testing.assert_close(other.grad.full_tensor(), one.grad)

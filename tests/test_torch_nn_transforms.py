"""Layers under torch.vmap: ensembles, and slices of any layout."""

import pytest
from layer_cases import LAYERS, inputs
from torch_cases import torch


@pytest.fixture(params=LAYERS)
def layer(request):
    return request.param


@pytest.mark.parametrize("tracks", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_layers_are_an_ensemble(layer, training, tracks):
    members = [layer(3, track_running_stats=tracks, dtype=torch.float64).train(training) for _ in range(2)]
    torch.nn.init.normal_(members[1].weight, generator=torch.manual_seed(0))
    x = torch.randn(8, 3, 5, dtype=torch.float64, generator=torch.manual_seed(1))
    parameters, buffers = torch.func.stack_module_state(members)

    def one(parameters, buffers, x):
        return torch.func.functional_call(members[0], (parameters, buffers), (x,))

    y = torch.func.vmap(one, in_dims=(0, 0, None))(parameters, buffers, x)
    found = torch.autograd.grad(y.pow(3).sum(), list(parameters.values()))
    for k, member in enumerate(members):
        expected = torch.autograd.grad(member(x).pow(3).sum(), list(member.parameters()))
        for together, alone in zip(found, expected, strict=True):
            torch.testing.assert_close(together[k], alone)
        for name, alone in member.named_buffers():
            torch.testing.assert_close(buffers[name][k], alone)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("axis", [0, 1])
def test_slices_of_any_layout_pass_through_vmap(layer, axis, memory_format):
    module = layer(3, track_running_stats=False, dtype=torch.float64)
    slices = [inputs((5, 3, 4, 2), seed=k).contiguous(memory_format=memory_format) for k in range(2)]
    stacked = torch.stack(slices, dim=axis)
    for x in (stacked, stacked.movedim(2, -1).contiguous().movedim(-1, 2)):  # channels last, too
        y = torch.func.vmap(module, in_dims=axis)(x)
        torch.testing.assert_close(y, torch.stack([module(x) for x in slices]))

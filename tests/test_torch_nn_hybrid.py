"""The protocol that changes the method of covariance pooling during training."""

import pytest
from torch_cases import torch

from specgrad import (
    AcceptResidual,
    DenseEigh,
    DenseSVD,
    NewtonSchulz,
    NewtonSchulzGradient,
    PowerIterationGap,
    ThroughEigenvectors,
)
from specgrad_torch.nn import CovariancePooling, HybridProtocol, PCADenoising, ZCAWhitening

ISQRT = NewtonSchulz(5, AcceptResidual())


def network():
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 1),
        ZCAWhitening(6, truncation=None, solver=ISQRT),
        CovariancePooling(6, solver=ISQRT),
        torch.nn.Linear(21, 2),
    )


def test_the_protocol_changes_the_method_at_the_last_decay():
    module = network()
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 4])
    rule = ThroughEigenvectors(PowerIterationGap(19))
    protocol = HybridProtocol(module, max(scheduler.milestones), gradient=rule)
    methods, rates = [], []
    for _ in range(6):
        methods.append((module[1].solver, module[2].solver, module[2].gradient))
        rates.append(scheduler.get_last_lr()[0])
        optimizer.zero_grad()
        module(torch.randn(4, 3, 4, 4)).square().sum().backward()
        state = {key: value.clone() for key, value in optimizer.state[module[0].weight].items()}
        protocol.step()
        assert state.keys() == optimizer.state[module[0].weight].keys()
        for key, value in optimizer.state[module[0].weight].items():
            assert torch.equal(value, state[key])
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1e-3)
        optimizer.step()
        scheduler.step()
    last = (DenseEigh(), DenseEigh(), rule)
    assert methods == [(ISQRT, ISQRT, None)] * 4 + [last] * 2
    assert [rate == rates[-1] for rate in rates] == [method == last for method in methods]


@pytest.mark.parametrize("position", [1, 3])
def test_the_position_of_the_protocol_survives_its_state(position):
    module, other = network(), network()
    protocol, restored = HybridProtocol(module, 2), HybridProtocol(other, 2)
    for _ in range(position):
        protocol.step()
    for _ in range(4 - position):  # on the other side of the change
        restored.step()
    restored.load_state_dict(protocol.state_dict())
    assert (other[1].solver, other[2].solver) == (module[1].solver, module[2].solver)
    assert (module[2].solver == ISQRT) == (position == 1)
    restored.step()
    assert other[2].solver == DenseEigh()


def test_the_protocol_keeps_what_each_layer_began_with():
    module = torch.nn.Sequential(PCADenoising(4, solver=DenseSVD()), CovariancePooling(4, solver=ISQRT))
    protocol = HybridProtocol(module, 1)
    start = protocol.state_dict()
    protocol.step()
    assert [layer.solver for layer in module] == [DenseEigh(), DenseEigh()]
    protocol.load_state_dict(start)
    assert [layer.solver for layer in module] == [DenseSVD(), ISQRT]


def test_the_protocol_needs_a_layer_to_change():
    with pytest.raises(ValueError, match="Linear has none"):
        HybridProtocol(torch.nn.Linear(2, 2), 1)


def test_the_protocol_refuses_a_last_stage_that_could_not_work():
    with pytest.raises(ValueError, match="NewtonSchulzGradient"):
        HybridProtocol(ZCAWhitening(6), 1, gradient=NewtonSchulzGradient(5))
    with pytest.raises(TypeError, match="solver is 'eigh'"):
        HybridProtocol(CovariancePooling(6), 1, solver="eigh")
    with pytest.raises(ValueError, match="an integer of at least 0 for milestone, not -1"):
        HybridProtocol(CovariancePooling(6), -1)
    with pytest.raises(TypeError, match="for milestone, not None"):
        HybridProtocol(CovariancePooling(6), None)


def test_a_milestone_of_0_changes_the_method_at_once():
    layer = CovariancePooling(4, solver=ISQRT)
    HybridProtocol(layer, 0)
    assert layer.solver == DenseEigh()

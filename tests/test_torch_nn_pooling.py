"""Covariance pooling as a layer."""

import pytest
from torch_cases import torch

from specgrad import (
    AcceptResidual,
    ClippedGap,
    ConvergenceError,
    ConvergenceWarning,
    DaleckiiKrein,
    DenseEigh,
    DenseSVD,
    EigenvalueFloor,
    ExactGap,
    Log,
    MaxRank,
    NewtonSchulz,
    NewtonSchulzGradient,
    PadeGap,
    PowerIteration,
    PowerIterationGap,
    RaiseResidual,
    TaylorGap,
    ThroughEigenvectors,
    ThroughSolver,
    TopNGap,
)
from specgrad_torch import covariance_pool
from specgrad_torch.nn import CovariancePooling, ZCAWhitening

ISQRT = NewtonSchulz(5, AcceptResidual())

# Solver, gradient rule, and the largest relative error of output and gradient on a spectrum of condition 10.
SYSTEMS = {
    "MPN-COV": (DenseSVD(), ThroughEigenvectors(ExactGap()), 1e-12, 1e-10),
    "SVD-PI": (DenseSVD(), ThroughEigenvectors(PowerIterationGap(19)), 1e-12, 0.3),
    "SVD-Taylor": (DenseSVD(), ThroughEigenvectors(TaylorGap(100)), 1e-12, 1e-3),
    "SVD-Pade": (DenseSVD(), ThroughEigenvectors(PadeGap()), 1e-12, 1e-9),
    "SVD-Trunc": (DenseSVD(), ThroughEigenvectors(ClippedGap(1e10)), 1e-12, 1e-10),
    "SVD-TopN": (DenseSVD(), ThroughEigenvectors(TopNGap(5)), 1e-12, 1e-10),
    "SVD-Newton": (DenseSVD(), NewtonSchulzGradient(5), 1e-12, 0.2),
    "iSQRT-COV": (ISQRT, None, 0.1, 0.2),
    "exact": (DenseEigh(), DaleckiiKrein(), 1e-12, 1e-12),
}


def features(eigenvalues=(1.0, 0.7, 0.45, 0.25, 0.1), positions=(4, 5), count=2):
    """Features (N, C, ...) whose covariance has these eigenvalues in each sample, with a mean."""
    generator = torch.manual_seed(0)
    d, m = len(eigenvalues), positions[0] * positions[1]
    noise = torch.randn(count, m, d, generator=generator).double()
    orthogonal, _ = torch.linalg.qr(noise - noise.mean(1, keepdim=True))
    turn, _ = torch.linalg.qr(torch.randn(d, d, generator=generator).double())
    scale = (m * torch.tensor(eigenvalues).double()).sqrt()
    return (turn * scale @ orthogonal.mT + 1.0).unflatten(-1, positions)


def pooled_and_gradient(layer, x):
    x = x.clone().requires_grad_()
    y = layer(x)
    y.mul(torch.arange(y.shape[-1], dtype=y.dtype).cos()).sum().backward()
    return y.detach(), x.grad


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_of_the_papers_is_two_values(name):
    solver, gradient, of_output, of_gradient = SYSTEMS[name]
    layer = CovariancePooling(5, eps=0.0, solver=solver, gradient=gradient)
    root = torch.zeros(2, 5, 5).double()
    x = features()
    for item, matrix in zip(x, root, strict=True):
        values, vectors = torch.linalg.eigh(torch.cov(item.flatten(1), correction=0))
        matrix.copy_(vectors * values.sqrt() @ vectors.mT)
    row, column = torch.triu_indices(5, 5)
    measured, gradient = pooled_and_gradient(layer, x)
    expected = root[:, row, column]
    assert torch.linalg.norm(measured - expected) <= of_output * torch.linalg.norm(expected)
    exact = pooled_and_gradient(CovariancePooling(5, eps=0.0), x)[1]
    assert torch.linalg.norm(gradient - exact) <= of_gradient * torch.linalg.norm(exact)


def test_power_iteration_is_a_system_too():
    x = features((1.0, 0.3, 0.1))
    measured = pooled_and_gradient(CovariancePooling(3, solver=PowerIteration(500)), x)
    for one, other in zip(measured, pooled_and_gradient(CovariancePooling(3), x), strict=True):
        torch.testing.assert_close(one, other, atol=1e-8, rtol=1e-6)


@pytest.mark.parametrize(
    "layer",
    [CovariancePooling(5), CovariancePooling(5, solver=ISQRT), CovariancePooling(5, eps=0.1, function=Log())],
    ids=["exact", "iSQRT-COV", "log"],
)
def test_gradient_against_finite_differences(layer):
    assert torch.autograd.gradcheck(layer, features(positions=(2, 5), count=1).requires_grad_())


def test_a_truncation_is_that_of_the_function():
    x, truncation = features(), MaxRank(2)
    expected = covariance_pool(x.flatten(2), truncation=truncation, eps=1e-5)
    torch.testing.assert_close(CovariancePooling(5, truncation=truncation)(x), expected)


def test_positions_may_have_any_number_of_axes():
    x, layer = features(), CovariancePooling(5)
    expected = layer(x)
    torch.testing.assert_close(layer(x.flatten(2)), expected)
    torch.testing.assert_close(layer(x.unflatten(-1, (5, 1))), expected)
    torch.testing.assert_close(layer(x.contiguous(memory_format=torch.channels_last)), expected)
    assert layer(x[:0]).shape == (0, 15)


def test_reduction_brings_the_channels_down():
    layer = CovariancePooling(8, reduction=3, dtype=torch.float64)
    x = torch.randn(4, 8, 3, 3, generator=torch.manual_seed(0)).double()
    assert CovariancePooling(8).out_features == 36
    assert layer.out_features == layer(x).shape[-1] == 6
    layer.eval()
    reduced = layer.reduction(x.flatten(2))
    assert (reduced >= 0).all()
    torch.testing.assert_close(layer(x), CovariancePooling(3)(reduced))
    layer.train()(x).sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in layer.parameters())
    with pytest.raises(RuntimeError, match=r"Missing key.*reduction"):
        layer.load_state_dict({})


def test_fewer_positions_than_channels_have_a_finite_gradient():
    x = features()[..., :1, :3]
    assert torch.isfinite(pooled_and_gradient(CovariancePooling(5), x)[1]).all()


@pytest.mark.parametrize("solver", [DenseEigh(), ISQRT], ids=repr)
def test_constant_features_have_a_finite_gradient(solver):
    y, gradient = pooled_and_gradient(CovariancePooling(5, solver=solver), torch.ones(2, 5, 3, 3).double())
    assert torch.isfinite(y).all()
    assert torch.isfinite(gradient).all()


def test_eps_is_added_where_nothing_is_truncated_too():
    layer = CovariancePooling(5, eps=1e-3, truncation=None)
    y, _ = pooled_and_gradient(layer, torch.ones(1, 5, 3, 3).double())
    root = torch.eye(5).double() * 1e-3**0.5
    torch.testing.assert_close(y[0], root[tuple(torch.triu_indices(5, 5))])


def test_input_of_the_wrong_shape_is_named():
    for shape in ((2, 5), (2, 4, 3)):
        with pytest.raises(ValueError, match=r"CovariancePooling\(5\) was given an input of shape"):
            CovariancePooling(5)(torch.ones(shape))
    with pytest.raises(ValueError, match="no positions"):
        CovariancePooling(5)(torch.ones(2, 5, 0))


def test_autocast_computes_in_single_precision():
    x = features().float()
    layer = CovariancePooling(5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(x.bfloat16()).dtype == torch.bfloat16
        torch.testing.assert_close(layer(x), layer(x.double()).float(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("solver", [DenseEigh(), NewtonSchulz(8, AcceptResidual()), PowerIteration(4)])
def test_the_output_may_be_modified_in_place(solver):
    gradients = []
    for inplace in (True, False):
        x = features().requires_grad_()
        network = torch.nn.Sequential(CovariancePooling(5, solver=solver), torch.nn.ReLU(inplace=inplace))
        gradients.append(torch.autograd.grad(network(x).sum(), x)[0])
    torch.testing.assert_close(*gradients, atol=0, rtol=0)


def test_a_method_that_has_not_converged_says_so_in_a_layer(monkeypatch):
    monkeypatch.setattr("specgrad._warn._WARNED", set())
    x = features(eigenvalues=(1.0, 1e-3, 1e-4, 1e-4, 1e-5))
    with pytest.warns(ConvergenceWarning, match=r"NewtonSchulz\(steps=5, .* has not converged"):
        CovariancePooling(5, solver=NewtonSchulz(5))(x)
    with pytest.raises(ConvergenceError):
        CovariancePooling(5, solver=NewtonSchulz(5, RaiseResidual()))(x)
    with pytest.raises(ConvergenceError):
        ZCAWhitening(5, truncation=None, solver=NewtonSchulz(5, RaiseResidual()), dtype=x.dtype)(x)


def test_a_solver_may_be_named_as_its_own_gradient():
    x, solver = features(), PowerIteration(4)
    named = CovariancePooling(5, solver=solver, gradient=ThroughSolver(solver))
    torch.testing.assert_close(
        pooled_and_gradient(named, x), pooled_and_gradient(CovariancePooling(5, solver=solver), x)
    )


def test_the_reduction_is_reset():
    layer = CovariancePooling(5, reduction=2)
    layer(torch.randn(3, 5, 4))
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    layer.reset_parameters()
    after = layer.state_dict()
    assert torch.all(after["reduction.0.weight"] != before["reduction.0.weight"])
    assert not torch.any(after["reduction.1.running_mean"])
    CovariancePooling(5).reset_parameters()


def test_at_least_one_channel():
    with pytest.raises(ValueError, match="an integer of at least 1 for num_features, not 0"):
        CovariancePooling(0)


def test_a_jacobian_by_batched_forward_mode():
    layer, x = CovariancePooling(5), features()
    jacobian = torch.autograd.functional.jacobian
    forward = jacobian(layer, x, vectorize=True, strategy="forward-mode")
    torch.testing.assert_close(forward, jacobian(layer, x))


def test_choices_that_do_not_go_together_are_refused_where_the_layer_is_made():
    with pytest.raises(ValueError, match="Log"):
        CovariancePooling(4, function=Log(), solver=NewtonSchulz(5))


@pytest.mark.parametrize(("reduction", "error"), [(0, ValueError), (2.5, ValueError), ("2", TypeError)])
def test_a_reduction_is_a_whole_number(reduction, error):
    with pytest.raises(error, match="CovariancePooling needs an integer of at least 1 for reduction"):
        CovariancePooling(4, reduction=reduction)


def test_no_positions_along_any_axis():
    with pytest.raises(ValueError, match="no positions"):
        CovariancePooling(4)(torch.zeros(2, 4, 3, 0))


def test_the_gradient_rule_is_passed_on():
    rule = ThroughEigenvectors(PowerIterationGap(3))
    x = torch.randn(2, 4, 9, generator=torch.manual_seed(0), dtype=torch.float64).requires_grad_()
    (found,) = torch.autograd.grad(CovariancePooling(4, gradient=rule)(x).sin().sum(), x)
    pooled = covariance_pool(x, eps=1e-5, truncation=EigenvalueFloor(), gradient=rule)
    torch.testing.assert_close(found, torch.autograd.grad(pooled.sin().sum(), x)[0])


def test_a_reduction_has_no_bias_ahead_of_its_normalisation():
    assert CovariancePooling(4, reduction=2).reduction[0].bias is None

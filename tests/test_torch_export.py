"""`torch.export` keeps this library's derivative too, to second order and in forward mode."""

import contextlib
import warnings

import pytest
from torch_cases import (
    OPTIONS,
    RAGGED,
    TIED,
    gradient,
    loss,
    matrices,
    specgrad_torch,
    tied_subspace_gradient,
    tied_subspace_loss,
    torch,
)

from specgrad import DenseSVD, EnergyRatio, ExactGap
from specgrad_torch.nn import CovariancePooling, ZCAWhitening

func = torch.func
ROUNDING = {"atol": 1e-11, "rtol": 1e-11}


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Loss(torch.nn.Module):
    def __init__(self, function, **options):
        super().__init__()
        self.function, self.options = function, options

    def forward(self, a):
        return self.function(a, **self.options)


def exported(function, a, strict=False, **options):
    return torch.export.export(Loss(function, **options), (a,), strict=strict).module()


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_exported_equals_eager_with_every_option(options):
    a = matrices(RAGGED)
    expected = gradient(lambda a: loss(a, **options), a)
    torch.testing.assert_close(gradient(exported(loss, a, **options), a), expected, **ROUNDING)


@pytest.mark.parametrize("strict", [False, True])
def test_exported_keeps_the_rule_at_an_exact_tie(strict):
    with _dynamo_may_say_that_it_looks_through_caches() if strict else contextlib.nullcontext():
        program = exported(tied_subspace_loss, TIED, strict)
    torch.testing.assert_close(gradient(program, TIED), tied_subspace_gradient(), **ROUNDING)


def test_exported_strictly_keeps_truncated_functions():
    def projector(a):
        return specgrad_torch.spectral_projector(a, EnergyRatio(0.9))[..., 0, -1].sum()

    a = matrices(RAGGED)
    with _dynamo_may_say_that_it_looks_through_caches():
        program = exported(projector, a, strict=True)
    torch.testing.assert_close(gradient(program, a), gradient(projector, a), **ROUNDING)


@pytest.mark.parametrize("options", [{}, {"truncation": EnergyRatio(0.9)}, {"solver": DenseSVD()}], ids=repr)
def test_exported_for_any_number_of_matrices(options):
    shapes = {"a": {0: torch.export.Dim("batch")}}
    module = Loss(loss, **options)
    program = torch.export.export(module, (matrices(RAGGED),), dynamic_shapes=shapes).module()
    a = matrices(RAGGED * 2)
    torch.testing.assert_close(gradient(program, a), gradient(module, a), **ROUNDING)


@pytest.mark.parametrize("options", [{}, {"gap": ExactGap()}, {"truncation": EnergyRatio(0.9)}], ids=repr)
def test_exported_has_the_hessian_of_eager(options):
    a = matrices(RAGGED[0])
    program = exported(loss, a, **options)
    expected = func.hessian(lambda a: loss(a, **options))(a)
    torch.testing.assert_close(func.hessian(program)(a), expected, **ROUNDING)


def test_an_infinite_derivative_does_not_reach_the_exported_value():
    tied = torch.eye(3, dtype=torch.float64, requires_grad=True)

    def vectors(a):
        return specgrad_torch.eigh(a, gap=ExactGap())[1]

    program = exported(vectors, tied)
    torch.testing.assert_close(program(tied), vectors(tied))
    for function in (program, vectors):
        (found,) = torch.autograd.grad(torch.sum(function(tied) ** 3), tied)
        assert not torch.all(torch.isfinite(found))


def test_exported_without_gradients_has_the_forward_pass_alone():
    a = matrices((9.0, 3.0, 1.0))

    class Root(torch.nn.Module):
        def forward(self, a):
            return specgrad_torch.sqrtm(a)

    with torch.no_grad():
        without = torch.export.export(Root(), (a,))
    lengths = [len(program.graph.nodes) for program in (without, torch.export.export(Root(), (a,)))]
    assert 2 * lengths[0] < lengths[1]
    torch.testing.assert_close(without.module()(a), specgrad_torch.sqrtm(a))


def test_exported_has_forward_mode():
    a = matrices(RAGGED)
    tangent = torch.ones_like(a)
    program = exported(loss, a)
    for value, expected in zip(
        func.jvp(program, (a,), (tangent,)), func.jvp(loss, (a,), (tangent,)), strict=True
    ):
        torch.testing.assert_close(value, expected, **ROUNDING)


@contextlib.contextmanager
def _dynamo_may_say_that_it_looks_through_caches():
    # array_api_compat caches the namespace of a type, which never changes.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*`functools.lru_cache`-wrapped", category=UserWarning)
        yield


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_a_trace_can_be_saved_and_keeps_the_derivative(tmp_path):
    a = TIED.clone()
    path = str(tmp_path / "traced.pt")
    torch.jit.save(torch.jit.trace(tied_subspace_loss, a), path)
    traced = torch.jit.load(path)
    torch.testing.assert_close(traced(a), tied_subspace_loss(a), **ROUNDING)
    torch.testing.assert_close(gradient(traced, a), tied_subspace_gradient(), **ROUNDING)


def test_a_symbolic_trace_names_its_way_out():
    for part in (ZCAWhitening(4), CovariancePooling(4)):
        with pytest.raises(TypeError, match="is_leaf_module"):
            torch.fx.symbolic_trace(torch.nn.Sequential(part))

"""`torch.compile` keeps this library's derivative, not that of the operations inside."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch_cases import (
    OPTIONS,
    RAGGED,
    SEPARATED,
    TIED,
    gradient,
    loss,
    matrices,
    specgrad_torch,
    tied_subspace_gradient,
    tied_subspace_loss,
    torch,
)

from specgrad import (
    BroadenedGap,
    DaleckiiKrein,
    DenseSVD,
    EnergyRatio,
    ExactGap,
    FromDerivative,
    MaskedGap,
    MaxRank,
    NewtonSchulz,
    PowerIteration,
    Refined,
)

func = torch.func
ROUNDING = {"atol": 1e-11, "rtol": 1e-11}


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(function, backend="aot_eager"):
    return torch.compile(function, fullgraph=True, backend=backend)


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_compiled_equals_eager_with_every_option(options):
    def function(a):
        return loss(a, **options)

    a = matrices(RAGGED)
    torch.testing.assert_close(gradient(compiled(function), a), gradient(function, a), **ROUNDING)


def test_compiled_equals_eager_for_power_iteration():
    def function(a):
        return loss(a, solver=PowerIteration(steps=2))

    a = matrices((9.0, 3.0, 1.0))
    torch.testing.assert_close(gradient(compiled(function), a), gradient(function, a), **ROUNDING)


@pytest.mark.parametrize(
    "function",
    [
        lambda a: loss(a, gap=MaskedGap()),
        lambda a: loss(a, solver=Refined()),
        lambda a: torch.sum(specgrad_torch.expm(a, gradient=DaleckiiKrein()) ** 2),
        lambda a: torch.sum(specgrad_torch.sqrtm(a, solver=NewtonSchulz(20)) ** 2),
    ],
    ids=["gap rule", "solver", "gradient", "iteration"],
)
def test_values_with_values_as_defaults_are_built_while_compiling(function):
    a = matrices((9.0, 3.0, 1.0))
    torch.testing.assert_close(gradient(compiled(function), a), gradient(function, a), **ROUNDING)


def test_compiled_equals_eager_for_complex_input():
    a = matrices(SEPARATED, torch.complex128)
    torch.testing.assert_close(gradient(compiled(loss), a), gradient(loss, a), **ROUNDING)


@pytest.mark.parametrize("options", [{}, {"truncation": EnergyRatio(0.9)}], ids=repr)
def test_compiled_around_vmap_and_a_derivative(options):
    def function(a):
        return loss(a, **options)

    a, expected = matrices(RAGGED), gradient(function, matrices(RAGGED))

    def together(a):
        return func.vmap(function)(a).sum()

    for transformed in (func.vmap(func.grad(function)), func.grad(together), func.jacfwd(together)):
        torch.testing.assert_close(compiled(transformed)(a), expected, **ROUNDING)


@pytest.mark.skipif(
    not (shutil.which(os.environ.get("CXX", "c++")) or shutil.which("g++")),
    reason="the default backend of torch.compile needs a C++ compiler",
)
@pytest.mark.parametrize("mode", [func.jacfwd, func.hessian])
def test_compiled_around_forward_mode(mode):
    a = matrices(SEPARATED)
    for function in (loss, lambda a: specgrad_torch.sqrtm(a).square().sum()):
        torch.testing.assert_close(compiled(mode(function))(a), mode(function)(a), **ROUNDING)


def test_compiled_for_any_size_and_number():
    functions = (loss, lambda a: specgrad_torch.eigh(a, solver=PowerIteration(9)).eigenvalues)
    for function in functions:
        general = torch.compile(function, fullgraph=True, backend="aot_eager", dynamic=True)
        for n in (3, 4, 5):
            a = torch.diag(torch.arange(1.0, n + 1.0, dtype=torch.float64))
            torch.testing.assert_close(general(a), function(a), **ROUNDING)
    shifted = compiled(lambda x, eps: specgrad_torch.covariance(x, eps=eps))
    x = torch.randn(3, 9, dtype=torch.float64, generator=torch.manual_seed(0))
    for eps in (0.1, 0.2, 0.3):
        torch.testing.assert_close(shifted(x, eps), specgrad_torch.covariance(x, eps=eps), **ROUNDING)


@pytest.mark.parametrize(("number", "compiler"), [(0.1, "aot_eager"), (np.float64(0.1), "eager")])
def test_compiled_with_a_value_made_of_a_number_that_is_given(number, compiler):
    def broadened(a, width):
        return specgrad_torch.eigh(a, gap=BroadenedGap(width)).eigenvectors[..., 0].square().sum()

    a, general = matrices(SEPARATED), compiled(broadened, compiler)
    measured, expected = (gradient(lambda a, f=f: f(a, number), a) for f in (general, broadened))
    torch.testing.assert_close(measured, expected, **ROUNDING)


def test_compiled_with_the_default_backend():
    a = matrices(RAGGED)
    torch.testing.assert_close(gradient(compiled(loss, "inductor"), a), gradient(loss, a), **ROUNDING)


def test_compiled_as_the_first_thing_in_a_process():
    program = """
import torch, specgrad_torch
a = torch.diag(torch.arange(3.0)).requires_grad_()
loss = lambda a: specgrad_torch.eigh(a).eigenvalues.square().sum()
torch.compile(loss, fullgraph=True, backend="aot_eager")(a).backward()
assert torch.equal(a.grad, 2 * a.detach()), a.grad
"""
    root = Path(specgrad_torch.__file__).parents[1]
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("options", [{}, {"truncation": EnergyRatio(0.9)}, {"solver": DenseSVD()}], ids=repr)
def test_compiled_once_for_many_batch_sizes(options):
    eager, counter = partial(loss, **options), torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    function = torch.compile(eager, fullgraph=True, backend=counter, dynamic=True)
    for batch in (2, 3, 5):
        a = matrices((RAGGED * 3)[:batch])
        torch.testing.assert_close(gradient(function, a), gradient(eager, a), **ROUNDING)
    assert counter.frame_count == 1


def test_nothing_that_tracing_adds_makes_compile_again():
    """What is looked up once for each dtype is seen by the compiler, which guards it."""
    a = matrices(RAGGED).float()
    with torch._dynamo.config.patch(error_on_recompile=True):
        for function in (specgrad_torch.sqrtm, lambda a: specgrad_torch.eigh(a, truncation=MaxRank(2))[0]):
            compiled_function = torch.compile(function, backend="aot_eager")
            for _ in range(2):
                torch.testing.assert_close(compiled_function(a), function(a))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # of Dynamo's own
def test_a_backward_pass_is_compiled_without_a_word():
    a = TIED.clone().requires_grad_()
    with torch._dynamo.compiled_autograd._enable(torch.compile(backend="aot_eager", fullgraph=True)):
        tied_subspace_loss(a).backward()
    torch.testing.assert_close(a.grad, tied_subspace_gradient(), **ROUNDING)


@pytest.mark.parametrize(
    "differentiate",
    [
        pytest.param(lambda a: gradient(compiled(tied_subspace_loss), a), id="compile"),
        pytest.param(lambda a: compiled(func.grad(tied_subspace_loss))(a), id="compile of grad"),
        pytest.param(lambda a: compiled(func.vmap(func.grad(tied_subspace_loss)))(a[None])[0], id="of vmap"),
    ],
)
def test_compiled_keeps_the_rule_at_an_exact_tie(differentiate):
    torch.testing.assert_close(differentiate(TIED), tied_subspace_gradient(), **ROUNDING)


@dataclass(frozen=True)
class HalvedGap:
    """Someone else's rule: half of ``1/gap``, so that its effect can be told apart."""

    factor: float = 0.5

    def matrix(self, values: Any) -> Any:
        return self.factor * ExactGap().matrix(values)

    def bound(self, values: Any) -> Any:
        return ExactGap().bound(values)


@pytest.mark.parametrize("compile_or_not", [compiled, lambda f: f], ids=["compiled", "eager"])
def test_gap_rule_of_a_user(compile_or_not):
    def of_vectors(a, gap):
        vectors = specgrad_torch.eigh(a, gap=gap).eigenvectors
        return vectors[..., 0, -1] ** 2

    a = matrices(SEPARATED[0])
    halved = gradient(compile_or_not(lambda a: of_vectors(a, HalvedGap())), a)
    torch.testing.assert_close(halved, 0.5 * gradient(lambda a: of_vectors(a, ExactGap()), a), **ROUNDING)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # of Dynamo's own
def test_a_break_in_the_graph_leaves_the_derivative_and_warns_of_nothing():
    # A compiler keeps no callables, so the graph breaks where one is used.
    cosine = FromDerivative(torch.cos, lambda x: -torch.sin(x))

    def value(a):
        return specgrad_torch.matrix_function(a, cosine).sum()

    a = TIED.clone().requires_grad_()
    found = gradient(torch.compile(value, backend="aot_eager"), a)
    torch.testing.assert_close(found, gradient(value, a), **ROUNDING)

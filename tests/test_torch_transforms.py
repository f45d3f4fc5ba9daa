"""PyTorch's autograd and torch.func on `eigh`: derivatives in every direction, and tracers."""

from dataclasses import dataclass

import pytest
from torch.fx.experimental.proxy_tensor import make_fx
from torch_cases import (
    GAP_RULES,
    RAGGED,
    SEPARATED,
    TIED,
    TRUNCATIONS,
    finite_differences,
    gradient,
    hermitian,
    loss,
    matrices,
    rebuilt,
    specgrad_torch,
    tied_subspace_gradient,
    tied_subspace_loss,
    torch,
)

from specgrad import (
    BroadenedGap,
    DenseEigh,
    DenseSVD,
    EnergyRatio,
    ExactGap,
    Fallback,
    MaskedGap,
    MaxRank,
    PowerIteration,
    PowerIterationGap,
    Refined,
)
from specgrad.solvers import Solver, without_looking

func = torch.func
DTYPES = (torch.float64, torch.complex128)
DIFFERENCES = {"atol": 1e-6, "rtol": 1e-6}  # of central differences with a step of 1e-5, at scale 100
ROUNDING = {"atol": 1e-11, "rtol": 1e-11}


def gradcheck(function, a):
    return torch.autograd.gradcheck(
        function, a.requires_grad_(), check_forward_ad=True, check_batched_grad=True, **DIFFERENCES
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("gap", GAP_RULES, ids=repr)
def test_every_gap_rule_agrees_with_finite_differences(gap, dtype):
    assert gradcheck(lambda a: rebuilt(a, gap=gap), matrices(SEPARATED[0], dtype))


@pytest.mark.parametrize("gap", GAP_RULES, ids=repr)
@pytest.mark.parametrize("truncation", TRUNCATIONS, ids=repr)
def test_every_truncation_agrees_with_finite_differences(truncation, gap):
    a = matrices(SEPARATED[0])
    assert gradcheck(lambda a: rebuilt(a, gap=gap, truncation=truncation), a)


@pytest.mark.parametrize("truncation", TRUNCATIONS, ids=repr)
def test_truncations_with_a_rank_for_each_matrix_agree_with_finite_differences(truncation):
    a = matrices(RAGGED)
    rank = specgrad_torch.eigh(a, truncation=truncation).rank
    assert tuple(rank.tolist()) == TRUNCATIONS[truncation]
    assert not rank.requires_grad
    assert gradcheck(lambda a: rebuilt(a, truncation=truncation), a)


def test_eigvalsh_agrees_with_finite_differences():
    assert gradcheck(lambda a: specgrad_torch.eigvalsh(hermitian(a)), matrices(SEPARATED))


def test_power_iteration_agrees_with_finite_differences():
    solver = PowerIteration(steps=3)
    a = matrices(((9.0, 3.0, 1.0),))
    assert gradcheck(lambda a: rebuilt(a, solver=solver), a)


@pytest.mark.parametrize("options", [{}, {"gap": ExactGap()}, {"truncation": EnergyRatio(0.9)}], ids=repr)
def test_first_order_transforms_agree_with_finite_differences(options):
    def function(a):
        return loss(a, **options)

    a = matrices(RAGGED)
    expected = finite_differences(function, a)
    tangent = torch.linspace(-1, 1, a.numel(), dtype=a.dtype).reshape(a.shape)
    along = func.jvp(function, (a,), (tangent,))[1]
    torch.testing.assert_close(along, (expected * tangent).sum(), **DIFFERENCES)
    for measured in (
        func.grad(function)(a),
        func.jacrev(function)(a),
        func.jacfwd(function)(a),
        func.vmap(func.grad(function))(a),
        func.vmap(func.grad(function), in_dims=2, out_dims=2)(a.permute(1, 2, 0)).permute(2, 0, 1),
        func.vmap(func.jacfwd(function))(a),
    ):
        torch.testing.assert_close(measured, expected, **DIFFERENCES)


@pytest.mark.parametrize(
    "function", [loss, lambda a: specgrad_torch.expm(a)[0].abs().sum()], ids=["eigh", "expm"]
)
def test_complex_matrices_are_batched_without_a_loop(function):
    # PyTorch warns where an operation has no rule for batches.
    batch = matrices(SEPARATED, torch.complex128)
    gradients = func.vmap(func.grad(function))(batch)
    torch.testing.assert_close(gradients[1], func.grad(function)(batch[1]), **ROUNDING)


def test_choices_are_made_inside_a_compiled_function():
    """Of constants, and of numbers that the compiler keeps open."""

    def function(a, steps, width):
        gaps = (
            PowerIterationGap(19),
            MaskedGap(),
            BroadenedGap(1e-3),
            PowerIterationGap(steps),
            BroadenedGap(width),
        )
        options = {"truncation": EnergyRatio(0.9) | MaxRank(steps)}
        return sum(loss(a, gap=gap, **options) for gap in gaps)

    torch._dynamo.reset()
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager", dynamic=True)
    a = matrices(RAGGED[0])
    for numbers in ((2, 1e-3), (3, 1e-2), (5, 0.1)):
        expected = gradient(lambda a, numbers=numbers: function(a, *numbers), a)
        measured = gradient(lambda a, numbers=numbers: compiled(a, *numbers), a)
        torch.testing.assert_close(measured, expected, **ROUNDING)
    torch._dynamo.reset()


FALLBACK = Fallback(DenseEigh(), DenseSVD())
NESTED = Fallback(DenseEigh(), FALLBACK)


@dataclass(frozen=True)
class Around:
    """A plug-in that holds a solver, and passes on the question for one that looks at no value."""

    solver: Solver

    def solve(self, a):
        return self.solver.solve(a)

    def without_looking(self):
        return Around(without_looking(self.solver))


TRACERS = {
    "make_fx": lambda f, x: make_fx(f)(x),
    "linearize": lambda f, x: lambda y: torch.func.linearize(f, y)[0],
    "jit": torch.jit.trace,
}


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node")
@pytest.mark.parametrize("tracer", TRACERS)
@pytest.mark.parametrize("solver", [DenseEigh(), FALLBACK, Refined(FALLBACK), Around(FALLBACK), NESTED])
def test_no_trace_depends_on_values(tracer, solver):
    def projector(a):
        truncation = MaxRank(2)
        return specgrad_torch.spectral_projector(a, truncation, solver=solver, check_finite=False)

    good = matrices([SEPARATED[0]] * 3)
    bad = good.clone()
    bad[1, 0, 0] = torch.nan
    with torch.no_grad():
        traced = TRACERS[tracer](projector, good)
        torch.testing.assert_close(traced(good), projector(good))
        found = traced(bad)
    torch.testing.assert_close(found[[0, 2]], projector(good)[[0, 2]])
    assert found[1].isnan().all()


OVER_VMAP = {
    "grad": lambda f, batch: func.grad(lambda x: func.vmap(f)(x).sum())(batch),
    "backward": lambda f, batch: gradient(lambda x: func.vmap(f)(x).sum(), batch),
    "jacrev": lambda f, batch: func.jacrev(lambda x: func.vmap(f)(x).sum())(batch),
    "jacfwd": lambda f, batch: func.jacfwd(lambda x: func.vmap(f)(x).sum())(batch),
    "vmap of grad": lambda f, batch: func.vmap(func.grad(lambda x: func.vmap(f)(x).sum()))(batch[None])[0],
}
FUNCTIONS = {
    "eigh": lambda a: loss(a, truncation=MaxRank(2)),
    "sqrtm": lambda a: specgrad_torch.sqrtm(a).pow(3).sum(),
    "covariance": lambda a: specgrad_torch.covariance(a).pow(3).sum(),
    "zca_whiten": lambda a: specgrad_torch.zca_whiten(a, truncation=None, eps=1.0).whitened.pow(3).sum(),
    "pca_denoise": lambda a: specgrad_torch.pca_denoise(a, truncation=MaxRank(2)).denoised.pow(3).sum(),
    "covariance_pool": lambda a: specgrad_torch.covariance_pool(a, eps=1.0).pow(3).sum(),
}


@pytest.mark.parametrize("transform", OVER_VMAP)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_derivatives_of_a_batching_transform(transform, function):
    batch, f = matrices(SEPARATED), FUNCTIONS[function]
    expected = torch.stack([gradient(f, a) for a in batch])
    torch.testing.assert_close(OVER_VMAP[transform](f, batch), expected, **ROUNDING)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_second_derivatives_of_a_batching_transform(function):
    batch, f = matrices(SEPARATED), FUNCTIONS[function]
    hessian = func.hessian(lambda x: func.vmap(f)(x).sum())(batch)
    for k, a in enumerate(batch):
        torch.testing.assert_close(hessian[k, :, :, k], func.hessian(f)(a), **ROUNDING)


CONSTANT = {
    "grad": lambda f, x: func.grad(f)(x),
    "jvp": lambda f, x: func.jvp(f, (x,), (x,))[1],
    "vjp": lambda f, x: func.vjp(f, x)[1](torch.ones((), dtype=x.dtype))[0],
    "hessian": lambda f, x: func.hessian(f)(x),
    "vmap of grad": lambda f, x: func.vmap(func.grad(f))(torch.stack([x, x])),
}


@pytest.mark.parametrize("transform", CONSTANT)
def test_a_matrix_that_a_transform_does_not_reach_is_a_constant(transform):
    # PyTorch detaches no plain tensor as it is inside of a transform.
    a, weights = matrices(SEPARATED[0]), torch.tensor([1.0, 2.0, 0.5, 1.0], dtype=torch.float64)
    for parts in (
        lambda x: specgrad_torch.sqrtm(a),
        lambda x: specgrad_torch.eigh(a).eigenvectors,
        lambda x: specgrad_torch.zca_whiten(a, truncation=None, eps=1.0).whitened,
        lambda x: specgrad_torch.covariance(x, weights),
    ):
        assert torch.isfinite(CONSTANT[transform](lambda x, parts=parts: (x * parts(x)).sum(), a)).all()
    expected = specgrad_torch.sqrtm(a)
    measured = func.grad(lambda x: (x * specgrad_torch.sqrtm(a)).sum())(a)
    torch.testing.assert_close(measured, expected, **ROUNDING)


def test_exact_tie_where_the_gradient_of_torch_is_nan():
    a = TIED.clone().requires_grad_()
    (theirs,) = torch.autograd.grad(tied_subspace_loss(a, torch.linalg.eigh), a)
    (ours,) = torch.autograd.grad(tied_subspace_loss(a), a)
    assert theirs.isnan().any()
    torch.testing.assert_close(ours, tied_subspace_gradient(), **ROUNDING)


@pytest.mark.parametrize("transform", [func.grad, func.jacrev, func.jacfwd])
def test_exact_tie_under_transforms(transform):
    gradient = transform(tied_subspace_loss)(TIED)
    torch.testing.assert_close(gradient, tied_subspace_gradient(), **ROUNDING)


def test_a_jacobian_of_the_published_baseline_by_batched_forward_mode():
    def function(a):
        return specgrad_torch.eigh(a, solver=PowerIteration(30)).eigenvalues

    jacobian = torch.autograd.functional.jacobian
    a = matrices(SEPARATED)[0]
    forward = jacobian(function, a, vectorize=True, strategy="forward-mode")
    torch.testing.assert_close(forward, jacobian(function, a))

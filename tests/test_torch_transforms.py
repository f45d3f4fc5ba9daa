"""PyTorch's autograd and torch.func on `eigh`: every order, every direction, against finite differences."""

from dataclasses import dataclass

import pytest
from torch.fx.experimental.proxy_tensor import make_fx
from torch_cases import (
    EXACT_RULES,
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


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("gap", EXACT_RULES, ids=repr)
def test_double_backward_agrees_with_finite_differences(gap, dtype):
    a = matrices((2.0, 1.0, -4.0), dtype).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda a: rebuilt(a, gap=gap), a)


def test_double_backward_of_a_truncation_agrees_with_finite_differences():
    a = matrices(RAGGED).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda a: loss(a, truncation=EnergyRatio(0.9)), a)


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


SECOND_ORDER = {
    "hessian": func.hessian,
    "jacrev of jacrev": lambda f: func.jacrev(func.jacrev(f)),
    "jacrev of jacfwd": lambda f: func.jacrev(func.jacfwd(f)),
    "jacfwd of jacrev": lambda f: func.jacfwd(func.jacrev(f)),
    "jacfwd of jacfwd": lambda f: func.jacfwd(func.jacfwd(f)),
}


@pytest.mark.parametrize("order", SECOND_ORDER)
@pytest.mark.parametrize("truncation", [None, EnergyRatio(0.9)], ids=repr)
def test_second_order_transforms_agree_with_finite_differences(order, truncation):
    def function(a):
        return loss(a, truncation=truncation)

    a = matrices(RAGGED[0])
    expected = finite_differences(func.grad(function), a)
    torch.testing.assert_close(SECOND_ORDER[order](function)(a), expected, **DIFFERENCES)


@pytest.mark.parametrize("order", SECOND_ORDER)
def test_second_order_at_the_optimum_of_a_loss(order):
    a = torch.diag(torch.tensor([0.5, 0.97, 1.0], dtype=torch.float64))
    turn = torch.zeros_like(a)
    turn[1, 2] = turn[2, 1] = 1.0

    def loss(s):
        return -(specgrad_torch.eigh(a + s * turn).eigenvectors[2, 2] ** 2)

    curvature = SECOND_ORDER[order](loss)(torch.tensor(0.0, dtype=torch.float64))
    assert float(curvature) == pytest.approx(2 / 0.03**2, rel=1e-10)


# No gap of this spectrum is small, so orders of differentiation differ by rounding alone.
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("truncation", [None, MaxRank(2), EnergyRatio(0.9)], ids=repr)
@pytest.mark.parametrize("gap", GAP_RULES, ids=repr)
def test_every_order_of_differentiation_agrees_for_every_gap_rule(gap, truncation, dtype):
    def function(a):
        return loss(a, gap=gap, truncation=truncation)

    tolerance = {torch.float32: 1e-4, torch.float64: 1e-10}[dtype]
    a = matrices((1.0, 2.0, 3.0, 4.0), dtype).requires_grad_()
    direction = torch.linspace(-1, 1, a.numel(), dtype=dtype).reshape(a.shape)
    expected = SECOND_ORDER["jacfwd of jacrev"](function)(a.detach())
    allowed = {"atol": tolerance * float(expected.abs().max()), "rtol": 0.0}
    for order in ("jacrev of jacrev", "jacrev of jacfwd"):
        torch.testing.assert_close(SECOND_ORDER[order](function)(a.detach()), expected, **allowed)
    (once,) = torch.autograd.grad(function(a), a, create_graph=True)
    (twice,) = torch.autograd.grad(once, a, direction)
    torch.testing.assert_close(twice, torch.tensordot(direction, expected), **allowed)


def test_hessian_of_a_batch_under_vmap_is_that_of_each():
    a = matrices(RAGGED)
    expected = torch.stack([func.hessian(loss)(each) for each in a])
    torch.testing.assert_close(func.vmap(func.hessian(loss))(a), expected, **ROUNDING)


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
@pytest.mark.parametrize("solver", [DenseEigh(), FALLBACK, Refined(FALLBACK), Around(FALLBACK)])
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


def test_third_order_agrees_with_finite_differences():
    a = matrices((9.0, 3.0, 1.0))
    expected = finite_differences(func.hessian(loss), a)
    for third in (
        func.jacrev(func.jacrev(func.jacrev(loss))),
        func.jacfwd(func.jacrev(func.jacrev(loss))),
        func.jacrev(func.hessian(loss)),
    ):
        torch.testing.assert_close(third(a), expected, **DIFFERENCES)


@pytest.mark.parametrize("inner", [func.jacfwd, func.jacrev])
def test_what_nested_forward_mode_cannot_do_is_refused_in_a_sentence(inner):
    with pytest.raises(NotImplementedError, match=r"[23] levels of forward mode .* use forward mode once"):
        func.jacfwd(func.jacfwd(inner(loss)))(matrices((9.0, 3.0, 1.0)))


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


@pytest.mark.parametrize("order", SECOND_ORDER)
def test_second_derivatives_are_finite_at_an_exact_tie(order):
    assert SECOND_ORDER[order](lambda a: tied_subspace_loss(a, gap=MaskedGap()))(TIED).isfinite().all()


def test_a_jacobian_of_the_published_baseline_by_batched_forward_mode():
    def function(a):
        return specgrad_torch.eigh(a, solver=PowerIteration(30)).eigenvalues

    jacobian = torch.autograd.functional.jacobian
    a = matrices(SEPARATED)[0]
    forward = jacobian(function, a, vectorize=True, strategy="forward-mode")
    torch.testing.assert_close(forward, jacobian(function, a))

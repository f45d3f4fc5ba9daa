"""Second and third derivatives of `eigh` by autograd and torch.func, against finite differences."""

import pytest
from torch_cases import (
    EXACT_RULES,
    GAP_RULES,
    RAGGED,
    TIED,
    finite_differences,
    hermitian,
    loss,
    matrices,
    rebuilt,
    specgrad_torch,
    tied_subspace_loss,
    torch,
)

from specgrad import EnergyRatio, GaugeWarning, MaskedGap, MaxRank

func = torch.func
DTYPES = (torch.float64, torch.complex128)
DIFFERENCES = {"atol": 1e-6, "rtol": 1e-6}  # of central differences with a step of 1e-5, at scale 100
ROUNDING = {"atol": 1e-11, "rtol": 1e-11}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("gap", EXACT_RULES, ids=repr)
def test_double_backward_agrees_with_finite_differences(gap, dtype):
    a = matrices((2.0, 1.0, -4.0), dtype).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda a: rebuilt(a, gap=gap), a)


def test_double_backward_of_a_truncation_agrees_with_finite_differences():
    a = matrices(RAGGED).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda a: loss(a, truncation=EnergyRatio(0.9)), a)


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


@pytest.mark.parametrize("order", SECOND_ORDER)
def test_second_derivatives_are_finite_at_an_exact_tie(order):
    assert SECOND_ORDER[order](lambda a: tied_subspace_loss(a, gap=MaskedGap()))(TIED).isfinite().all()


def leading_form(weights):
    """``v^T W v`` of the leading eigenvector, next to which there is another."""

    def form(a):
        v = specgrad_torch.eigh(a).eigenvectors[:, -1]
        return (v @ weights) @ v

    return form


def pair(dtype=torch.float64):
    """Two symmetric matrices."""
    return (hermitian(x) for x in torch.randn(2, 3, 3, dtype=dtype, generator=torch.manual_seed(0)))


def test_a_product_with_the_hessian_is_linear_in_a_short_direction():
    # The rounding floor of a tangent is that of its own cotangent, not of a larger one.
    a, (direction, weights) = torch.diag(torch.tensor([1.0, 2.0, 2.01], dtype=torch.float64)), pair()

    def product(direction):
        return func.jvp(func.grad(leading_form(weights)), (a,), (direction,))[1]

    expected = product(direction)
    torch.testing.assert_close(1e18 * product(1e-18 * direction), expected, atol=1e-9, rtol=1e-9)
    jacobian = func.jacrev(product)(torch.zeros_like(direction))
    measured = torch.einsum("ijkl,kl->ij", jacobian, direction)
    torch.testing.assert_close(measured, expected, atol=1e-9, rtol=1e-9)


def test_reverse_mode_of_a_tangent_at_a_tie():
    direction, tangent = pair()

    def moved(a):
        return func.jvp(specgrad_torch.expm, (a,), (tangent,))[1]

    jacobian = torch.autograd.functional.jacobian(moved, TIED[:3, :3])
    step = 1e-5 * direction
    expected = (moved(TIED[:3, :3] + step) - moved(TIED[:3, :3] - step)) / 2e-5
    measured = torch.einsum("ijkl,kl->ij", jacobian, direction)
    torch.testing.assert_close(measured, expected, **DIFFERENCES)


def test_a_loss_of_the_gauge_is_seen_without_another_warning():
    """Where a second derivative is to follow, tensors carry gradients when they are looked at."""
    a = TIED.clone().requires_grad_()
    entry = specgrad_torch.eigh(a).eigenvectors[..., 0, 1].sum()
    with pytest.warns(GaugeWarning, match="phase of an eigenvector"):
        torch.autograd.grad(entry, a, create_graph=True)


def test_an_infinite_cotangent_is_looked_at_in_silence():
    a = TIED.clone().requires_grad_()
    vectors = specgrad_torch.eigh(a).eigenvectors
    cotangent = torch.zeros_like(vectors)
    cotangent[..., 1, 0] = torch.inf
    (gradient,) = torch.autograd.grad(vectors, a, cotangent, create_graph=True)
    assert not gradient.isfinite().all()

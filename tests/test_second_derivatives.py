"""Second derivatives: through a framework, exact off ties and finite everywhere; and second differences."""

import function_oracle
import mpmath
import numpy as np
import pytest
from test_finite import REGULARISED

from specgrad import Exp, FromDerivative, InverseSqrt, MaxRank, Power, PowerIteration, ProjectGauge
from specgrad.divided_differences import second_difference
from specgrad.testing import SPECTRA, gap_spectrum, random_hermitian, random_unitary


@pytest.fixture
def autodiff(backend):
    """A backend whose functions work under reverse-mode autodiff with ``requires_grad``."""
    if backend.functions is None:
        pytest.skip(f"{backend.name} has no tape of its own")
    return backend


def second_derivative(backend, a, rule):
    """The gradient of ``<gradient of the loss, direction>``, the loss linear in V and l, and the gradient."""
    generator = np.random.default_rng(0)
    x = backend.array(a).requires_grad_()
    gap = {} if rule is None else {"gap": rule}
    values, vectors = backend.module().eigh(x, gauge=ProjectGauge(), **gap)
    weights = [
        backend.array(generator.standard_normal(tuple(y.shape)).astype(a.dtype)) for y in (values, vectors)
    ]
    loss = (values**2 * weights[0].real).sum() + (vectors * weights[1]).real.sum()
    (gradient,) = backend.xp.autograd.grad(loss, x, create_graph=True)
    direction = backend.array(random_hermitian(a.shape[-1], a.dtype, generator) + np.zeros_like(a))
    (second,) = backend.xp.autograd.grad((gradient * direction.conj()).real.sum(), x)
    return backend.numpy(gradient.detach()), backend.numpy(second)


@pytest.mark.parametrize("rule", REGULARISED, ids=repr)
def test_finite_on_named_spectra(autodiff, double, rule):
    # Squares of 1/gap leave the exponent range for the kinds scaled near overflow and underflow.
    named = [spectrum for spectrum in SPECTRA if "flow" not in spectrum.name]
    for n in (1, 2, 5):
        batch = np.stack([spectrum.matrix(n, double) for spectrum in named])
        for each in second_derivative(autodiff, batch, rule):
            finite = np.isfinite(each).reshape(len(named), -1).all(axis=1)
            assert finite.all(), [str(s) for s, ok in zip(named, finite, strict=True) if not ok]


@pytest.mark.parametrize("rule", REGULARISED, ids=repr)
def test_finite_at_ratios_of_zero_and_nearly_zero(autodiff, rule):
    for values in (
        [0.0, 1.0],
        [1e-20, 1.0],
        [0.0, 0.0],
        [-1e-20, 1.0],
        [1.0, 1.0],
        [-1.0, 1.0],
        [0.0, 1e-100],
    ):
        for each in second_derivative(autodiff, np.diag(values), rule):
            assert np.isfinite(each).all(), values


def test_exact_off_ties(autodiff, double):
    """Against finite differences of the gradient; a phase-free loss, as V jumps between calls."""
    xp, generator = autodiff.xp, np.random.default_rng(3)
    a = gap_spectrum(0.2).matrix(4, double)
    weights = [autodiff.array(random_hermitian(4, double, generator)) for _ in range(4)]
    direction = random_hermitian(4, double, generator)

    def gradient(numbers, create_graph):
        x = autodiff.array(numbers).requires_grad_()
        values, vectors = autodiff.module().eigh(x)
        loss = (values**3).sum()
        for j in range(4):
            column = vectors[:, j]
            loss = loss + (column.conj() * (weights[j] @ column)).real.sum() * (1 + values[j])
        return x, xp.autograd.grad(loss, x, create_graph=create_graph)[0]

    x, first = gradient(a, create_graph=True)
    (second,) = xp.autograd.grad((first * autodiff.array(direction).conj()).real.sum(), x)
    step = float(np.finfo(double).eps) ** (1 / 3)
    ahead, behind = (
        autodiff.numpy(gradient(a + s * direction, create_graph=False)[1]) for s in (step, -step)
    )
    expected = (ahead - behind) / (2 * step)
    error = np.linalg.norm(autodiff.numpy(second) - expected) / np.linalg.norm(expected)
    assert error <= 1e4 * step**2


def hermitian_form(autodiff, loss, a, direction):
    """The second derivative of a real loss along a direction, by reverse mode over reverse mode."""
    x, direction = autodiff.array(a).requires_grad_(), autodiff.array(direction)
    for _ in range(2):
        loss = loss(x) if callable(loss) else loss
        (gradient,) = autodiff.xp.autograd.grad(loss, x, create_graph=True)
        loss = (gradient * direction.conj()).real.sum()
    return float(loss.detach())


@pytest.mark.parametrize("steps", [3, 7, 19])
@pytest.mark.parametrize("name", ["sqrtm", "inv_sqrtm", "logm"])
def test_second_derivative_through_the_steps_of_a_solver(autodiff, name, steps):
    """Against finite differences of the gradient, which is that of the steps."""
    generator = np.random.default_rng(9)
    weights, direction = (random_hermitian(3, "float64", generator) for _ in range(2))
    a, function = np.diag([0.4, 1.0, 2.0]) + 0.1 * weights, getattr(autodiff.module(), name)

    def loss(x):
        return (function(x, solver=PowerIteration(steps)) * autodiff.array(weights)).sum()

    def slope(numbers):
        x = autodiff.array(numbers).requires_grad_()
        (gradient,) = autodiff.xp.autograd.grad(loss(x), x)
        return np.sum(autodiff.numpy(gradient) * direction)

    step = 1e-5
    expected = (slope(a + step * direction) - slope(a - step * direction)) / (2 * step)
    assert hermitian_form(autodiff, loss, a, direction) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("gap", [0.3, 0.03, 1e-3, 1e-4])
def test_second_derivative_at_the_optimum_of_a_loss(autodiff, double, gap):
    """``-|<t, v>|^2`` where v is t: a turn of v by an angle s costs s^2, and E turns it by 1/gap."""
    basis = random_unitary(6, double, np.random.default_rng(7))
    a = (basis * np.array([0.1, 0.3, 0.4, 0.5, 1.0 - gap, 1.0])) @ basis.conj().T
    a = (a + a.conj().T) / 2
    _, vectors = np.linalg.eigh(a)
    turn = np.outer(vectors[:, -2], vectors[:, -1].conj())
    target = autodiff.array(vectors[:, -1].conj())

    def loss(x):
        overlap = (target * autodiff.module().eigh(x).eigenvectors[:, -1]).sum()
        return -(overlap * overlap.conj()).real

    measured = hermitian_form(autodiff, loss, a, turn + turn.conj().T)
    assert measured == pytest.approx(2 / gap**2, rel=1e-7)


@pytest.mark.parametrize("gap", [1e-2, 1e-4, 1e-6, 1e-8, 1e-10])
def test_second_derivative_of_the_subspace_of_a_cluster(autodiff, double, gap):
    """Against that of the projector, which knows no gap inside: to rounding/gap^2, and the floor's bound."""
    generator, precision = np.random.default_rng(8), np.finfo(double).eps
    basis = random_unitary(6, double, generator)
    a = (basis * np.array([0.1, 0.3, 0.4, 0.5, 1.0, 1.0 + gap])) @ basis.conj().T
    a = (a + a.conj().T) / 2
    weights = autodiff.array(random_hermitian(6, double, generator))
    direction = random_hermitian(6, double, generator)

    def through_eigenvectors(x):
        plane = autodiff.module().eigh(x).eigenvectors[:, -2:]
        return ((plane @ plane.mH) * weights).real.sum()

    def exact(x):
        return (autodiff.module().spectral_projector(x, MaxRank(2)) * weights).real.sum()

    measured, expected = (hermitian_form(autodiff, f, a, direction) for f in (through_eigenvectors, exact))
    allowed = 1e3 * max(precision / gap if gap < precision ** (1 / 3) else precision / gap**2, precision)
    assert abs(measured - expected) <= allowed * abs(expected)


@pytest.mark.parametrize("exponent", [-2, -1, 0, 1, 2, 3])
@pytest.mark.parametrize("values", [(-1.0, -1.0, -1.0), (-1.0, -1.0, 2.0), (0.0, 0.0, 0.0)], ids=str)
def test_hessians_of_powers_at_ties_that_are_not_positive(autodiff, exponent, values):
    """Against the second derivative of the products that the power stands for."""
    if exponent < 0 and 0.0 in values:
        pytest.skip("no inverse")
    xp, generator = autodiff.xp, np.random.default_rng(5)
    weights, e, h = (autodiff.array(random_hermitian(3, "float64", generator)) for _ in range(3))

    def product(x):
        power = autodiff.array(np.eye(3))
        for _ in range(abs(exponent)):
            power = power @ x
        return xp.linalg.inv(power) if exponent < 0 else power

    def hessian_form(function):
        def first(point):
            return xp.func.jvp(lambda x: (function(x) * weights).sum(), (point,), (e,))[1]

        return float(xp.func.jvp(first, (autodiff.array(np.diag(values)),), (h,))[1])

    measured = hessian_form(lambda x: autodiff.module().powm(x, exponent))
    assert measured == pytest.approx(hessian_form(product), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("values", [(0.0, 0.0, 0.0), (0.0, 0.0, 2.0), (1e-9, 0.0, -1e-9)], ids=str)
def test_hessian_of_a_function_from_its_derivative(autodiff, values):
    """The exponential, whose own second differences are in closed form."""
    generator, xp = np.random.default_rng(6), autodiff.xp
    weights = autodiff.array(random_hermitian(3, "float64", generator))
    module, exponential = autodiff.module(), FromDerivative(xp.exp, xp.exp)
    a = autodiff.array(np.diag(values))
    measured, expected = (
        autodiff.numpy(xp.func.hessian(lambda x, f=f: (module.matrix_function(x, f) * weights).sum())(a))
        for f in (exponential, Exp())
    )
    assert np.linalg.norm(measured - expected) <= 1e-9 * np.linalg.norm(expected)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_divided_differences_from_a_derivative_have_finite_gradients(autodiff, precision):
    """Where the derivative has an infinite slope at one argument, and where squares of the gap underflow."""
    xp = autodiff.xp
    function = FromDerivative(lambda x: x**1.5, lambda x: 1.5 * xp.sqrt(x))
    x, y = (
        autodiff.array(np.array(numbers, dtype=precision)).requires_grad_()
        for numbers in ((0.0, 0.0, 1.0, 2.0, 1e-20), (1.0, 1e-30, 1.0, 3.0, 3e-20))
    )
    gradients = xp.autograd.grad(function.divided_difference(x, y).sum(), (x, y))
    assert all(xp.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("size", [1e12, 1e-12])
def test_second_divided_difference_of_the_inverse_root_in_single_precision(backend, size):
    x = backend.array(np.array([size], dtype=np.float32))
    measured = float(backend.numpy(InverseSqrt().second_divided_difference(x, x, x))[0])
    assert measured == pytest.approx(0.375 * float(np.float32(size)) ** -2.5, rel=1e-6)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3])
def test_second_divided_differences_of_powers_are_finite_at_zero(backend, exponent):
    zero = backend.array(np.zeros(1))
    measured = backend.numpy(Power(exponent).second_divided_difference(zero, zero, zero))
    np.testing.assert_array_equal(measured, [float(exponent == 2)])


@pytest.mark.parametrize("centre", [0.0, 1e-17, 1e-9, 1e-3, 1.0, -3.0])
def test_second_differences_of_a_function_from_its_derivative(backend, centre):
    exponential = FromDerivative(backend.xp.exp, backend.xp.exp)
    offsets = np.array([[0, 0, 0], [1e-16, 0, 0], [1e-9, 0, 2e-9], [4e-6, 0, 0], [8e-6, 0, -2e-6], [1, 0, 2]])
    points = centre + offsets
    columns = [backend.array(points[:, k]) for k in range(3)]
    measured = backend.numpy(exponential.second_divided_difference(*columns))
    for value, row in zip(measured, points, strict=True):
        expected = function_oracle.divided_difference(mpmath.exp, row)
        assert value == pytest.approx(expected, rel=20 * np.finfo(np.float64).eps ** (2 / 3)), row


def test_a_function_of_ones_own_needs_no_second_differences(backend):
    class Exponential:
        divided_difference = staticmethod(Exp().divided_difference)

    x = backend.array(np.array([0.0, 1e-9, 1.0]))
    measured = backend.numpy(second_difference(Exponential(), x, x, x))
    np.testing.assert_allclose(measured, np.exp(backend.numpy(x)) / 2, rtol=1e-9)


@pytest.mark.parametrize("centre", [1e-17, 1e-8, 1.0, 1e5])
def test_second_differences_stay_inside_a_domain_that_begins_at_zero(backend, centre):
    logarithm = FromDerivative(backend.xp.log, lambda x: 1 / x)
    x = backend.array(np.array([centre]))
    measured = backend.numpy(logarithm.second_divided_difference(x, x, x))
    np.testing.assert_allclose(measured * centre**2, -0.5, rtol=1e-9)

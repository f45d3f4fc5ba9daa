"""Cosine, sine and sign, near and far, against 60 digits."""

import mpmath
import numpy as np
import pytest
from function_oracle import divided_difference, sign_frechet

from specgrad import Cos, Sign, Sin, matrix_function, vjp
from specgrad.testing import check_function, random_hermitian, random_unitary

SCALARS = {Cos(): mpmath.cos, Sin(): mpmath.sin}


@pytest.mark.parametrize("function", [Cos(), Sin()], ids=repr)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_cosine_and_sine_have_exact_differences_near_and_far(backend, function, precision):
    """To rounding of the points, and to that of a quotient of first differences for distant triples."""
    offsets = np.array([[0, 0, 0], [0, 1e-6, -1e-6], [0, 0.1, 0.1], [-0.1, 0.2, 0.3], [0, 3, -3], [-9, 1, 9]])
    points = (
        (offsets + np.array([0.0, 0.5 * np.pi, 3.0, -7.0])[:, None, None]).reshape(-1, 3).astype(precision)
    )
    columns = [backend.array(points[:, k]) for k in range(3)]
    first = backend.numpy(function.divided_difference(*columns[:2]))
    second = backend.numpy(function.second_divided_difference(*columns))
    rounding = float(np.finfo(precision).eps)
    for row, one, two in zip(points, first, second, strict=True):
        allowed = rounding * (2 + float(np.abs(row).max()))
        assert one == pytest.approx(divided_difference(SCALARS[function], row[:2]), rel=0, abs=allowed), row
        assert two == pytest.approx(divided_difference(SCALARS[function], row), rel=0, abs=8 * allowed), row


@pytest.mark.parametrize(("precision", "size"), [("float32", 1e17), ("float64", 1.0), ("float32", 1e-17)])
def test_the_sign_has_exact_differences_on_either_side_and_across(backend, precision, size):
    rows = [
        (1, 1, 1),
        (-1, -1, -1),
        (1, 2, 3),
        (-1, 1, 1),
        (-1, -1, 2),
        (-3, 1e-6, 1),
        (2, -1e-6, -1),
        (-2, 2, 3),
    ]
    points = (size * np.array(rows)).astype(precision)
    columns = [backend.array(points[:, k]) for k in range(3)]
    first = backend.numpy(Sign().divided_difference(*columns[:2]))
    second = backend.numpy(Sign().second_divided_difference(*columns))
    tolerance = 4 * float(np.finfo(precision).eps)
    for row, one, two in zip(points, first, second, strict=True):
        assert one == pytest.approx(divided_difference(mpmath.sign, row[:2]), rel=tolerance, abs=0), row
        assert two == pytest.approx(divided_difference(mpmath.sign, row), rel=tolerance, abs=0), row


@pytest.mark.parametrize("values", [(-2.0, -2.0, 1.0, 3.0), (-1.0, -1e-3, 1e-3, 1e-3)], ids=str)
def test_the_sign_of_a_matrix_has_the_derivative_of_the_oracle(backend, values):
    generator = np.random.default_rng(0)
    q = random_unitary(4, "complex128", generator)
    a = (q * np.array(values)) @ q.conj().T
    a = (a + a.conj().T) / 2
    e = random_hermitian(4, "complex128", generator)
    _, pullback = vjp(matrix_function, backend.array(a), Sign())
    expected = sign_frechet(a, 0.0, e)
    error = np.linalg.norm(backend.numpy(pullback(backend.array(e))[0]) - expected)
    gap = min(abs(value) for value in values)
    assert error <= 1e-14 / gap * np.linalg.norm(expected)


def test_the_sign_is_not_defined_at_zero():
    with pytest.raises(ValueError, match=r"Sign\(\) needs nonzero eigenvalues"):
        matrix_function(np.diag([1.0, 0.0, -1.0]), Sign())
    # Raised to a minimum, all eigenvalues would have the sign 1.
    with pytest.raises(ValueError, match=r"zero: add a positive number to the diagonal\.$"):
        matrix_function(np.zeros((2, 2)), Sign())


def test_the_kit_passes_the_sign_at_points_of_either_sign():
    check_function(Sign(), np, points=(-2.0, -0.5, 1.0, 3.0))


def test_at_zero_the_sign_has_neither_value_nor_derivative():
    value, pullback = vjp(matrix_function, np.diag([0.0, 1.0, -2.0]), Sign(), check_finite=False)
    assert np.isnan(value).all()
    assert np.isnan(pullback(np.ones((3, 3)))[0]).all()
    assert np.isnan(Sign().divided_difference(np.array([np.nan, 1.0]), np.array([1.0, np.nan]))).all()


def test_differences_of_the_sign_do_not_leave_the_range(backend):
    large = backend.array(np.array([3e38], dtype="float32"))
    first = backend.numpy(Sign().divided_difference(large, -large))
    np.testing.assert_allclose(first, 1 / 3e38, rtol=1e-5, atol=np.finfo("float32").tiny)
    np.testing.assert_array_equal(backend.numpy(Sign().second_divided_difference(-large, -large, large)), 0)

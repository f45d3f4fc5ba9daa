"""What the rounding floor takes for rounding, entry by entry."""

import numpy as np
import pytest

from specgrad import MaskedGap, RoundingFloor

CLOSE = np.array([1.0, 1.01])


def is_kept(backend, entry, *, values=CLOSE, cotangent=((1.0, 0.0), (0.0, 1.0)), floor=RoundingFloor()):
    """Whether an entry of the anti-Hermitian part, and its mirror image, are signal."""
    values = np.asarray(values)
    inner = np.array([[0.0, entry], [-entry, 0.0]], dtype=values.dtype)
    given = (backend.array(x) for x in (values, inner, np.asarray(cotangent, dtype=values.dtype)))
    kept = backend.numpy(floor.signal(*given)) != 0
    assert kept[0, 1] == kept[1, 0]
    return kept[0, 1]


@pytest.mark.parametrize(
    ("precision", "eps", "factor"),
    [("float32", None, 8), ("float64", None, 64), ("float64", 2.0**-8, 8)],
)
def test_the_level_is_so_many_roundings_of_both_columns(backend, precision, eps, factor):
    level = 2 * factor * (eps or np.finfo(precision).eps)
    floor, values = RoundingFloor(eps=eps), CLOSE.astype(precision)
    assert not is_kept(backend, 0.95 * level, values=values, floor=floor)
    assert is_kept(backend, 1.05 * level, values=values, floor=floor)


def test_one_column_of_the_cotangent_is_enough_for_a_level(backend):
    for cotangent in ([[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]]):
        assert not is_kept(backend, 1e-16, cotangent=cotangent)


def test_gaps_are_measured_by_the_largest_magnitude(backend):
    for values in ([1.0, 1.04], [-1.04, -1.0], [-1.0, -0.96]):
        assert not is_kept(backend, 1e-17, values=values)
    for values in ([1.0, 1.06], [-1.06, -1.0]):
        assert is_kept(backend, 1e-17, values=values)


def test_a_floor_that_lacks_its_second_derivative_is_named():
    class FirstOrder:
        def signal(self, values, inner, vectors_cotangent):
            return inner

    with pytest.raises(TypeError, match="a value with a method signal_vjp is needed"):
        MaskedGap(noise=FirstOrder())


def test_a_reach_of_zero_leaves_all_as_it_is(backend):
    assert is_kept(backend, 1e-17, values=[1.0, 1.0], floor=RoundingFloor(reach=0.0))


def test_the_second_derivative_of_nothing_is_nothing(backend):
    values, zero, one = (backend.array(x) for x in (np.ones(2), np.zeros((2, 2)), np.ones((2, 2))))
    found = RoundingFloor().signal_vjp(values, zero, zero, one)
    np.testing.assert_array_equal(backend.numpy(found), 0.0)


def test_the_second_derivative_reaches_no_farther_than_the_first(backend):
    arrays = (np.array([1.0, 1.0 + 1e-7]), np.zeros((2, 2)), np.eye(2), np.ones((2, 2)))
    found = RoundingFloor(reach=1e-9).signal_vjp(*map(backend.array, arrays))
    assert backend.numpy(found)[0, 1] == 1.0

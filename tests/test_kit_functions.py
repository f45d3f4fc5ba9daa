"""`check_function` passes the library's own functions, finds what is broken, and says what and where."""

import numpy as np
import pytest
from function_oracle import FUNCTIONS

from specgrad import Exp, FromDerivative, Log, Power
from specgrad.testing import check_function


@pytest.mark.parametrize(
    "function", [*FUNCTIONS, Power(20), Power(-7.3), FromDerivative(np.exp, np.exp)], ids=repr
)
def test_right_functions_pass(function):
    check_function(function, np)


def test_it_takes_the_arrays_of_any_library(backend):
    check_function(Power(1.5), backend.xp, points=(0.5, 2.0), device=backend.device)


def test_points_may_be_anywhere_in_the_domain():
    check_function(Power(3), np, points=(-2.0, 1.0, 2.0))
    with pytest.raises(
        ValueError, match=r"Log\(\) is not finite .* \(-2.0, 1.0\), and points inside its domain"
    ):
        check_function(Log(), np, points=(-2.0, 1.0))


@pytest.mark.parametrize(
    "function",
    [Exp(), Power(3), Power(5), FromDerivative(np.sin, np.cos)],
    ids=["Exp", "cube", "fifth", "sin"],
)
def test_zero_is_a_point_as_others_are(function):
    check_function(function, np, points=(0.0,))
    check_function(function, np, points=(-1.0, 0.0, 1.0))


def test_images_below_the_normal_numbers_have_fewer_digits():
    bell = FromDerivative(lambda x: np.exp(-x * x), lambda x: -2 * x * np.exp(-x * x))
    check_function(bell, np)


class Quotient(Exp):
    """Right for all but ties."""

    def divided_difference(self, x, y):
        return (self(x) - self(y)) / (x - y)


class QuotientUnlessTied(Exp):
    """Right but for rounding."""

    def divided_difference(self, x, y):
        tied = x == y
        return np.where(tied, self(x), (self(x) - self(y)) / np.where(tied, 1, x - y))


class OffByAThousandth(Exp):
    def divided_difference(self, x, y):
        return np.where(x == y, x.dtype.type(1.001), x.dtype.type(1)) * super().divided_difference(x, y)


class OffInItsSecond(Exp):
    def second_divided_difference(self, x, y, z):
        return 1.0001 * super().second_divided_difference(x, y, z)


class WithoutOrder(Exp):
    """Right for arguments that ascend."""

    def second_divided_difference(self, x, y, z):
        found = super().second_divided_difference(x, y, z)
        return np.where((x <= y) & (y <= z), found, -found)


class Writes(Exp):
    def divided_difference(self, x, y):
        found = super().divided_difference(x, y)
        x *= 2
        return found


class OnePairAtATime(Exp):
    def divided_difference(self, x, y):
        return super().divided_difference(x, float(y))


class Wide(Exp):
    def divided_difference(self, x, y):
        return super().divided_difference(x, y).astype("float64")


class WithoutAnAxis(Exp):
    def divided_difference(self, x, y):
        return super().divided_difference(x, y)[..., 0]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the quotients at ties
@pytest.mark.parametrize(
    ("function", "message"),
    [
        (Quotient(), r"Quotient.*divided_difference at \((\S+), \1\) in float32 is nan, and "),
        (QuotientUnlessTied(), r"in float32 is .* to within .* is needed"),
        (OffByAThousandth(), r"divided_difference at \((\S+), \1\) in float32 is"),
        (OffInItsSecond(), r"second_divided_difference at \(\S+, \S+, \S+\) in float64 is"),
        (WithoutOrder(), r"second_divided_difference at .* is -"),
        (Writes(), r"divided_difference writes into its arguments"),
        (OnePairAtATime(), r"divided_difference raises TypeError: "),
        (WithoutAnAxis(), r"divided_difference has shape \(15, 15\) and dtype float32, and \(15, 15, 1\)"),
        (
            Wide(),
            r"dtype float64, and \(15, 15, 1\), to which its arguments broadcast, and float32 are needed",
        ),
    ],
)
def test_faults_of_functions_are_found_and_named(function, message):
    with pytest.raises(AssertionError, match=message):
        check_function(function, np)

"""What holds for arrays of any library: numbers, and values of this one."""

from dataclasses import dataclass

import pytest

from specgrad import Log, MaskedGap, Shifted
from specgrad.portable import portable_methods


@dataclass(frozen=True)
class Foreign:
    pass


def of(package):
    """A value of another package."""
    return type("Part", (), {"__module__": package})()


@pytest.mark.parametrize("part", [None, 0.5, (1, 2.0), Log(), MaskedGap(), (Shifted(Log(), 0.5),)], ids=repr)
def test_numbers_and_own_values_are_portable(part):
    assert portable_methods(part) == ("forward", "vjp")


@pytest.mark.parametrize(
    "part",
    [Foreign(), of("specgrad_extra"), (1, Foreign()), Log().__call__],
    ids=["foreign", "with our prefix", "in a tuple", "a method"],
)
def test_values_of_others_are_not(part):
    assert portable_methods(part) == ()


def test_a_value_that_holds_one_of_others_is_not():
    function = Shifted(Log(), 0.5)
    object.__setattr__(function, "function", Foreign())
    assert portable_methods(function) == ()

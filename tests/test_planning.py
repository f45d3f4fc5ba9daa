"""Table 1 of the first paper, and the misprint in its header."""

import pytest

from specgrad import required_steps

RATIOS = (0.2, 0.4, 0.6, 0.8, 0.85, 0.9, 0.95, 0.99, 0.995, 0.999)


def test_table_1_is_the_table_for_five_percent():
    assert [required_steps(q) for q in RATIOS] == [2, 4, 6, 14, 19, 29, 59, 299, 598, 2995]


def test_one_percent_is_another_table():
    assert [required_steps(q, 0.01) for q in RATIOS] == [3, 6, 10, 21, 29, 44, 90, 459, 919, 4603]


def test_the_number_is_enough_and_one_less_is_not():
    for q in RATIOS:
        steps = required_steps(q)
        assert q**steps <= 0.05 < q ** (steps - 1)


def test_edges():
    assert required_steps(0) == 1
    for ratio in (1.0, 1.5, -0.1):
        with pytest.raises(ValueError, match=r"ratio.*\[0, 1\)"):
            required_steps(ratio)
    for tolerance in (0.0, 1.0, -1.0):
        with pytest.raises(ValueError, match=r"tolerance.*\(0, 1\)"):
            required_steps(0.5, tolerance)
    with pytest.raises(TypeError, match=r"ratio is '0\.5', and a number is needed"):
        required_steps("0.5")
    with pytest.raises(ValueError, match="ratio is nan, and a finite number is needed"):
        required_steps(float("nan"))

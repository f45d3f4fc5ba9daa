"""`check_gap` finds what is broken, and says what and where."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from specgrad import (
    BroadenedGap,
    ExactGap,
    MaskedGap,
    PowerIterationGap,
    RoundingFloor,
    TopNGap,
)
from specgrad.testing import (
    antisymmetry,
    check_gap,
    permutation_equivariance,
    sign,
    wide_gaps,
)


@dataclass(frozen=True)
class Faulty:
    """A gap rule with one of several faults."""

    diagonal: float = 0.0
    symmetric: float = 0.0
    bound_by: float = 1.0
    absolute: bool = False
    factor: float = 1.0

    def matrix(self, values):
        pairs = self.factor * BroadenedGap(1e-3).matrix(values)
        n = values.shape[-1]
        pairs = pairs + self.symmetric * abs(pairs) + self.diagonal * np.eye(n, dtype=values.dtype)
        return np.clip(pairs, -1, 1) if self.absolute else pairs

    def bound(self, values):
        return BroadenedGap(1e-3).bound(values) * self.bound_by


@dataclass(frozen=True)
class Changed:
    """A gap rule whose pair matrices are changed by a function of them and the eigenvalues."""

    change: Callable

    def matrix(self, values):
        return self.change(BroadenedGap(1e-3).matrix(values), values)

    def bound(self, values):
        return 2 * BroadenedGap(1e-3).bound(values)


def twice_where(holds):
    return lambda pairs, values: np.where(holds(np.max(abs(values), -1)[..., None, None]), 2, 1) * pairs


def more_beside_the_diagonal(pairs, _):
    """What changes with the order of the values, and not if they are reversed."""
    return pairs + 0.01 * np.triu(np.tril(pairs, 1), -1)


@dataclass(frozen=True)
class NaNAtTies(ExactGap):
    def matrix(self, values):
        pairs = super().matrix(values)
        return np.where(np.isinf(pairs), np.nan, pairs)


@dataclass(frozen=True)
class NaNInside(BroadenedGap):
    """NaN for the narrow gaps that are no ties."""

    def matrix(self, values):
        pairs = super().matrix(values)
        return np.where(abs(pairs) > 1e6, np.nan, pairs)

    def bound(self, values):
        return np.full(values.shape[:-1], np.inf, dtype=values.dtype)


@dataclass(frozen=True)
class SharedScale(MaskedGap):
    """The largest value of the whole batch decides what counts as a tie."""

    def matrix(self, values):
        largest = np.max(np.abs(values), initial=1e-300)
        gaps = values[..., None, :] - values[..., :, None]
        return np.where(np.abs(gaps) > 1e-12 * largest, super().matrix(values), 0.0)


@dataclass(frozen=True)
class NeedsABatch(Faulty):
    def matrix(self, values):
        if values.ndim < 2:
            raise TypeError("several spectra, please")
        return super().matrix(values)


@dataclass(frozen=True)
class OneBatchAxis(Faulty):
    """Repeats the pair matrices for every further axis."""

    def matrix(self, values):
        pairs = super().matrix(values)
        return pairs if values.ndim < 3 else pairs[:1] + 0 * pairs


@dataclass(frozen=True)
class RefusesEmpty(Faulty):
    def bound(self, values):
        return np.broadcast_to(np.max(super().bound(values), keepdims=True), values.shape[:-1])


@dataclass(frozen=True)
class RaisesOn(Faulty):
    """Raises where the largest value is about `largest`, or where there is a batch."""

    largest: float = np.inf
    batched: bool = True

    def matrix(self, values):
        if not self.batched and values.ndim > 1:
            raise TypeError("one spectrum at a time, please")
        if np.any(abs(np.max(values, axis=-1) - self.largest) < 1e-3):
            raise RuntimeError("no such spectrum, please")
        return super().matrix(values)


@dataclass(frozen=True)
class Floored(ExactGap):
    """A gap rule, infinite at ties, with something for a rounding floor."""

    noise: object = field(default_factory=lambda: RoundingFloor())

    def __post_init__(self):
        pass

    def matrix(self, values):
        return ExactGap().matrix(values)


class Writes(MaskedGap):
    """A gap rule that works in place."""

    def matrix(self, values):
        pairs = super().matrix(values)
        values *= 2
        return pairs


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Floored(), r"'LAPACK 1: zero', n = 2.*not finite, and the rule has a rounding floor"),
        (Floored(noise=1e-3), r"its noise is 0\.001, and a RoundingFloor or None is needed"),
        (
            Floored(noise=SimpleNamespace(signal=abs)),
            r"its noise is namespace\(.*\), and a RoundingFloor or None is needed",
        ),
        (Writes(), r"'LAPACK 2.*it writes into the eigenvalues, which belong to the caller"),
        (Faulty(diagonal=0.1), r"'LAPACK 1: zero', n = 2.*diagonal is 0\.1"),
        (Faulty(diagonal=np.nan), r"an entry of the diagonal is nan, and 0 is needed"),
        (Changed(lambda pairs, _: pairs.astype("float32")), r"and dtype float32, and .* needed"),
        (Faulty(symmetric=1e-13, bound_by=2.0), r"minus its transpose differ by"),
        (Faulty(bound_by=np.ones((2, 1))), r"the bound has shape \(2, 1\), and \(\) is needed"),
        (Faulty(bound_by=1e-6), r"the largest entry is .*, and the bound is"),
        (Faulty(absolute=True), r"at scales 1 and"),
        (Changed(twice_where(lambda largest: largest > 1e5)), r"'LAPACK 3.*at scales 1 and 1\.0.*e\+06"),
        (Changed(twice_where(lambda largest: largest < 1e-5)), r"'LAPACK 3.*at scales 1 and 9\.5.*e-07"),
        (PowerIterationGap(), r"minus its transpose"),
        (TopNGap(1), r"before and after a permutation"),
        (Changed(more_beside_the_diagonal), r"n = 4.*before and after a permutation"),
        (Faulty(factor=-1.0), r"'LAPACK 3.*entry times its gap, .* is -1, and at least 0"),
        (Faulty(factor=2.0, bound_by=2.0), r"'.*is 2 where the gap is wide, and 1 to within"),
        (Faulty(factor=1.1, bound_by=2.0), r"'.*is 1\.1 where the gap is wide, and 1 to within"),
        (Faulty(factor=0.5), r"'.*is 0\.5 where the gap is wide, and 1 to within"),
        (Faulty(factor=0.0), r"'.*is -?0 where the gap is wide, and 1 to within"),
        (NaNAtTies(), r"'LAPACK 1: zero'.*the largest entry is nan"),
        (NaNInside(), r"'.*is nan"),
        (SharedScale(), r"not alone, n = 4, .*pair matrices of a batch and of each spectrum alone differ"),
        (NeedsABatch(), r"'LAPACK 1: zero', n = 4, .*raises TypeError in batches: several"),
        (OneBatchAxis(), r"not alone, n = 4, .*pair matrices of a batch with two axes"),
        (
            Changed(lambda pairs, values: pairs if values.size else values),
            r"pair matrices of an empty batch and of no spectrum have shapes",
        ),
        (RefusesEmpty(), r"'.*raises ValueError in batches: zero-size"),
        (RaisesOn(largest=1.0), r"'LAPACK 2: identity', n = 2, float64: .*raises RuntimeError in "),
        (
            RaisesOn(batched=False),
            r"a batch of spectra, and not alone, .*raises TypeError in .*: one spectrum",
        ),
    ],
)
def test_gap_rule_faults_are_found_and_named(rule, message):
    with pytest.raises(AssertionError, match=message):
        check_gap(rule, np, sizes=(2, 4), dtypes=("float64",))


def test_the_sign_does_not_count_ties_and_finds_nan_beside_them():
    tied, close = np.array([0.0, 1.0, 1.0]), np.array([0.0, 1.0, 1.0 + 1e-9])
    for rule in (NaNAtTies(), ExactGap()):
        with np.errstate(all="ignore"):
            sign(rule, tied)
    with pytest.raises(AssertionError, match="is nan, and at least 0"):
        sign(NaNInside(), close)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the infinities of a tie, which do not count
def test_wide_gaps_are_those_of_one_largest_value():
    for values in ([0.0, 1.0, 1.0], [0.0, -1.0, 1.0], [0.1, 0.5, 1.0], [0.0, 0.0]):
        wide_gaps(TopNGap(1), np.array(values))
        wide_gaps(Faulty(factor=0.0), np.array(values))
    for values in ([0.0, 0.9, 1.0], [1e-3, -1.0], [-1e200, 0.0]):
        wide_gaps(TopNGap(1), np.array(values))
        with pytest.raises(AssertionError, match="where the gap is wide"):
            wide_gaps(Faulty(factor=0.0), np.array(values))


def test_properties_can_be_left_out():
    check_gap(PowerIterationGap(), np, without=(antisymmetry, permutation_equivariance))
    check_gap(Faulty(factor=2.0, bound_by=2.0), np, without=(wide_gaps,))
    check_gap(Faulty(factor=-1.0), np, without=(sign, wide_gaps))


@dataclass(frozen=True)
class OneSided:
    """At ties infinite above the diagonal, and 0 below."""

    def matrix(self, values):
        gaps = values[..., None, :] - values[..., :, None]
        tied, above = gaps == 0, np.triu(np.ones(gaps.shape[-2:], dtype=bool), 1)
        return np.where(tied, np.where(above, np.inf, 0.0), 1 / np.where(tied, 1.0, gaps)).astype(
            values.dtype
        )

    def bound(self, values):
        return np.full(values.shape[:-1], np.inf, dtype=values.dtype)


def test_antisymmetry_holds_for_infinities_too():
    with pytest.raises(AssertionError, match="differ in where they are finite"):
        check_gap(OneSided(), np, sizes=(2,), dtypes=("float64",))

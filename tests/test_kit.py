"""The conformance kit finds what is broken, and says what and where."""

import subprocess
import sys
from dataclasses import dataclass, field

import numpy as np
import pytest

from specgrad import (
    BroadenedGap,
    DenseEigh,
    ExactGap,
    MaskedGap,
    MaxRank,
    PowerIteration,
    PowerIterationGap,
    RoundingFloor,
    TopNGap,
    eigh,
    eigvalsh,
)
from specgrad.bind import differentiable
from specgrad.primitives import Eigh
from specgrad.testing import (
    LAPACK_SPECTRA,
    SPECTRA,
    ClusterLoss,
    LinearLoss,
    antisymmetry,
    banded,
    check_gap,
    check_gradient,
    check_solver,
    floor,
    gap_spectrum,
    permutation_equivariance,
    random_hermitian,
    random_unitary,
    sign,
    wide_gaps,
)


@dataclass(frozen=True)
class Perturbed:
    """A solver with one of several faults."""

    values: float = 0.0
    vectors: float = 0.0
    descending: bool = False
    batched: bool = True

    def solve(self, a):
        if not self.batched and a.ndim > 2:
            raise TypeError("one matrix at a time, please")
        values, vectors = DenseEigh().solve(a)
        values, vectors = values * (1 + self.values), vectors * (1 + self.vectors)
        return (values[..., ::-1], vectors[..., ::-1]) if self.descending else (values, vectors)


@pytest.mark.parametrize(
    ("solver", "message"),
    [
        (
            Perturbed(values=1e-4),
            r"'LAPACK 2: identity', n = 2, float32: \|A - V.* is \d.*at most 60 is allowed",
        ),
        (Perturbed(vectors=1e-4), r"'LAPACK 1: zero', n = 2, float32: \|I - V\^H V\|.*at most 60 is allowed"),
        (Perturbed(descending=True), r"'LAPACK 3.*not ascending"),
        (Perturbed(batched=False), r"a batch of spectra, and not alone.*raises TypeError: one matrix"),
    ],
)
def test_solver_faults_are_found_and_named(solver, message):
    with pytest.raises(AssertionError, match=message):
        check_solver(solver, np, sizes=(2,))


@dataclass(frozen=True)
class Choosy:
    """A solver that refuses some shapes of batches."""

    axes: tuple[int, ...] = (0, 1, 2)
    empty: bool = True
    shared: bool = False

    def solve(self, a):
        if a.ndim - 2 not in self.axes:
            raise TypeError(f"{a.ndim - 2} batch axes")
        if not self.empty and 0 in a.shape:
            raise ValueError("nothing to decompose")
        if self.shared and a.ndim > 3:
            a = a[:1] + 0 * a
        return DenseEigh().solve(a)


@pytest.mark.parametrize(
    ("solver", "message"),
    [
        (Choosy(axes=(1, 2)), r"'tie at the cut' without a batch axis, n = 2, .*TypeError: 0 batch axes"),
        (Choosy(axes=(0, 1)), r"two batch axes, and not one, n = 2, .*raises TypeError: 2 batch axes"),
        (Choosy(shared=True), r"two batch axes, and not one, n = 2, .*\|A - V.* is "),
        (Choosy(empty=False), r"an empty batch, n = 2, .*raises ValueError: nothing to decompose"),
    ],
)
def test_shapes_that_a_solver_refuses_are_found_and_named(solver, message):
    with pytest.raises(AssertionError, match=message):
        check_solver(solver, np, sizes=(2,))


def test_one_spectrum_is_enough():
    check_solver(Choosy(), np, sizes=(2,), spectra=SPECTRA[-1:])


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
class NaNAtTies(ExactGap):
    def matrix(self, values, tie_width=None):
        pairs = super().matrix(values, tie_width)
        return np.where(np.isinf(pairs), np.nan, pairs)


@dataclass(frozen=True)
class NaNInside(BroadenedGap):
    """NaN for the narrow gaps that are no ties."""

    def matrix(self, values, tie_width=None):
        pairs = super().matrix(values, tie_width)
        return np.where(abs(pairs) > 1e6, np.nan, pairs)

    def bound(self, values):
        return np.full(values.shape[:-1], np.inf, dtype=values.dtype)


@dataclass(frozen=True)
class NoSecondArgument(Faulty):
    noise: RoundingFloor | None = field(default_factory=lambda: RoundingFloor())


@dataclass(frozen=True)
class IgnoresTheWidth(NoSecondArgument):
    def matrix(self, values, tie_width=None):
        return super().matrix(values)


@dataclass(frozen=True)
class OneWidthForAll(MaskedGap):
    def matrix(self, values, tie_width=None):
        width = None if tie_width is None else np.max(tie_width, axis=(-2, -1), keepdims=True)
        return super().matrix(values, width)


@dataclass(frozen=True)
class SharedScale(MaskedGap):
    """The largest value of the whole batch decides what counts as a tie."""

    def matrix(self, values, tie_width=None):
        largest = np.max(np.abs(values), initial=1e-300)
        gaps = values[..., None, :] - values[..., :, None]
        return np.where(np.abs(gaps) > 1e-12 * largest, super().matrix(values, tie_width), 0.0)


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


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Faulty(diagonal=0.1), r"'LAPACK 1: zero', n = 2.*diagonal is 0\.1"),
        (Faulty(symmetric=1e-3, bound_by=2.0), r"minus its transpose differ by"),
        (Faulty(bound_by=1e-6), r"the largest entry is .*, and the bound is"),
        (Faulty(absolute=True), r"at scales 1 and"),
        (PowerIterationGap(), r"minus its transpose"),
        (TopNGap(1), r"before and after a permutation"),
        (Faulty(factor=-1.0), r"'LAPACK 3.*entry times its gap, .* is -1, and at least 0"),
        (Faulty(factor=2.0, bound_by=2.0), r"'.*is 2 where the gap is wide, and 1 to within"),
        (Faulty(factor=0.5), r"'.*is 0\.5 where the gap is wide, and 1 to within"),
        (Faulty(factor=0.0), r"'.*is -?0 where the gap is wide, and 1 to within"),
        (NaNAtTies(), r"'LAPACK 1: zero'.*the largest entry is nan"),
        (NaNInside(), r"'.*is nan"),
        (NoSecondArgument(), r"'LAPACK 1: zero', n = 2, .*it raises TypeError in floor: .*matrix\(\)"),
        (IgnoresTheWidth(), r"'.*with a width, and without"),
        (OneWidthForAll(), r"n = 4.*with a width, and without"),
        (SharedScale(), r"not alone, n = 4, .*pair matrices of a batch and of each spectrum alone differ"),
        (NeedsABatch(), r"'LAPACK 1: zero', n = 4, .*raises TypeError in batches: several"),
        (OneBatchAxis(), r"not alone, n = 4, .*pair matrices of a batch with two axes"),
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
    check_gap(IgnoresTheWidth(), np, without=(floor,))


@dataclass(frozen=True)
class WrongVjp(Eigh):
    def vjp(self, binding, arrays, outputs, cotangents):
        return (1.001 * super().vjp(binding, arrays, outputs, cotangents)[0],)


@dataclass(frozen=True)
class WrongBoth(WrongVjp):
    def jvp(self, binding, arrays, outputs, tangents):
        return tuple(1.001 * t for t in super().jvp(binding, arrays, outputs, tangents))


@pytest.mark.parametrize(("kind", "message"), [(WrongVjp, "not adjoint"), (WrongBoth, "finite differences")])
def test_gradient_faults_are_found_and_told_apart(kind, message):
    @differentiable
    def faulty(binding, a):
        return binding.apply(kind(DenseEigh(), ExactGap(), None, eigh_gauge), a)[0]

    eigh_gauge = None
    with pytest.raises(AssertionError, match=rf"faulty.*{message}.*is allowed"):
        check_gradient(faulty, gap_spectrum(0.1).matrix(4))


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_gradient_faults_of_eigenvectors_are_found(dtype):
    # A rule that is wrong everywhere by a part in a thousand or so.
    a = gap_spectrum(0.2).matrix(4, dtype)
    loss = ClusterLoss(((2, 3),))
    check_gradient(eigh, a, loss=loss, gap=MaskedGap())
    with pytest.raises(AssertionError, match=r"finite differences .* is allowed"):
        check_gradient(eigh, a, loss=loss, gap=BroadenedGap(width=0.1))


@pytest.mark.parametrize("shape", [(0, 3, 3), (2, 0, 3, 3), (0, 0), (2, 0, 0)])
def test_gradients_of_empty_arrays_pass(shape):
    check_gradient(eigvalsh, np.zeros(shape))
    check_gradient(eigh, np.zeros(shape), loss=ClusterLoss(((0, 1),)))


@dataclass(frozen=True)
class WrongShape(Eigh):
    def vjp(self, binding, arrays, outputs, cotangents):
        return (super().vjp(binding, arrays, outputs, cotangents)[0][None],)


@dataclass(frozen=True)
class NaNVjp(Eigh):
    def vjp(self, binding, arrays, outputs, cotangents):
        return (np.nan * super().vjp(binding, arrays, outputs, cotangents)[0],)


@dataclass(frozen=True)
class NaNJvp(Eigh):
    def jvp(self, binding, arrays, outputs, tangents):
        return tuple(np.nan * t for t in super().jvp(binding, arrays, outputs, tangents))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (NaNVjp, "the gradient is not finite"),
        (NaNJvp, "the tangent from jvp is not finite"),
        (WrongShape, r"the gradient has shape \(1, 3, 3\), and \(3, 3\) is needed"),
    ],
)
def test_gradients_that_are_not_finite_or_of_a_wrong_shape_are_found(kind, message):
    @differentiable
    def faulty(binding, a):
        return binding.apply(kind(DenseEigh(), ExactGap(), None, None), a)[0]

    with pytest.raises(AssertionError, match=f"faulty.*{message}"):
        check_gradient(faulty, gap_spectrum(0.1).matrix(3))


def test_a_loss_that_is_not_finite_is_found():
    @dataclass(frozen=True)
    class NaNBeside:
        def solve(self, a):
            values, vectors = DenseEigh().solve(a)
            return (values if np.array_equal(a, given) else np.nan * values), vectors

    given = gap_spectrum(0.1).matrix(3)
    with pytest.raises(AssertionError, match=r"eigvalsh.*the loss at a step of .* is not finite"):
        check_gradient(eigvalsh, given, solver=NaNBeside())


@pytest.mark.parametrize("truncation", [None, MaxRank(2)])
def test_a_loss_that_depends_on_signs_is_refused(truncation):
    a = gap_spectrum(0.1).matrix(4)
    for chosen in ({}, {"loss": LinearLoss(seed=1)}):
        with pytest.raises(ValueError, match=r"eigh with .* puts out eigenvectors.*loss=ClusterLoss\("):
            check_gradient(eigh, a, truncation=truncation, **chosen)


def test_signs_that_a_solver_differentiates_are_no_chance():
    check_gradient(eigh, gap_spectrum(0.3).matrix(4), solver=PowerIteration(steps=3))


def test_gradient_of_eigenvalues_passes():
    check_gradient(eigvalsh, gap_spectrum(0.1).matrix(4))


def test_spectra_have_unique_names_and_the_eigenvalues_they_say():
    assert len({spectrum.name for spectrum in SPECTRA}) == len(SPECTRA)
    assert len(LAPACK_SPECTRA) == 18
    for spectrum in SPECTRA:
        for n in (1, 2, 3, 9):
            for dtype in ("float32", "complex128"):
                a = spectrum.matrix(n, dtype)
                assert a.dtype == dtype
                np.testing.assert_array_equal(a, a.conj().T)
                # In double precision, so that rounding to the dtype is all that differs.
                measured = np.linalg.eigvalsh(a.astype("complex128"))
                expected = spectrum.eigenvalues(n, dtype)
                assert len(expected) == n
                allowed = 64 * np.finfo(dtype).eps * max(np.max(np.abs(expected)), 0)
                np.testing.assert_allclose(measured, expected, rtol=0, atol=allowed)
                np.testing.assert_array_equal(a, spectrum.matrix(n, dtype))


def test_gap_sweep_spans_the_gaps():
    for gap in (0.1, 1e-9, 0.0):
        values = gap_spectrum(gap).eigenvalues(6)
        np.testing.assert_allclose(values[-1] - values[-2], gap, atol=1e-16)
        assert values[-2] - values[-3] >= 0.3 - 1e-15


def test_banded_is_banded_and_has_the_spectrum():
    values = np.linspace(-1, 2, 9)
    for dtype in ("float64", "complex128"):
        a = banded(values, dtype, np.random.default_rng(0))
        assert np.count_nonzero(np.triu(a, 4)) == 0
        assert np.count_nonzero(np.triu(a, 3)) > 0
        np.testing.assert_allclose(np.linalg.eigvalsh(a), values, atol=1e-14)


def test_random_matrices_are_what_they_say():
    for dtype in ("float32", "complex64"):
        q = random_unitary(5, dtype, np.random.default_rng(0))
        np.testing.assert_allclose(q.conj().T @ q, np.eye(5), atol=1e-14)
        h = random_hermitian(5, dtype, np.random.default_rng(0))
        assert h.dtype == dtype
        np.testing.assert_array_equal(h, h.conj().T)


@pytest.mark.parametrize("missing", ["hypothesis", "mpmath"])
def test_a_missing_requirement_is_one_clear_sentence(missing):
    code = f"import sys; sys.modules[{missing!r}] = None; import specgrad.testing"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert f"specgrad.testing needs hypothesis and mpmath, and {missing} is missing" in last
    assert "pip install" in last


def test_the_library_itself_needs_neither():
    code = "import sys; sys.modules['hypothesis'] = sys.modules['mpmath'] = None; import specgrad"
    subprocess.run([sys.executable, "-c", code], check=True)

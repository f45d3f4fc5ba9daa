"""Truncations: what each keeps, how they combine, and how ranks and batches come out."""

import pickle
from dataclasses import dataclass

import numpy as np
import pytest
from array_api_compat import array_namespace

from specgrad import (
    EigenvalueFloor,
    EnergyRatio,
    MaxRank,
    RayleighMismatch,
    TruncatedEighResult,
    eigh,
    jvp,
    vjp,
)
from specgrad.leading import rank_of
from specgrad.testing import ClusterLoss, gap_spectrum, random_hermitian, random_unitary


@dataclass(frozen=True)
class Marks:
    """A user's truncation: the positions to keep, as given."""

    marks: tuple[bool, ...]

    def keep(self, a, values, vectors):
        return array_namespace(values).asarray(np.array(self.marks) & np.ones(values.shape, dtype=bool))


ALGORITHM_1 = EnergyRatio(1 - 1e-4, include_crossing=False) & EigenvalueFloor(1e-4) & RayleighMismatch(0.1)


def rank(backend, values, truncation):
    result = eigh(backend.array(np.diag(np.array(values, dtype=float))), truncation=truncation)
    return int(result.rank)


def test_largest_magnitude_first(backend, dtype):
    a = np.diag([1.0, -3.0, 2.0, 0.0]).astype(dtype)
    result = eigh(backend.array(a), truncation=MaxRank(3))
    assert isinstance(result, TruncatedEighResult)
    np.testing.assert_allclose(backend.numpy(result.eigenvalues), [-3, 2, 1])
    np.testing.assert_allclose(abs(backend.numpy(result.eigenvectors)), np.eye(4)[:, [1, 2, 0]])


def test_of_equal_magnitudes_the_order_of_the_solver_stays(backend):
    for values in ([-2.0, 2.0], [-3.0, -2.0, 2.0, 3.0]):
        found = eigh(backend.array(np.diag(values)), truncation=MaxRank(len(values))).eigenvalues
        expected = sorted(values, key=lambda x: -abs(x))
        np.testing.assert_array_equal(backend.numpy(found), expected)


@pytest.mark.parametrize("k", [1, 2, 5, 9])
def test_max_rank_slices(backend, k):
    batch = np.stack([gap_spectrum(0.1).matrix(5, seed=seed) for seed in range(2)])
    result = eigh(backend.array(batch), truncation=MaxRank(k))
    kept = min(k, 5)
    assert tuple(result.eigenvalues.shape) == (2, kept)
    assert tuple(result.eigenvectors.shape) == (2, 5, kept)
    np.testing.assert_array_equal(backend.numpy(result.rank), [kept, kept])


def test_max_rank_in_company_does_not_slice(backend):
    result = eigh(backend.array(np.diag([3.0, 2.0, 1.0])), truncation=MaxRank(2) & EigenvalueFloor())
    np.testing.assert_allclose(backend.numpy(result.eigenvalues), [3, 2, 0])


def test_eigenvalue_floor(backend):
    values = [4.0, 1.0, 1e-20, -3.0]
    assert rank(backend, values[:3], EigenvalueFloor()) == 2
    assert rank(backend, values[:3], EigenvalueFloor(absolute=2.0)) == 1
    assert rank(backend, values[:3], EigenvalueFloor(relative=0.3)) == 1
    assert rank(backend, values, EigenvalueFloor()) == 1, "-3 is second, and a floor is signed"


def test_eigenvalue_floor_is_beyond_rounding(backend, dtype):
    # Of A = covariance + eps I: null directions have eigenvalue eps up to rounding.
    u = random_unitary(8, dtype, np.random.default_rng(0))
    a = ((u * np.array([1.0] * 3 + [0.0] * 5)) @ u.conj().T + 1e-4 * np.eye(8)).astype(dtype)
    result = eigh(backend.array((a + a.conj().T) / 2), truncation=EigenvalueFloor(1e-4))
    assert int(result.rank) == 3


def test_rayleigh_mismatch_keeps_accurate_pairs(backend, dtype):
    a = gap_spectrum(0.1).matrix(6, dtype)
    assert int(eigh(backend.array(a), truncation=RayleighMismatch()).rank) == 6


def test_rayleigh_mismatch_is_the_quotient_on_the_deflated_matrix():
    # Vectors that are neither exact nor orthogonal, against the loop of the paper.
    generator = np.random.default_rng(0)
    a = random_hermitian(5, "complex128", generator)
    values = np.linalg.eigvalsh(a)[::-1]
    vectors = np.linalg.eigh(a)[1][:, ::-1] + 1e-4 * random_unitary(5, "complex128", generator)
    vectors /= np.linalg.norm(vectors, axis=0)  # so that what is left is what deflation leaves
    deflated, mismatch = a.copy(), []
    for i in range(5):
        v = vectors[:, i : i + 1]
        quotient = (v.conj().T @ deflated @ v).real.item()
        mismatch.append(abs(quotient - values[i]) / abs(values[i]))
        deflated = deflated - deflated @ v @ v.conj().T
    for tolerance in np.sort(mismatch) * (1 + 1e-3):
        marks = RayleighMismatch(tolerance).keep(a, values, vectors)
        np.testing.assert_array_equal(marks, mismatch < tolerance)


def test_conjunction_and_disjunction(backend):
    values = [6.0, 3.0, 1.0]
    assert rank(backend, values, EigenvalueFloor(0.5) & EnergyRatio(0.6)) == 1
    assert rank(backend, values, EigenvalueFloor(2.0) | EnergyRatio(0.6)) == 2
    assert rank(backend, values, (MaxRank(1) | EigenvalueFloor(2.0)) & MaxRank(3)) == 2


def test_a_users_truncation_combines_from_both_sides():
    mine = Marks((True, True, False))
    a = np.diag([3.0, 2.0, 1.0])
    assert int(eigh(a, truncation=mine).rank) == 2
    for combined in (MaxRank(1) & mine, mine & MaxRank(1)):
        assert int(eigh(a, truncation=combined).rank) == 1
    for combined in (MaxRank(1) | mine, mine | MaxRank(1)):
        assert int(eigh(a, truncation=combined).rank) == 2


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        ((True, True, False), 2),
        ((True, False, True), 1),
        ((False, True, True), 1),
        ((False, False, False), 1),
    ],
)
def test_the_rank_is_the_leading_run_and_at_least_one(backend, marks, expected):
    batch = np.array([marks, (True, True, True)])
    np.testing.assert_array_equal(backend.numpy(rank_of(backend.array(batch))), [expected, 3])
    np.testing.assert_array_equal(backend.numpy(rank_of(backend.array(batch[:, :0]))), [0, 0])
    assert int(eigh(np.diag([3.0, 2.0, 1.0]), truncation=Marks(marks)).rank) == expected


@pytest.mark.parametrize(
    "truncation", [EigenvalueFloor(0.5), EnergyRatio(0.7), EigenvalueFloor(0.5) | MaxRank(1)]
)
def test_ragged_batches(backend, dtype, truncation):
    batch = np.stack([np.diag([2.0, 0.1, 0.1]), np.diag([3.0, 2.0, 1.0]), np.zeros((3, 3))]).astype(dtype)
    result = eigh(backend.array(batch), truncation=truncation)
    ranks = backend.numpy(result.rank)
    assert ranks[0] == 1
    assert ranks[1] >= 2
    assert ranks[2] >= 1
    for k in range(3):
        alone = eigh(backend.array(batch[k]), truncation=truncation)
        assert int(alone.rank) == ranks[k]
        np.testing.assert_array_equal(backend.numpy(result.eigenvalues)[k, ranks[k] :], 0)
        np.testing.assert_array_equal(backend.numpy(result.eigenvectors)[k][:, ranks[k] :], 0)


def test_dropped_columns_have_no_gradient(backend, double):
    a = backend.array(gap_spectrum(0.1).matrix(4, double))
    _, pullback = vjp(eigh, a, truncation=EigenvalueFloor(0.7))
    ones = np.ones((4, 4), dtype=double)
    only_dropped = np.where(np.arange(4) >= 2, ones, 0)
    (gradient,) = pullback((None, backend.array(only_dropped), None))
    np.testing.assert_array_equal(backend.numpy(gradient), 0)


def test_tangents_have_the_shape_of_the_output(backend):
    a, e = (backend.array(gap_spectrum(0.1).matrix(4, seed=seed)) for seed in (0, 1))
    for truncation in (MaxRank(2), EigenvalueFloor(0.7)):
        output, tangents = jvp(eigh, (a,), (e,), truncation=truncation)
        assert tangents.rank is None
        for x, t in zip(output[:2], tangents[:2], strict=True):
            assert tuple(x.shape) == tuple(t.shape)


def test_a_tie_at_the_cut_is_finite_under_the_default(backend, double):
    a = np.diag([3.0, 2.0, 2.0, 1.0]).astype(double)
    output, pullback = vjp(eigh, backend.array(a), truncation=MaxRank(2))
    (gradient,) = pullback(ClusterLoss(((0,),)).cotangents(output))
    assert np.isfinite(backend.numpy(gradient)).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MaxRank(0), "MaxRank needs an integer of at least 1 for rank, not 0"),
        (lambda: MaxRank(2.5), r"for rank, not 2\.5"),
        (lambda: RayleighMismatch(-1.0), "above 0 for tolerance"),
        (lambda: EnergyRatio(0.0), r"\(0, 1\] for ratio, not 0.0"),
        (lambda: EnergyRatio(1.5), r"\(0, 1\] for ratio, not 1.5"),
    ],
)
def test_impossible_truncations_raise(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("kind", [MaxRank, EnergyRatio, RayleighMismatch])
@pytest.mark.parametrize("number", ["2", None, 2j], ids=repr)
def test_what_is_no_number_raises(kind, number):
    with pytest.raises(TypeError, match=f"not {number!r}"):
        kind(number)


@pytest.mark.parametrize("truncation", [ALGORITHM_1, MaxRank(2) | EnergyRatio(1)], ids=repr)
def test_truncations_survive_pickling(truncation):
    again = pickle.loads(pickle.dumps(truncation))
    assert again == truncation
    assert hash(again) == hash(truncation)


def test_truncations_combine_with_truncations():
    for combine in (lambda a, b: a & b, lambda a, b: a | b):
        for pair in ((MaxRank(2), 3), (3, MaxRank(2)), (MaxRank(2), MaxRank)):
            with pytest.raises(TypeError, match="unsupported operand"):
                combine(*pair)


def test_the_floor_is_relative_to_the_magnitude_of_the_leading_value(backend):
    for values, floor in (([-2.0, 1e-17], EigenvalueFloor()), ([-2.0, 0.5], EigenvalueFloor(relative=0.5))):
        assert not backend.numpy(floor.keep(None, backend.array(np.array(values)), None)).any()


def test_a_value_at_the_floor_is_not_above_it(backend):
    marks = EigenvalueFloor(2.0, relative=0.0).keep(None, backend.array(np.array([3.0, 2.0])), None)
    np.testing.assert_array_equal(backend.numpy(marks), [True, False])


def test_of_many_equal_magnitudes_the_first_come_first(backend):
    values = np.repeat([-2.0, 2.0], 20)
    result = eigh(backend.array(np.diag(values)), truncation=MaxRank(40))
    np.testing.assert_array_equal(backend.numpy(result.eigenvalues), values)

"""Gap rules: the contract, their limits, and what each does at ties."""

import pickle
import re
from functools import partial

import numpy as np
import pytest
from pair_matrices import exact, matrix

from specgrad import (
    BalancedPowerIterationGap,
    BroadenedGap,
    ClippedGap,
    ExactGap,
    MaskedCut,
    MaskedGap,
    PadeGap,
    PowerIteration,
    PowerIterationGap,
    RoundingFloor,
    TaylorGap,
    TopNGap,
)
from specgrad.derivatives.eigh import jvp, vjp
from specgrad.testing import antisymmetry, check_gap, permutation_equivariance, scale_equivariance, wide_gaps

UNCLAIMED = {
    # Which properties a rule does not claim. By position: PI at ties, TopN at a tie between its last
    # leading value and the next. Absolute: the clip of SVD-Trunc. One step: 1/gap and 0, or half of it.
    ExactGap(): (),
    MaskedGap(): (),
    MaskedGap(tolerance=1e-3): (),
    MaskedGap(tolerance=0.0): (),
    BroadenedGap(): (),
    BroadenedGap(width=1e-2): (),
    MaskedCut(): (),
    MaskedCut(tolerance=0.0): (),
    ClippedGap(): (scale_equivariance,),
    TopNGap(2): (permutation_equivariance,),
    TaylorGap(): (),
    TaylorGap(degree=0): (),
    PadeGap(): (),
    PowerIterationGap(): (antisymmetry, permutation_equivariance),
    PowerIterationGap(1): (antisymmetry, permutation_equivariance, wide_gaps),
    BalancedPowerIterationGap(): (),
    BalancedPowerIterationGap(1): (wide_gaps,),
}
SEPARATED = np.array([-2.0, -0.3, 0.7, 1.5, 4.0])


@pytest.mark.parametrize(("rule", "without"), UNCLAIMED.items(), ids=map(repr, UNCLAIMED))
def test_a_rule_has_the_properties_of_gap_rules(backend, real, rule, without):
    # Spectra of one value and of none are a test of their own, below.
    choices = {"device": backend.device, "sizes": (2, 6), "dtypes": (real,)}
    check_gap(rule, backend.xp, without=without, **choices)


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
@pytest.mark.parametrize("rule", UNCLAIMED, ids=repr)
def test_batches_and_small_sizes(backend, rule):
    batch = np.stack([SEPARATED, 2 * SEPARATED, np.zeros(5)])
    pairs = matrix(backend, rule, batch)
    bound = backend.numpy(rule.bound(backend.array(batch)))
    assert bound.shape == (3,)
    for k in range(3):
        # Equal up to the order in which a library's vector units add.
        np.testing.assert_allclose(pairs[k], matrix(backend, rule, batch[k]), rtol=4 * np.finfo(float).eps)
    for shape in ((0,), (1,), (0, 3), (2, 0)):
        assert matrix(backend, rule, np.zeros(shape)).shape == (*shape, shape[-1])
        assert tuple(rule.bound(backend.array(np.zeros(shape))).shape) == shape[:-1]


@pytest.mark.parametrize(
    "rule",
    [
        MaskedGap(),
        MaskedGap(tolerance=0.0),
        ClippedGap(),
        TopNGap(5),
        PadeGap(),
        TaylorGap(10_000),
        PowerIterationGap(10_000),
        BalancedPowerIterationGap(10_000),
        BroadenedGap(1e-9),
    ],
    ids=repr,
)
def test_the_exact_rule_is_the_limit_off_ties(backend, rule):
    # 1.5/4 and the like to the power 10^4 is zero; the narrow width is squared.
    np.testing.assert_allclose(
        matrix(backend, rule, SEPARATED), exact(SEPARATED), rtol=512 * np.finfo(float).eps
    )


@pytest.mark.parametrize(
    "rule",
    [rule for rule in UNCLAIMED if not isinstance(rule, ExactGap | TopNGap | PowerIterationGap)],
    ids=repr,
)
def test_a_tie_has_no_sign_and_gets_zero(backend, rule):
    for values in ([2.0, 2.0], [-2.0, -2.0], [0.0, 0.0]):
        np.testing.assert_array_equal(matrix(backend, rule, np.array(values)), np.zeros((2, 2)))


def test_opposite_values_are_no_tie(backend):
    values = np.array([-2.0, 2.0])
    for rule in (MaskedGap(), BroadenedGap(1e-9), ClippedGap(), PadeGap(), BalancedPowerIterationGap(2)):
        pair = matrix(backend, rule, values)[0, 1]
        np.testing.assert_allclose(pair, 0.25, rtol=512 * np.finfo(float).eps)


def test_a_clipped_gap_does_not_exceed_its_limit(backend):
    values = np.array([1.0, 1.0 + 1e-3])
    assert matrix(backend, ClippedGap(limit=10.0), values)[0, 1] == 10.0
    assert matrix(backend, ClippedGap(limit=10.0), values)[1, 0] == -10.0


def test_top_n_keeps_pairs_with_a_leading_value(backend):
    values = np.array([0.1, -3.0, 0.5, 2.0])
    expected = exact(values)
    small = np.ix_([0, 2], [0, 2])
    expected[small] = 0.0
    np.testing.assert_allclose(matrix(backend, TopNGap(2), values), expected)


def test_top_n_is_permutation_equivariant_where_magnitudes_differ(backend):
    permutation_equivariance(TopNGap(2), backend.array(SEPARATED))


def test_broadening_is_lorentzian(backend):
    values, width = np.array([0.0, 0.1, 2.0]), 0.05
    d = values[None, :] - values[:, None]
    expected = d / (d**2 + (width * 2.0) ** 2)
    np.testing.assert_allclose(matrix(backend, BroadenedGap(width), values), expected)
    assert float(BroadenedGap(width).bound(backend.array(values))) == 1 / (2 * width * 2.0)


@pytest.mark.parametrize(
    ("kind", "name", "needed", "wrong"),
    [
        (PowerIterationGap, "steps", "an integer of at least 1", (0, 2.5, 2.0, float("inf"))),
        (BalancedPowerIterationGap, "steps", "an integer of at least 1", (-1,)),
        (PowerIteration, "steps", "an integer of at least 1", (0,)),
        (PowerIteration, "seed", "an integer of at least 0", (-1, 0.5)),
        (TopNGap, "count", "an integer of at least 1", (-1, 0, np.int64(0))),
        (TaylorGap, "degree", "an integer of at least 0", (-1,)),
        (ClippedGap, "limit", "a finite number above 0", (-1, 0, float("inf"))),
        (BroadenedGap, "width", "a number above 0, or None,", (-1.0, 0.0, float("nan"), np.float32(-1))),
        (PadeGap, "resolution", "a number above 0, or None,", (-1.0, 0)),
        (MaskedGap, "tolerance", "a number of at least 0, or None,", (-1.0,)),
        (RoundingFloor, "factor", "a number of at least 0, or None,", (-1.0,)),
        (RoundingFloor, "reach", "a number of at least 0", (-1.0,)),
        (RoundingFloor, "eps", "a number of at least 0, or None,", (-1.0,)),
    ],
)
def test_numbers_out_of_range_raise(kind, name, needed, wrong):
    for number in (*wrong, "2", 2j, *(() if "None" in needed else (None,))):
        error = TypeError if isinstance(number, str | complex | type(None)) else ValueError
        message = f"{kind.__name__} needs {needed} for {name}, not {number!r}."
        with pytest.raises(error, match=re.escape(message)):
            kind(**{name: number})


@pytest.mark.parametrize("rule", [MaskedGap, ExactGap, ClippedGap, TaylorGap, PadeGap])
def test_a_rounding_floor_is_one(rule):
    with pytest.raises(TypeError, match=r"noise is 1e-08, .* such as RoundingFloor\(\)"):
        rule(noise=1e-8)


@pytest.mark.parametrize(
    "kind", [partial(BroadenedGap, np.float64(1e-9)), partial(ClippedGap, np.float64(1e10)), PadeGap]
)
def test_numbers_of_numpy_widen_no_array(backend, kind):
    rule = kind() if isinstance(kind, partial) else kind(np.float64(1e-9))
    values = backend.array(np.array([1.0, 2.0], dtype="float32"))
    assert rule.matrix(values).dtype == values.dtype


def test_a_width_whose_square_is_no_number_leaves_ties_at_0(backend, double):
    values = np.array([1.0, 1.0, 2.0])
    pairs = matrix(backend, BroadenedGap(1e-170), values)
    np.testing.assert_allclose(pairs, [[0, 0, 1], [0, 0, 1], [-1, -1, 0]])


def test_rules_are_values():
    assert MaskedGap() == MaskedGap()
    assert hash(PowerIterationGap(19)) == hash(PowerIterationGap(19)) != hash(PowerIterationGap(20))
    assert repr(MaskedGap(noise=None)) == "MaskedGap(tolerance=None, noise=None)"
    assert RoundingFloor(eps=2**-8).eps == 2**-8
    for rule in UNCLAIMED:
        assert {pickle.loads(pickle.dumps(rule)): True}[rule]


@pytest.mark.filterwarnings("ignore:overflow encountered in subtract:RuntimeWarning")
@pytest.mark.parametrize(
    "rule", [rule for rule in UNCLAIMED if not isinstance(rule, ExactGap | TopNGap)], ids=repr
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_near_the_end_of_the_range(backend, rule, dtype):
    largest = 0.95 * float(np.finfo(dtype).max)
    values = backend.array(np.array([largest, -largest, 0.9 * largest, 0.0], dtype=dtype))
    pairs = backend.numpy(rule.matrix(values))
    assert np.all(np.isfinite(pairs))
    assert np.all(np.abs(pairs) <= backend.numpy(rule.bound(values)))
    vectors, moved = (backend.array(x.astype(dtype)) for x in (np.eye(4), np.vander(range(1, 5))))
    for derivative in (vjp(values, vectors, None, moved, rule), *jvp(values, vectors, moved, rule)):
        assert np.all(np.isfinite(backend.numpy(derivative)))


def test_a_limit_beyond_the_range_clips_nothing(backend):
    values = np.array([1.0, 2.0, 4.0], dtype="float32")
    np.testing.assert_allclose(
        matrix(backend, ClippedGap(1e40), values), [[0, 1, 1 / 3], [-1, 0, 0.5], [-1 / 3, -0.5, 0]], rtol=1e-7
    )


def test_a_gap_at_the_tolerance_is_a_tie(backend):
    np.testing.assert_array_equal(matrix(backend, MaskedGap(0.5), np.array([1.0, 2.0])), 0.0)


def test_the_clip_of_the_paper_is_the_default(backend):
    assert backend.numpy(ClippedGap().bound(backend.array(np.array([1.0, 2.0])))) == 1e10

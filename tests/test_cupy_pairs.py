"""The bodies of the CUDA kernels of gap rules, compiled for the host, against the formulas of the core."""

import ctypes

import numpy as np
import pytest
from host_compiler import compiled, module, needs_compiler, pointer

from specgrad import (
    BalancedPowerIterationGap,
    BroadenedGap,
    ClippedGap,
    ExactGap,
    MaskedGap,
    PadeGap,
    PowerIterationGap,
    RoundingFloor,
    TaylorGap,
)
from specgrad._array import magnitude_scale
from specgrad.gaps.pairs import negligible

pytestmark = needs_compiler

# The parameter that a rule gives its kernel.
PARAMETERS = {
    ExactGap(): lambda rule, values: 0.0,
    ExactGap(noise=RoundingFloor()): lambda rule, values: 1.0,
    MaskedGap(1e-3): lambda rule, values: rule.tie_width(values)[0],
    MaskedGap(): lambda rule, values: rule.tie_width(values)[0],
    BroadenedGap(0.1): BroadenedGap.relative_width,
    BroadenedGap(1e-25): BroadenedGap.relative_width,
    ClippedGap(2.0): ClippedGap.largest,
    ClippedGap(1e45): ClippedGap.largest,
    PowerIterationGap(19): lambda rule, values: rule.steps,
    PowerIterationGap(1): lambda rule, values: rule.steps,
    BalancedPowerIterationGap(6): lambda rule, values: rule.steps,
    TaylorGap(100): lambda rule, values: rule.degree,
    TaylorGap(0): lambda rule, values: rule.degree,
    PadeGap(0.01): PadeGap.least_ratio,
}

PAIRS, PAIR_BODIES = (getattr(module("pair_sources"), name) for name in ("PAIRS", "PAIR_BODIES"))

CALL_PAIR = """
extern "C" void {name}_{real}(
    int n, const {real}* l, {real} parameter, {real} scale, {real} negligible, {real}* out
) {{
    typedef {real} T;
    (void)parameter, (void)scale, (void)negligible;
    for (int i = 0; i < n * n; ++i) {{
        const long long row = i / n, column = i % n;
        (void)row, (void)column;
        T x = l[row], y = l[column], &k = out[i];
        {body}
    }}
}}
"""


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    bodies = "".join(
        CALL_PAIR.format(name=name, real=real, body=body)
        for name, body in PAIR_BODIES.items()
        for real in ("float", "double")
    )
    return compiled(PAIRS + bodies, tmp_path_factory.mktemp("pairs"))


@pytest.mark.parametrize("rule", PARAMETERS, ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", ["one", "smallest", "largest"])
def test_pair_bodies_are_the_rules_of_the_core(pairs, rule, dtype, scale):
    precision = np.finfo(dtype)
    unit = {"one": 1.0, "smallest": 16 * precision.smallest_normal, "largest": precision.max / 4}[scale]
    values = np.array([-2.0, -1.0, 0.0, 1e-30, 1e-4, 0.25, 0.25, 1.0, 3.0], dtype=dtype)
    values = np.sort(values * values.dtype.type(unit))
    n = len(values)
    number = ctypes.c_float if dtype == "float32" else ctypes.c_double
    out = np.empty((n, n), dtype=dtype)
    body = getattr(pairs, f"{type(rule).__name__}_{'float' if dtype == 'float32' else 'double'}")
    with np.errstate(divide="ignore", over="ignore", under="ignore"):  # the exact rule, and far gaps
        scalars = PARAMETERS[rule](rule, values), magnitude_scale(values)[0], negligible(values)[0]
        body(n, pointer(values), *(number(float(scalar)) for scalar in scalars), pointer(out))
        expected = rule.matrix(values)
    # A series magnifies the rounding of q by its number of terms, the rational function by 1/resolution.
    steps = 100 if isinstance(rule, (PowerIterationGap, BalancedPowerIterationGap, TaylorGap, PadeGap)) else 1
    np.testing.assert_allclose(out, expected, rtol=4 * steps * precision.eps, atol=precision.smallest_normal)
    assert expected.dtype == np.dtype(dtype)


def test_there_is_a_body_for_each_of_these_rules_and_no_other():
    assert set(PAIR_BODIES) == {type(rule).__name__ for rule in PARAMETERS}

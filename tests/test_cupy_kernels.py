"""The bodies of the CUDA kernels, compiled for the host: solver checks and the formulas of the core."""

import ctypes
import importlib.util
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from specgrad import BroadenedGap, ClippedGap, MaskedGap
from specgrad.testing import check_solver

COMPILER = shutil.which("g++")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")

ROOT = Path(__file__).parents[1]
SIZES = (1, 2, 3, 5, 8, 16)
TYPES = {
    "float32": ("float", "float"),
    "float64": ("double", "double"),
    "complex64": ("Complex<float>", "float"),
    "complex128": ("Complex<double>", "double"),
}
PARAMETERS = {MaskedGap(1e-3): 1e-3, BroadenedGap(0.1): 0.1, ClippedGap(2.0): 2.0}


def sources():
    """The module of source strings, without the package around it, which needs a device."""
    path = ROOT / "specgrad_cupy" / "sources.py"
    spec = importlib.util.spec_from_file_location("sources", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compiled(code, folder):
    source, library = folder / "kernel.cpp", folder / "kernel.so"
    source.write_text(code)
    subprocess.run(
        [COMPILER, "-std=c++14", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", source, "-o", library],
        check=True,
    )
    return ctypes.CDLL(str(library))


def pointer(array):
    return array.ctypes.data_as(ctypes.c_void_p)


JACOBI = """
extern "C" bool jacobi_{n}_{dtype}(
    const void* a, void* l, void* v, int sweeps, double eps, double smallest_normal
) {{
    return jacobi<{n}, {entry}, {real}>(
        (const {entry}*)a, ({real}*)l, ({entry}*)v, sweeps, eps, smallest_normal);
}}
"""


@pytest.fixture(scope="module")
def jacobi(tmp_path_factory):
    wrappers = "".join(
        JACOBI.format(n=n, dtype=dtype, entry=entry, real=real)
        for n in SIZES
        for dtype, (entry, real) in TYPES.items()
    )
    return compiled(sources().JACOBI + wrappers, tmp_path_factory.mktemp("jacobi"))


class OnTheHost:
    """The solver of the kernel, one matrix after the other."""

    def __init__(self, library, sweeps=15):
        self.library, self.sweeps = library, sweeps

    def solve(self, a):
        n = a.shape[-1]
        matrices = np.ascontiguousarray(a).reshape(-1, n, n)
        values = np.empty(matrices.shape[:-1], dtype=a.real.dtype)
        vectors = np.empty_like(matrices)
        body = getattr(self.library, f"jacobi_{n}_{a.dtype}")
        body.restype = ctypes.c_bool
        precision = np.finfo(a.dtype)
        eps, smallest = ctypes.c_double(precision.eps), ctypes.c_double(precision.smallest_normal)
        for k, matrix in enumerate(matrices):
            if not body(pointer(matrix), pointer(values[k]), pointer(vectors[k]), self.sweeps, eps, smallest):
                values[k] = np.nan
        return values.reshape(a.shape[:-1]), vectors.reshape(a.shape)


def test_jacobi_decomposes_every_spectrum(jacobi, dtype):
    check_solver(OnTheHost(jacobi), np, sizes=SIZES, dtypes=(dtype,))


def test_jacobi_keeps_the_digits_of_small_eigenvalues(jacobi):
    # D B D with D graded: its entries determine all eigenvalues to nearly all digits, and eigh loses them.
    scale = 10.0 ** -np.arange(0, 16, 2)
    b = np.eye(8) + 0.1 * np.cos(np.add.outer(np.arange(8), np.arange(8)))
    a = scale[:, None] * b * scale
    values, _ = OnTheHost(jacobi).solve(a)
    leading = np.linalg.eigvalsh(a[:2, :2])[0]
    assert values[0] > 0
    # det(A) = det(D)^2 det(B), each of them known to all digits.
    determinant = np.prod(scale) ** 2 * np.linalg.det(b)
    np.testing.assert_allclose(np.prod(values), determinant, rtol=1e-12)
    assert abs(values[-2] - leading) < 1e-3 * leading


def test_jacobi_says_when_it_has_not_converged(jacobi, double):
    a = np.ones((8, 8), dtype=double) + np.diag(np.arange(8.0))
    assert np.isnan(OnTheHost(jacobi, sweeps=1).solve(a)[0]).all()
    assert not np.isnan(OnTheHost(jacobi).solve(a)[0]).any()


def test_jacobi_keeps_what_is_not_finite_to_itself(jacobi, dtype):
    a = np.stack([np.eye(3, dtype=dtype)] * 3)
    a[1, 0, 0] = np.nan
    values, _ = OnTheHost(jacobi).solve(a)
    assert np.isnan(values[1]).all()
    np.testing.assert_array_equal(values[[0, 2]], 1)


PAIRS = """
extern "C" void {name}_{real}(
    int n, const {real}* l, {real} parameter, {real} scale, {real} smallest, {real} tie_width, {real}* out
) {{
    typedef {real} T;
    (void)parameter, (void)scale, (void)smallest;
    for (int i = 0; i < n * n; ++i) {{
        T x = l[i / n], y = l[i % n], &k = out[i];
        {body}
    }}
}}
"""


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    bodies = "".join(
        PAIRS.format(name=name, real=real, body=body)
        for name, body in sources().PAIR_BODIES.items()
        for real in ("float", "double")
    )
    return compiled("#include <cmath>\nusing namespace std;\n" + bodies, tmp_path_factory.mktemp("pairs"))


@pytest.mark.parametrize("rule", PARAMETERS, ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("tie_width", [0.0, 0.3])
def test_pair_bodies_are_the_rules_of_the_core(pairs, rule, dtype, tie_width):
    values = np.array([-2.0, -1.0, 0.0, 1e-4, 0.25, 0.25, 1.0, 3.0], dtype=dtype)
    real = np.dtype(dtype).type
    number = ctypes.c_float if dtype == "float32" else ctypes.c_double
    out = np.empty((8, 8), dtype=dtype)
    body = getattr(pairs, f"{type(rule).__name__}_{'float' if dtype == 'float32' else 'double'}")
    scalars = (PARAMETERS[rule], 3.0, float(np.finfo(dtype).smallest_normal), tie_width)
    body(8, pointer(values), *(number(scalar) for scalar in scalars), pointer(out))
    expected = rule.matrix(values, np.full((8, 8), tie_width, dtype=dtype))
    np.testing.assert_allclose(out, expected, rtol=4 * np.finfo(dtype).eps, atol=0)
    assert expected.dtype == real


def test_there_is_a_body_for_each_of_these_rules_and_no_other():
    assert set(sources().PAIR_BODIES) == {type(rule).__name__ for rule in PARAMETERS}

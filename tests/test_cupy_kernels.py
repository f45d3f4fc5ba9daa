"""The body of the CUDA kernel of `Jacobi`, compiled for the host and put to the solver checks."""

import ctypes
import platform
import re
import shutil
import subprocess

import numpy as np
import pytest
from host_compiler import DOWN, UP, compiled, module, needs_compiler, pointer

from specgrad.testing import check_solver

pytestmark = needs_compiler

# Size and threads for each matrix, of which the device has 1 up to 4 x 4 and 32 from there on.
SHAPES = ((1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (2, 32), (5, 32), (8, 32), (17, 32), (32, 32))
ON_CHIP = ((4, 1), (5, 32), (32, 32))
TYPES = {
    "float32": ("float", "float"),
    "float64": ("double", "double"),
    "complex64": ("Complex<float>", "float"),
    "complex128": ("Complex<double>", "double"),
}

JACOBI, JACOBI_KERNEL = (getattr(module("jacobi_source"), name) for name in ("JACOBI", "JACOBI_KERNEL"))

CALL_JACOBI = """
extern "C" bool jacobi_{n}_{lanes}_{dtype}(
    const void* a, void* l, void* v, int sweeps, double eps, double smallest_normal
) {{
    static Work<{n}, {lanes}, {entry}, {real}> work;
    return jacobi(
        work, (const {entry}*)a, ({real}*)l, ({entry}*)v, sweeps, ({real})eps, ({real})smallest_normal);
}}
"""


@pytest.fixture(scope="module", params=[UP, DOWN], ids=["lanes up", "lanes down"])
def jacobi(request, tmp_path_factory):
    wrappers = "".join(
        CALL_JACOBI.format(n=n, lanes=lanes, dtype=dtype, entry=entry, real=real)
        for n, lanes in SHAPES
        for dtype, (entry, real) in TYPES.items()
    )
    return compiled(JACOBI + wrappers, tmp_path_factory.mktemp("jacobi"), request.param)


class OnTheHost:
    """The solver of the kernel, one matrix after the other."""

    def __init__(self, library, lanes=32, sweeps=30):
        self.library, self.lanes, self.sweeps = library, lanes, sweeps

    def solve(self, a):
        n = a.shape[-1]
        matrices = np.ascontiguousarray(a).reshape(-1, n, n)
        values = np.empty(matrices.shape[:-1], dtype=a.real.dtype)
        vectors = np.empty_like(matrices)
        body = getattr(self.library, f"jacobi_{n}_{self.lanes}_{a.dtype}")
        body.restype = ctypes.c_bool
        precision = np.finfo(a.dtype)
        eps, smallest = ctypes.c_double(precision.eps), ctypes.c_double(precision.smallest_normal)
        for k, matrix in enumerate(matrices):
            if not body(pointer(matrix), pointer(values[k]), pointer(vectors[k]), self.sweeps, eps, smallest):
                values[k] = np.nan
        return values.reshape(a.shape[:-1]), vectors.reshape(a.shape)


@pytest.mark.parametrize("lanes", [1, 32])
def test_jacobi_decomposes_every_spectrum(jacobi, dtype, lanes):
    sizes = tuple(n for n, of in SHAPES if of == lanes)
    check_solver(OnTheHost(jacobi, lanes), np, sizes=sizes, dtypes=(dtype,))


def test_the_order_of_the_lanes_does_not_matter(tmp_path):
    # Else a phase would read what another lane writes in it, and a device would answer differently each time.
    rng = np.random.default_rng(0)
    a = rng.standard_normal((20, 17, 17)) + 1j * rng.standard_normal((20, 17, 17))
    a = a + a.conj().swapaxes(-1, -2)
    wrapper = CALL_JACOBI.format(n=17, lanes=32, dtype="complex128", entry="Complex<double>", real="double")
    answers = []
    for name, order in (("up", UP), ("down", DOWN)):
        (tmp_path / name).mkdir()
        library = compiled(JACOBI + wrapper, tmp_path / name, order)
        answers.append(OnTheHost(library).solve(a))
    for one, other in zip(*answers, strict=True):
        np.testing.assert_array_equal(one, other)


def test_every_pair_meets_once_in_a_sweep(tmp_path):
    wrapper = """
    extern "C" void pairs_{n}(int* out) {{
        typedef Round<{n}> Pairs;
        for (int step = 0; step < Pairs::STEPS; ++step)
            for (int k = 0; k < Pairs::PAIRS; ++k) {{
                Pairs pair(step, k);
                *out++ = step, *out++ = pair.plays(), *out++ = pair.p, *out++ = pair.q;
            }}
    }}
    """
    library = compiled(JACOBI + "".join(wrapper.format(n=n) for n in (2, 5, 8, 31)), tmp_path)
    for n in (2, 5, 8, 31):
        players = n + n % 2
        table = np.full((players - 1, players // 2, 4), -1, dtype=np.int32)
        getattr(library, f"pairs_{n}")(pointer(table))
        playing = table[table[..., 1] == 1]
        assert sorted(map(tuple, playing[:, 2:])) == [(p, q) for p in range(n) for q in range(p + 1, n)]
        for step in table:
            players_of_step = step[step[:, 1] == 1][:, 2:].ravel()
            assert len(set(players_of_step)) == len(players_of_step)


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


@pytest.mark.parametrize(("n", "lanes"), [(3, 1), (8, 32)])
def test_jacobi_keeps_what_is_not_finite_to_itself(jacobi, dtype, n, lanes):
    a = np.stack([np.eye(n, dtype=dtype)] * 3)
    a[1, 0, 0] = np.nan
    values, _ = OnTheHost(jacobi, lanes).solve(a)
    assert np.isnan(values[1]).all()
    np.testing.assert_array_equal(values[[0, 2]], 1)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="how to flush subnormals is known for x86-64")
def test_jacobi_reaches_the_end_of_the_range_where_subnormals_are_flushed(tmp_path):
    # As in all kernels that CuPy compiles for float32.
    flushed = """
    #include <immintrin.h>
    extern "C" bool flushed(const void* a, void* l, void* v, int sweeps, double eps, double smallest) {
        const unsigned before = _mm_getcsr();
        _mm_setcsr(before | 0x8040);
        const bool done = jacobi_3_1_float32(a, l, v, sweeps, eps, smallest);
        _mm_setcsr(before);
        return done;
    }
    """
    wrapper = CALL_JACOBI.format(n=3, lanes=1, dtype="float32", entry="float", real="float")
    library = compiled(JACOBI + wrapper + flushed, tmp_path)
    library.jacobi_3_1_float32 = library.flushed
    largest = np.finfo(np.float32).max / 2
    values, _ = OnTheHost(library, lanes=1).solve(np.diag(np.asarray([1.0, 0.5, 0.25], np.float32) * largest))
    np.testing.assert_allclose(values / largest, [0.25, 0.5, 1.0], rtol=1e-6)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
def test_the_kernel_compiles_for_a_device_and_keeps_its_matrix_on_the_chip(tmp_path):
    instance = (
        "template __global__ void jacobi_kernel<{n}, {lanes}, {entry}, {real}>("
        "const {entry}*, {real}*, {entry}*, bool*, long long, int, {real}, {real});\n"
    )
    shapes = [
        instance.format(n=n, lanes=lanes, entry=TYPES["complex128"][0], real="double") for n, lanes in ON_CHIP
    ]
    (tmp_path / "kernel.cu").write_text(JACOBI_KERNEL + "".join(shapes))
    command = ["nvcc", "-std=c++17", "-arch=sm_80", "-Xptxas=-v", "-Werror=all-warnings", "-c", "kernel.cu"]
    report = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert report.returncode == 0, report.stderr
    stacks = re.findall(r"(\d+) bytes stack frame", report.stderr)
    assert stacks == ["0"] * len(shapes)
    assert max(map(int, re.findall(r"(\d+) bytes smem", report.stderr))) <= 48 * 1024

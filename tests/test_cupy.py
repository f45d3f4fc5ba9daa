"""What the package for CuPy adds to the core: solvers, kernels, the bridge, and that nothing waits.

Parts that need no device run everywhere; the others are marked and skip where there is none.
"""

import importlib
import importlib.util
import inspect
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from backends import BACKENDS, UnavailableError, obtain

import specgrad
from specgrad import DenseEigh, DenseSVD, MaskedGap, MaxRank, vjp
from specgrad.testing import check_solver

ROOT = Path(__file__).parents[1]


def module(name):
    """A module of the package that needs no device, without the package around it."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "specgrad_cupy" / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded  # dataclasses look their module up
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def cupy():
    return obtain("cupy").xp


@pytest.fixture
def package(cupy):
    return importlib.import_module("specgrad_cupy")


def test_without_cupy_or_a_device_the_import_says_what_is_missing():
    try:
        BACKENDS["cupy"].load()
    except UnavailableError:
        run = subprocess.run(
            [sys.executable, "-c", "import specgrad_cupy"],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        last = run.stderr.strip().splitlines()[-1]
        assert last.startswith("ImportError: specgrad_cupy needs ")
        assert "During handling" not in run.stderr
    else:
        pytest.skip("there is a device")


def test_an_old_cupy_is_named(tmp_path):
    for name, source in {
        "cupy": "__version__ = '13.6.0'\nclass ndarray: pass",
        "cupy_backends.cuda.libs": "cublas = cusolver = None",
    }.items():
        folder = tmp_path.joinpath(*name.split("."))
        folder.mkdir(parents=True)
        folder.joinpath("__init__.py").write_text(source)
    run = subprocess.run(
        [sys.executable, "-c", "import specgrad_cupy"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: specgrad_cupy needs CuPy 14 or later, and 13.6.0 is installed")


def test_a_function_with_another_default_solver_is_differentiated_as_before():
    with_default_solver = module("_default_solver").with_default_solver
    eigh = with_default_solver(specgrad.eigh, DenseSVD())
    assert inspect.signature(eigh).parameters["solver"].default == DenseSVD()
    a = np.diag([3.0, 1.0, -2.0])
    np.testing.assert_allclose(eigh(a).eigenvalues, [-2, 1, 3], atol=1e-14)
    _, pullback = vjp(eigh, a, truncation=MaxRank(1))
    np.testing.assert_allclose(pullback((np.ones(1), None, None))[0], np.diag([1.0, 0, 0]), atol=1e-14)
    with pytest.raises(TypeError, match="solver is 3"):
        eigh(a, solver=3)


class Spoilt:
    """A solver that answers wrongly for one matrix of a batch."""

    def solve(self, a):
        values, vectors = DenseEigh().solve(a)
        values[1] += 1e-3
        return values, vectors


def test_a_wrong_answer_is_repaired_and_the_others_are_kept():
    Repaired = module("repair").Repaired
    a = np.stack([np.diag([1.0, 2.0, 3.0]), np.ones((3, 3)), np.zeros((3, 3))])
    repaired = Repaired(Spoilt(), DenseEigh()).solve(a)
    for measured, expected in zip(repaired, DenseEigh().solve(a), strict=True):
        np.testing.assert_array_equal(measured, expected)
    check_solver(Repaired(DenseEigh(), DenseEigh()), np)
    with pytest.raises(TypeError, match="second is 'svd', and a value with a method solve is needed"):
        Repaired(DenseEigh(), "svd")


def test_the_example_runs_on_numpy():
    spec = importlib.util.spec_from_file_location("image_stack", ROOT / "examples" / "image_stack.py")
    example = importlib.util.module_from_spec(spec)
    pytest.importorskip("sklearn")
    spec.loader.exec_module(example)
    noisy, denoised, gradient = example.run(specgrad, np)
    assert denoised < 0.6 * noisy
    assert np.isfinite(gradient).all()


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["AutoSolver", "Jacobi", "Syevd", "SyevjBatched"])
def test_a_solver_passes_the_conformance_kit(package, cupy, name):
    check_solver(getattr(package, name)(), cupy)


@pytest.mark.gpu
def test_batches_of_complex_matrices_are_right_each_time(package, cupy):
    # Batched decompositions of complex64 on CUDA have been reported wrong from the third call on, and after
    # batches of another size.
    generator = np.random.default_rng(0)
    for count, n in [(512, 40), (16, 100), (100, 33), (512, 40), (1, 64), (300, 64), (17, 40), (512, 17)] * 3:
        a = generator.standard_normal((count, n, n)) + 1j * generator.standard_normal((count, n, n))
        a = cupy.asarray((a + a.conj().swapaxes(-1, -2)).astype("complex64"))
        values, vectors = package.SyevjBatched().solve(a)
        residual = package.Repaired(package.SyevjBatched(), package.Syevd()).residual(a, values, vectors)
        assert float(residual.max()) < 60


@pytest.mark.gpu
def test_a_solver_that_could_not_work_is_refused_when_it_is_made(package):
    for make in (package.Jacobi, package.SyevjBatched):
        with pytest.raises(ValueError, match="an integer of at least 1 for sweeps"):
            make(sweeps=0)
    with pytest.raises(ValueError, match="a number of at least 0, or None, for tolerance"):
        package.SyevjBatched(tolerance=-1.0)


@pytest.mark.gpu
def test_large_batches_are_taken_in_parts(package, cupy, monkeypatch):
    monkeypatch.setattr("specgrad_cupy.cusolver._ENTRIES", 3 * 16)
    a = cupy.asarray(np.random.default_rng(0).standard_normal((10, 4, 4)))
    a = a + a.swapaxes(-1, -2)
    values, _ = package.SyevjBatched().solve(a)
    np.testing.assert_allclose(values.get(), np.linalg.eigvalsh(a.get()), atol=1e-12)


@pytest.mark.gpu
def test_an_unconverged_matrix_is_nan(package, cupy):
    a = cupy.ones((2, 16, 16)) + cupy.diag(cupy.arange(16.0))
    for solver in (package.Jacobi(sweeps=1), package.SyevjBatched(sweeps=1)):
        assert cupy.isnan(solver.solve(a)[0]).all()


@pytest.mark.gpu
def test_the_fused_rule_is_the_rule(package, cupy):
    values = cupy.asarray([[-2.0, -1.0, 0.0, 0.25, 0.25, 3.0]])
    pointwise = MaskedGap(), specgrad.ExactGap(), specgrad.BroadenedGap(), specgrad.ClippedGap()
    # A series magnifies the rounding of its ratio by the number of its terms.
    series = (
        specgrad.PowerIterationGap(),
        specgrad.BalancedPowerIterationGap(),
        specgrad.TaylorGap(),
        specgrad.PadeGap(1e-2),
    )
    for rules, rounding in ((pointwise, 1e-14), (series, 1e-12)):
        for rule in rules:
            fused = package.FusedGap(rule).matrix(values)
            cupy.testing.assert_allclose(fused, rule.matrix(values), rtol=rounding)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:cupyx.allow_synchronize:UserWarning")  # it says that it is experimental
@pytest.mark.parametrize("n", [3, 16, 40])
def test_nothing_waits_for_the_device(package, cupy, n):
    cupyx = importlib.import_module("cupyx")
    a = cupy.asarray(np.random.default_rng(0).standard_normal((300, n, n)))
    a = a @ a.swapaxes(-1, -2)
    g = cupy.ones_like(a)
    cotangents = {package.eigh: (None, g), package.inv_sqrtm: g, package.zca_whiten: (g, None, None)}
    with cupyx.allow_synchronize(False):
        for function, cotangent in cotangents.items():
            _, pullback = package.vjp(function, a)
            pullback(cotangent)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["Jacobi", "Syevd", "SyevjBatched"])
def test_another_stream_is_respected(package, cupy, name):
    a = cupy.asarray(np.diag(np.arange(1.0, 5.0)))
    cupy.cuda.Device().synchronize()  # a stream that does not block would not wait for the copy
    with cupy.cuda.Stream(non_blocking=True) as stream:
        values = package.eigvalsh(cupy.stack([a] * 300), solver=getattr(package, name)())
    stream.synchronize()
    np.testing.assert_allclose(values.get()[-1], [1, 2, 3, 4], atol=1e-12)


@pytest.mark.gpu
def test_pytorch_uses_these_solvers_without_a_copy(package):
    torch = obtain("torch-cuda").xp
    specgrad_torch = importlib.import_module("specgrad_torch")
    seeded = torch.Generator("cuda").manual_seed(0)
    a = torch.randn(20, 40, 40, device="cuda", dtype=torch.float64, generator=seeded)
    a = (a @ a.mT + torch.eye(40, device="cuda")).requires_grad_()
    through = specgrad_torch.inv_sqrtm(a, solver=package.ThroughDLPack())
    torch.testing.assert_close(through, specgrad_torch.inv_sqrtm(a))
    g = torch.randn_like(a)
    ours, theirs = (
        torch.autograd.grad(specgrad_torch.inv_sqrtm(a, solver=solver), a, g)[0]
        for solver in (package.ThroughDLPack(), DenseEigh())
    )
    torch.testing.assert_close(ours, theirs)

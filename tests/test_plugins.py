"""Anyone's frozen dataclass is a solver, a gap rule or a truncation; a package publishes a solver."""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from array_api_compat import array_namespace

from specgrad import DenseEigh, Fallback, MaxRank, Refined, eigh, eigvalsh, expm, vjp

PACKAGE = Path(__file__).parent / "plugin_package"


@dataclass(frozen=True)
class Scaled:
    """A solver that claims `factor` times the eigenvalues, so that its use can be seen."""

    factor: float

    def solve(self, a):
        values, vectors = array_namespace(a).linalg.eigh(a)
        return self.factor * values, vectors


@dataclass(frozen=True)
class Halved:
    """A gap rule: half of ``1/gap``, so that its use can be seen, and 0 at ties."""

    def matrix(self, values):
        xp = array_namespace(values)
        gaps = values[..., None, :] - values[..., :, None]
        tied = gaps == 0
        return xp.where(tied, xp.zeros_like(gaps), 0.5 / xp.where(tied, xp.ones_like(gaps), gaps))

    def bound(self, values):
        xp = array_namespace(values)
        return xp.full(values.shape[:-1], xp.inf, dtype=values.dtype)


@dataclass(frozen=True)
class AboveMean:
    """A truncation: eigenvalues above their mean."""

    def keep(self, a, values, vectors):
        xp = array_namespace(values)
        return values > xp.mean(values, axis=-1, keepdims=True)


MATRIX = np.array([[4.0, 0.5, 0.0], [0.5, 3.0, 0.5], [0.0, 0.5, 0.0]])
WEIGHT = np.array([[0.0, 1.0, 2.0], [1.0, 3.0, 4.0], [2.0, 4.0, 5.0]])


def projector_gradient(**options):
    """Of ``<WEIGHT, P>``, P the projector on the eigenvectors that are kept, on NumPy."""
    truncation = options.pop("truncation", MaxRank(1))
    (_, vectors, _), pullback = vjp(eigh, MATRIX, truncation=truncation, **options)
    return pullback((None, 2 * WEIGHT @ vectors, None))[0]


def finite_difference_gradient(rank):
    def loss(matrix):
        vectors = np.linalg.eigh(matrix).eigenvectors[:, 3 - rank :]
        return np.sum(WEIGHT * (vectors @ vectors.T))

    step = np.finfo(np.float64).eps ** (1 / 3)
    gradient = np.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            direction = np.zeros((3, 3))
            direction[i, j] += 0.5
            direction[j, i] += 0.5
            slope = loss(MATRIX + step * direction) - loss(MATRIX - step * direction)
            gradient[i, j] = slope / (2 * step)
    return gradient


def test_a_users_solver():
    np.testing.assert_allclose(
        eigh(MATRIX, solver=Scaled(2.0)).eigenvalues, 2 * np.linalg.eigvalsh(MATRIX), rtol=1e-14
    )
    # The derivative sees the solver's eigenvalues: gaps twice as wide.
    scaled = projector_gradient(solver=Scaled(2.0))
    np.testing.assert_allclose(2 * scaled, finite_difference_gradient(1), atol=1e-8)


def test_a_users_gap_rule():
    halved = projector_gradient(gap=Halved())
    np.testing.assert_allclose(2 * halved, finite_difference_gradient(1), atol=1e-8)


@pytest.mark.parametrize("truncation", [AboveMean(), AboveMean() & MaxRank(2), MaxRank(2) & AboveMean()])
def test_a_users_truncation_alone_and_combined(truncation):
    assert int(eigh(MATRIX, truncation=truncation).rank) == 2
    np.testing.assert_allclose(
        projector_gradient(truncation=truncation), finite_difference_gradient(2), atol=1e-8
    )


def torch_gradient(wrap):
    """The gradient by autograd with all three values of the user, where `wrap` may compile the loss."""
    torch = pytest.importorskip("torch")
    specgrad_torch = pytest.importorskip("specgrad_torch")

    def loss(a, weight):
        vectors = specgrad_torch.eigh(
            a, solver=Scaled(2.0), gap=Halved(), truncation=AboveMean()
        ).eigenvectors
        return torch.sum(weight * (vectors @ vectors.mT))

    a = torch.tensor(MATRIX, requires_grad=True)
    wrap(loss)(a, torch.tensor(WEIGHT)).backward()
    return a.grad.numpy()


@dataclass(frozen=True)
class Answering:
    """A solver with an answer of its own."""

    answer: Callable

    def solve(self, a):
        return self.answer(a)


WRONG_ANSWERS = {
    "eigenvectors alone": lambda a: array_namespace(a).linalg.eigh(a)[1],
    "three things": lambda a: (*array_namespace(a).linalg.eigh(a), 0),
    "nothing": lambda a: None,
    "the wrong order": lambda a: tuple(reversed(array_namespace(a).linalg.eigh(a))),
    "lists": lambda a: ([1.0, 2.0, 3.0], [[1.0, 0.0, 0.0]] * 3),
    "a list of eigenvalues": lambda a: ([1.0, 2.0, 3.0], array_namespace(a).linalg.eigh(a)[1]),
    "no eigenvalues": lambda a: (None, array_namespace(a).linalg.eigh(a)[1]),
    "too few eigenvalues": lambda a: (a[0, :1], array_namespace(a).linalg.eigh(a)[1]),
    "too few eigenvectors": lambda a: (a[0, :], array_namespace(a).linalg.eigh(a)[1][:, :1]),
    "complex eigenvalues": lambda a: (a[0, :] * 1j, array_namespace(a).linalg.eigh(a)[1]),
}


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("answer", WRONG_ANSWERS)
def test_a_users_solver_that_answers_with_anything_else(backend, answer, precision):
    a, solver = backend.array(MATRIX.astype(precision)), Answering(WRONG_ANSWERS[answer])
    message = r"Answering.* answered with a .* are needed: real eigenvalues of shape"
    for each in (solver, Fallback(solver, DenseEigh()), Refined(solver)):
        for function in (eigh, expm, eigvalsh):
            with pytest.raises(TypeError, match=message):
                function(a, solver=each)


def test_a_users_solver_that_answers_in_another_library():
    tensor = pytest.importorskip("torch").as_tensor(MATRIX)
    module = importlib.import_module("specgrad_torch")
    solver = Answering(lambda a: np.linalg.eigh(np.asarray(a)))
    for function in (module.eigh, module.expm):
        with pytest.raises(TypeError, match=r"answered with a ndarray .* and for a Tensor"):
            function(tensor, solver=solver)


@dataclass(frozen=True)
class Keeping:
    """A truncation with marks of its own."""

    marks: Callable

    def keep(self, a, values, vectors):
        return self.marks(values)


WRONG_MARKS = {
    "how many": lambda values: array_namespace(values).sum(values, axis=-1),
    "numbers": lambda values: values,
    "those of one matrix": lambda values: values[0, :] > 1.0,
    "nothing": lambda values: None,
    "a list": lambda values: [True, True, False],
}


@pytest.mark.parametrize("marks", WRONG_MARKS)
def test_a_users_truncation_that_marks_anything_else(backend, marks):
    a, truncation = backend.array(np.stack([MATRIX, MATRIX])), Keeping(WRONG_MARKS[marks])
    for function in (eigh, expm):
        with pytest.raises(TypeError, match=r"Keeping.* gave a .* eigenvalues' shape, \(2, 3\), is needed"):
            function(a, truncation=truncation)


def test_a_users_values_under_autograd():
    gradient = torch_gradient(wrap=lambda loss: loss)
    np.testing.assert_allclose(4 * gradient, finite_difference_gradient(2), atol=1e-8)


def test_a_users_values_under_compile():
    torch = pytest.importorskip("torch")
    gradient = torch_gradient(wrap=torch.compile(fullgraph=True, backend="aot_eager"))
    np.testing.assert_allclose(4 * gradient, finite_difference_gradient(2), atol=1e-8)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder into which the package that publishes a solver is installed."""
    pytest.importorskip("hatchling")
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    options = ["--no-deps", "--no-build-isolation", "--target", str(target), str(PACKAGE)]
    subprocess.run([*pip, *options], check=True, capture_output=True)
    return target


def specgrad_command(installed, *arguments):
    paths = [str(installed), str(PACKAGE.parent.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "COLUMNS": "100"}
    command = [sys.executable, "-c", "from specgrad.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_an_installed_solver_is_listed(installed):
    pytest.importorskip("typer")
    done = specgrad_command(installed, "info")
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("Negated"))
    assert line.split() == ["Negated", "specgrad-negated", "1.2.3"]


def test_an_installed_solver_has_a_name_on_the_command_line(installed, tmp_path):
    pytest.importorskip("typer")
    figure = tmp_path / "figure.png"
    done = specgrad_command(installed, "demo", "--solver", "Negated", "--steps", "1", "--output", str(figure))
    assert done.returncode == 0, done.stderr
    assert "Negated(solver=DenseEigh())" in done.stdout
    assert figure.exists()

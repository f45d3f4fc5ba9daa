"""The command line: the demo on both backends, what it prints and what it compares; `info`; its errors."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("sklearn")

from typer.testing import CliRunner

from specgrad import DenseEigh, DenseSVD, gaps, truncation
from specgrad.cli.app import app
from specgrad.cli.comparison import DOMINANT, Case, closed_form, compare, digits_cases
from specgrad.cli.learning import Backend, Split, descend, load_splits, loss_and_gradient

BACKENDS = list(Backend)


@pytest.fixture(params=BACKENDS, ids=[backend.value for backend in BACKENDS])
def learner(request):
    """What the demo can learn with."""
    if not request.param.is_installed():
        pytest.skip(f"{request.param.value} is not installed")
    return request.param


def run(*arguments):
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "120"})


def accuracies(output):
    before, after = (
        float(re.search(rf"{when}: +([0-9.]+)%", output).group(1)) for when in ("before", "after")
    )
    return before, after


def test_demo_learns_and_saves_a_figure(tmp_path):
    figure = tmp_path / "figure.png"
    result = run("demo", "--output", str(figure))
    assert result.exit_code == 0, result.output
    assert figure.read_bytes().startswith(b"\x89PNG")
    before, after = accuracies(result.output)
    # Far beyond what chance would give on some 500 images.
    assert after >= before + 3


def test_demo_runs_on_each_backend(learner, tmp_path):
    result = run("demo", "--backend", learner.value, "--steps", "3", "--output", str(tmp_path / "figure.png"))
    assert result.exit_code == 0, result.output
    for rule in (name for name in gaps.__all__ if name.endswith("Gap")):
        assert len(re.findall(rf"^ *{rule}\b", result.output, re.MULTILINE)) == len(digits_cases())
    before, after = accuracies(result.output)
    assert after >= before


def test_demo_takes_a_solver_by_name(tmp_path):
    arguments = ("demo", "--solver", "DenseSVD", "--steps", "1", "--output", str(tmp_path / "figure.png"))
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert repr(DenseSVD()) in result.output


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--solver", "Dense", "No solver is called 'Dense'; there are DenseEigh, DenseSVD"),
        ("--output", "nowhere/figure.png", "There is no folder nowhere"),
        ("--output", "figure.abc", "A figure cannot be saved as .abc; use one of"),
        ("--output", ".", "is a folder; name a file in it, such as specgrad-demo.png"),
    ],
)
def test_demo_explains_what_is_wrong_with_an_option(option, value, sentence):
    result = run("demo", option, value)
    assert result.exit_code == 2
    assert sentence in " ".join(result.output.replace("│", " ").split())


def test_descent_is_the_same_on_each_backend(learner):
    digits = load_splits()
    steps = list(descend(digits, learner, DenseEigh(), 5))
    reference = list(descend(digits, Backend.NUMPY, DenseEigh(), 5))
    assert steps[-1].loss < steps[0].loss
    np.testing.assert_allclose(steps[-1].weights, reference[-1].weights, rtol=1e-10)


def test_gradient_of_the_loss_agrees_with_finite_differences(learner):
    data = Split(*(part[:200] for part in load_splits().train))
    gradient_of = loss_and_gradient(learner)
    rng = np.random.default_rng(1)
    point, direction = 0.2 * rng.standard_normal((2, data.pixels.shape[1]))
    _, gradient = gradient_of(point, data, DenseEigh())
    step = np.finfo(np.float64).eps ** (1 / 3)
    after, before = (gradient_of(point + sign * step * direction, data, DenseEigh())[0] for sign in (1, -1))
    np.testing.assert_allclose(gradient @ direction, (after - before) / (2 * step), rtol=1e-7)


def test_splits_share_no_image():
    digits = load_splits()
    images = [np.unique(part.pixels, axis=0) for part in digits]
    assert len(np.unique(np.concatenate(images), axis=0)) == sum(map(len, images))


def test_closed_form_agrees_with_finite_differences():
    rng = np.random.default_rng(2)
    basis, _ = np.linalg.qr(rng.standard_normal((5, 5)))
    case = Case("", basis * np.asarray([1.0, 2.0, 2.0, 4.0, 5.0]) @ basis.T, 1, 3)
    weight, direction = (part + part.T for part in rng.standard_normal((2, 5, 5)))

    def loss(matrix):
        subspace = np.linalg.eigh(matrix).eigenvectors[:, case.start : case.stop]
        return np.sum(weight * (subspace @ subspace.T))

    step = np.finfo(np.float64).eps ** (1 / 3)
    slope = (loss(case.matrix + step * direction) - loss(case.matrix - step * direction)) / (2 * step)
    np.testing.assert_allclose(np.sum(closed_form(case, weight) * direction), slope, rtol=1e-8)


@pytest.mark.parametrize("case", digits_cases(), ids=lambda case: case.title)
def test_comparison_shows_the_default_right_and_every_bound_kept(case):
    rows = {row.name: row for row in compare(case, DenseEigh())}
    size = len(case.matrix)
    assert rows["MaskedGap"].error < size * np.finfo(np.float64).eps * 10
    for row in rows.values():
        if row.bound is not None:
            assert row.largest_pair <= row.bound * (1 + 1e-12)


def test_comparison_shows_what_an_exact_tie_does():
    *_, tie = digits_cases()
    values = np.diag(tie.matrix)
    assert np.sum(values[-DOMINANT:, None] == values[-DOMINANT:]) == DOMINANT + 2
    failed = {row.name for row in compare(tie, DenseEigh()) if not row.is_finite}
    assert {"ExactGap", "TopNGap"} <= failed <= {"ExactGap", "TopNGap", "torch.linalg.eigh"}


def test_info_lists_what_there_is_to_choose_from_and_backends():
    result = run("info")
    assert result.exit_code == 0, result.output
    for name in ("DenseEigh", "DenseSVD", "PowerIteration", *gaps.__all__):
        assert (name in result.output) == (name not in ("GapRule", "MaskedCut", "RoundingFloor"))
    for name in set(truncation.__all__) - {"Truncation"}:
        assert (f"\n{name} " in result.output) == (name not in ("Both", "Either")), name
    assert re.search(rf"^numpy +{re.escape(np.__version__)}", result.output, re.MULTILINE)
    for backend in ("array_api_strict", "torch", "cupy", "jax"):
        assert re.search(rf"^{backend} +(\d|not installed)", result.output, re.MULTILINE)


def test_a_missing_extra_is_one_sentence():
    # A None among the modules makes their import fail, as if they were not there.
    code = "import sys; sys.modules['matplotlib'] = None; from specgrad.cli import main"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ), check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert 'pip install "specgrad[demo]"' in done.stderr
    assert "matplotlib" in done.stderr

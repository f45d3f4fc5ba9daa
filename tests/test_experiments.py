"""What the numerical experiments claim, at sizes that take seconds."""

import math
from importlib import import_module

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("torch")
pytest.importorskip("rich")
pytest.importorskip("typer")
pytest.importorskip("sklearn")

import numpy as np
from rich.console import Console

from experiments._gradients import EXACT
from experiments._harness import execute
from experiments._options import Options
from experiments.steps import PUBLISHED


@pytest.fixture(scope="module")
def rows_of(tmp_path_factory):
    """The rows of a reduced run of an experiment, computed once; its tables and figures are made too."""
    done = {}

    def run(name):
        if name not in done:
            folder = tmp_path_factory.mktemp(name)
            experiment = import_module(f"experiments.{name}").EXPERIMENT
            done[name] = execute(name, experiment, Options(reduced=True), folder, Console(quiet=True))
            assert "| --- |" in (folder / f"{name}.md").read_text()
            assert {path.suffix for path in folder.iterdir()} <= {".csv", ".json", ".md", ".png"}
        return done[name]

    return run


def test_the_published_numbers_of_steps_belong_to_five_per_cent(rows_of):
    rows = [row for row in rows_of("steps") if row.get("tolerance")]
    found = {(row["tolerance"], row["ratio"]): (row["formula"], row["counted"]) for row in rows}
    for ratio, published in PUBLISHED.items():
        assert found[0.05, ratio] == (published, published)
        assert found[0.01, ratio] > (published, published)


def test_a_covariance_behind_the_first_convolution_has_rank_nine(rows_of):
    ranks = {row["place"]: row["rank"] for row in rows_of("steps") if row.get("place")}
    assert ranks["first"] == 9
    assert ranks["second"] > 50


def test_taylor_and_pade_errors(rows_of):
    error = {(r["rule"], r["dtype"], r["ratio"]): r["error"] for r in rows_of("approximation")}
    for ratio in (0.9, 0.99, 0.999):
        assert error["Taylor, degree 100", "float64", ratio] == pytest.approx(
            ratio**101 / (1 - ratio), rel=1e-6
        )
    assert error["Taylor, degree 100", "20 digits", 0.7] == pytest.approx(0.7**101 / 0.3, rel=1e-3)
    assert error["Pade [50/50]", "float64", 0.999] <= 3e-10
    assert error["broadened", "float64", 0.999] < error["Pade [50/50]", "float64", 0.999]


def test_no_rule_breaks_its_bound_and_bounded_rules_reach_theirs(rows_of):
    rows = [row for row in rows_of("bounds") if row["dtype"] != "20 digits"]
    for row in rows:
        assert row["coefficient"] <= row["bound"] * (1 + 1e-5)
        if math.isfinite(row["bound"]):
            assert row["coefficient"] > row["bound"] / 2


def test_the_published_bound_of_pade_is_the_rounding_of_one_sum(rows_of):
    sums = {row["rule"]: row["over_eps"] for row in rows_of("bounds") if row["dtype"] == "20 digits"}
    assert sums["from the constant up"] == pytest.approx(-6.00e36, rel=1e-2)
    assert sums["from the highest power down"] > 0


def test_power_iteration_converges_at_the_ratio_within_its_bound(rows_of):
    rows = rows_of("convergence")
    for row in rows:
        assert row["size"] <= row["tighter"] * (1 + 1e-12) < row["bound"]
    for ratio in {row["ratio"] for row in rows}:
        errors = {
            row["steps"]: row["error"] for row in rows if (row["rule"], row["ratio"]) == ("published", ratio)
        }
        sooner, later = [steps for steps, error in errors.items() if 1e-11 < error < 0.3][-2:]
        rate = (errors[later] / errors[sooner]) ** (1 / (later - sooner))
        assert rate == pytest.approx(ratio, rel=0.02)


def test_the_exact_rule_is_flat_at_rounding_and_others_are_not(rows_of):
    rows = rows_of("gap")
    for row in rows:
        eps = np.finfo(row["dtype"]).eps
        if row["rule"] == EXACT:
            assert row["error"] < 50 * eps
        if row["rule"] == "masked (default)" and row["loss"] == "subspace of the pair":
            assert row["error"] < 50 * eps
        if row["rule"] in ("torch.linalg.eigh", "analytic") and row["gap"] == 0:
            assert row["error"] == math.inf
        if row["rule"] == "power iteration" and row["gap"] < 1e-2:
            assert row["error"] > 1e-2


def test_single_eigenvectors_lose_what_their_condition_takes(rows_of):
    for row in rows_of("gap"):
        if (row["loss"], row["dtype"], row["rule"]) == ("single eigenvector", "float64", "masked (default)"):
            assert row["error"] < 100 * np.finfo("float64").eps / row["gap"]


def test_near_white_input_only_the_exact_rule_is_right(rows_of):
    white = [row for row in rows_of("white") if row["distance"] == 0]
    for row in white:
        if row["rule"] == EXACT:
            assert row["error"] < 10 * np.finfo(row["dtype"]).eps
        else:
            assert row["error"] > 0.5


def test_refinement_and_jacobi_find_small_eigenvalues_that_lapack_loses(rows_of):
    worst = [row for row in rows_of("forward") if row["matrices"] == "scaled" and row["dtype"] == "float64"]
    hardest = max(row["condition"] for row in worst)
    errors = {row["solver"]: row["eigenvalue_error"] for row in worst if row["condition"] == hardest}
    assert errors["refined, 2 steps"] < 1e-15
    assert errors["Jacobi"] < 1e-13
    assert errors["QR (ev)"] > 1e-6

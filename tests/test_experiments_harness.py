"""Cells that are computed once, and what an experiment leaves on disk."""

import csv
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("torch")
pytest.importorskip("rich")
pytest.importorskip("typer")
pytest.importorskip("sklearn")

import matplotlib.pyplot as plt
from rich.console import Console
from typer.testing import CliRunner

from experiments.__main__ import app
from experiments._harness import Cell, Experiment, Table, execute
from experiments._options import Data, Network, Options

OPTIONS = Options(reduced=True)


class KilledError(Exception):
    """Stands for whatever ends a run."""


def squares(calls, stop_at=None):
    """An experiment of five cells that notes which it computes, and is killed at one."""

    def compute(number):
        if number == stop_at:
            raise KilledError
        calls.append(number)
        return [{"number": number, "square": number**2, "half": number / 2, "text": "as it is"}]

    return Experiment(
        "squares",
        lambda options: [Cell(f"number {n}", partial(compute, n)) for n in range(5)],
        lambda rows: [Table("Squares", ("number", "square"), [(r["number"], r["square"]) for r in rows])],
        draw,
    )


def draw(rows):
    figure, axes = plt.subplots()
    axes.plot([row["square"] for row in rows])
    return {"": figure, "again": figure}


def run(experiment, out, options=OPTIONS):
    return execute("squares", experiment, options, out, Console(quiet=True))


def test_a_killed_run_continues_from_its_last_finished_cell(tmp_path):
    first, second, third = [], [], []
    with pytest.raises(KilledError):
        run(squares(first, stop_at=3), tmp_path)
    rows = run(squares(second), tmp_path)
    assert (first, second) == ([0, 1, 2], [3, 4])
    assert run(squares(third), tmp_path) == rows
    assert third == []


def test_rows_come_back_as_they_were(tmp_path):
    fresh = run(squares([]), tmp_path)
    assert fresh == run(squares([]), tmp_path)
    assert fresh[3] == {"number": 3, "square": 9, "half": 1.5, "text": "as it is"}


def test_what_is_left_on_disk(tmp_path):
    run(squares([]), tmp_path)
    with (tmp_path / "squares.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["cell"] for line in lines] == [f"number {n}" for n in range(5)]
    record = json.loads((tmp_path / "squares.json").read_text())
    assert record["options"]["reduced"] is True
    text = (tmp_path / "squares.md").read_text()
    assert record["date"] in text
    assert record["machine"] in text
    assert "| 3 | 9 |" in text
    for figure in ("squares.png", "squares-again.png"):
        assert (tmp_path / figure).read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob("*.part"))


OTHERS = {
    "full size": Options(),
    "epochs": Options(reduced=True, epochs=3),
    "data": Options(Data.cifar10, reduced=True),
    "folder": Options(root=Path("birds"), reduced=True),
    "network": Options(reduced=True, network=Network.small),
    "device": Options(reduced=True, device="cuda"),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_results_of_other_options_are_not_continued(other, tmp_path):
    run(squares([]), tmp_path)
    with pytest.raises(ValueError, match="another folder with --out"):
        run(squares([]), tmp_path, other)


def test_images_of_another_size_are_not_continued(tmp_path):
    birds = Options(Data.folder, Path("birds"), reduced=True)
    run(squares([]), tmp_path, birds)
    with pytest.raises(ValueError, match="another folder with --out"):
        run(squares([]), tmp_path, replace(birds, side=64))


def test_seeds_and_networks_are_named(tmp_path):
    def compute(seed):
        return [{"seed": seed, "network": "small"}] if seed < 3 else [{"other": 1}]

    experiment = Experiment(
        "seeds",
        lambda options: [Cell(f"seed {n}", partial(compute, n)) for n in range(4)],
        lambda rows: [],
    )
    for _ in range(2):  # computed, and read back
        run(experiment, tmp_path)
        assert "Network small; seeds 0, 1, 2." in (tmp_path / "squares.md").read_text()


def test_workers_compute_the_same(tmp_path):
    experiment = Experiment(
        "squares",
        lambda options: [Cell(f"number {n}", partial(row_of, n)) for n in range(3)],
        lambda rows: [],
    )
    alone = run(experiment, tmp_path / "alone")
    assert run(experiment, tmp_path / "together", Options(reduced=True, workers=2)) == alone


def row_of(number):
    return [{"number": number, "square": number**2}]


def test_a_name_that_is_not_known_gets_the_list(tmp_path):
    result = CliRunner().invoke(app, ["whitening", "--out", str(tmp_path)], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert "There is no experiment 'whitening'; there are approximation, bounds," in result.output


def test_missing_data_are_one_sentence(tmp_path):
    arguments = ["stability", "--data", "cifar10", "--root", str(tmp_path / "nowhere"), "--reduced"]
    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "cifar-10-binary.tar.gz" in result.output
    assert "Traceback" not in result.output


def squared_unless_three(number):
    if number == 3:
        raise KilledError
    return [{"number": number, "square": number**2}]


def test_an_error_in_one_worker_costs_no_finished_cell(tmp_path):
    cells = [Cell(f"number {n}", partial(squared_unless_three, n)) for n in range(4)]
    experiment = Experiment("squares", lambda options: cells, lambda rows: [])
    with pytest.raises(KilledError):
        run(experiment, tmp_path, replace(OPTIONS, workers=2))
    with (tmp_path / "squares.csv").open(newline="") as file:
        finished = {line["cell"] for line in csv.DictReader(file)}
    assert finished >= {"number 0", "number 1"}


def test_results_without_their_options_are_not_continued(tmp_path):
    run(squares([]), tmp_path)
    (tmp_path / "squares.json").unlink()
    with pytest.raises(ValueError, match=r"squares\.json, which says of which options, is not beside it"):
        run(squares([]), tmp_path)


def test_a_device_that_is_not_there_is_one_sentence(tmp_path):
    result = CliRunner().invoke(app, ["steps", "--device", "nonsense", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "--device" in result.output
    assert not list(tmp_path.iterdir())


def test_a_folder_may_have_brackets_in_its_name(tmp_path):
    folder = tmp_path / "[old]" / "a[" / "b]"
    options = ["cifar100", "--data", "cifar100", "--root", str(folder), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, options)
    assert result.exit_code == 1
    assert "[old]" in result.output

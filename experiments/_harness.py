"""What every experiment shares: cells that are computed once, tables, figures, and where results go.

An experiment is a file of this folder whose name has no underscore in front, with one value, ``EXPERIMENT``.
Its work is cut into cells. Each finished cell is written to a CSV before the next one starts, so a run that
was killed continues from its last finished cell.
"""

import csv
import json
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import rich.table
import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from experiments._figures import STYLE
from experiments._options import Options

__all__ = ["Cell", "Experiment", "Row", "Table", "execute"]

Row = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """A piece of work: `compute` gives rows with the same columns in all cells of an experiment.

    Its name tells it from the others of the experiment. With several workers `compute` is sent to another
    process: make it a `functools.partial` of a function of a module.
    """

    name: str
    compute: Callable[[], list[Row]]


@dataclass(frozen=True)
class Table:
    """A table for people: what was published beside what was measured."""

    title: str
    columns: Sequence[str]
    lines: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Experiment:
    """One table or figure of a paper, or a new one.

    Parameters
    ----------
    title : str
        One sentence: what is measured.
    cells : callable, Options -> iterable of Cell
        The work, cut where a killed run may continue.
    tables : callable, list of Row -> list of Table
        What to print; rows are those of all finished cells, computed now or read back from the CSV.
    figures : callable, list of Row -> dict of str to Figure, optional
        Figures by the ending of their name: ``""`` for ``NAME.png``, ``"curves"`` for ``NAME-curves.png``.
    """

    title: str
    cells: Callable[[Options], Iterable[Cell]]
    tables: Callable[[list[Row]], list[Table]]
    figures: Callable[[list[Row]], dict[str, Figure]] = field(default=lambda rows: {})


def execute(name: str, experiment: Experiment, options: Options, out: Path, console: Console) -> list[Row]:
    """Compute what is missing; write ``NAME.csv``, ``NAME.json``, ``NAME.md`` and the figures to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    record = _record(out / f"{name}.json", out / f"{name}.csv", options)
    results = _Results(out / f"{name}.csv")
    cells = list(experiment.cells(options))
    missing = [cell for cell in cells if cell.name not in results.finished]
    console.rule(f"{name}: {experiment.title}")
    if len(missing) < len(cells):
        console.print(f"{len(cells) - len(missing)} of {len(cells)} cells were finished before.")
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    ) as progress:
        task = progress.add_task(name, total=len(missing))
        for cell, rows in _computed(missing, options.workers):
            results.add(cell.name, rows)
            progress.update(task, advance=1, description=f"{name} {cell.name}")
    rows = results.rows([cell.name for cell in cells])
    _publish(name, experiment, rows, record, out, console)
    return rows


def _computed(cells: list[Cell], workers: int) -> Iterator[tuple[Cell, list[Row]]]:
    """Each cell with its rows, as they are finished."""
    if workers <= 1:
        for cell in cells:
            yield cell, cell.compute()
        return
    with ProcessPoolExecutor(
        workers, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        futures = {pool.submit(cell.compute): cell for cell in cells}
        failure: BaseException | None = None
        for future in as_completed(futures):
            if future.cancelled():
                continue
            error = future.exception()
            if error is None:
                yield futures[future], future.result()
            elif failure is None:
                # What has been begun is kept, and then the error is raised.
                failure = error
                for other in futures:
                    other.cancel()
        if failure is not None:
            raise failure


class _Results:
    """The rows of finished cells, kept in a CSV."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._by_cell: dict[str, list[Row]] = {}
        if path.exists():
            with path.open(newline="") as file:
                for line in csv.DictReader(file):
                    self._by_cell.setdefault(line.pop("cell"), []).append(
                        {k: _parsed(v) for k, v in line.items()}
                    )

    @property
    def finished(self) -> set[str]:
        return set(self._by_cell)

    def add(self, cell: str, rows: list[Row]) -> None:
        self._by_cell[cell] = rows
        columns = list(
            dict.fromkeys(column for kept in self._by_cell.values() for row in kept for column in row)
        )
        # Replaced as a whole, so that the file never holds half a cell.
        unfinished = self._path.with_suffix(".csv.part")
        with unfinished.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["cell", *columns])
            writer.writeheader()
            for name, kept in self._by_cell.items():
                writer.writerows({"cell": name, **row} for row in kept)
        os.replace(unfinished, self._path)

    def rows(self, cells: list[str]) -> list[Row]:
        """The rows of these cells, in their order."""
        return [row for cell in cells for row in self._by_cell[cell]]


def _parsed(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _record(path: Path, results: Path, options: Options) -> dict[str, Any]:
    """When, where and with which options results were begun; raise if it was with others."""
    if results.exists():
        if not path.exists():
            raise ValueError(
                f"{results} holds results, and {path.name}, which says of which options, is not beside it: "
                "give another folder with --out, or delete the file to start again."
            )
        record: dict[str, Any] = json.loads(path.read_text())
        if record["options"] != options.decisive:
            raise ValueError(
                f"{results} holds results of {record['options']}, and this run has {options.decisive}. Give "
                "the same options to continue it, another folder with --out, or delete the file to start "
                "again."
            )
        return record
    record = {"date": str(date.today()), "machine": _machine(), "options": options.decisive}
    path.write_text(json.dumps(record, indent=1) + "\n")
    return record


def _machine() -> str:
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}, NumPy {np.__version__}"
    )


def _publish(
    name: str, experiment: Experiment, rows: list[Row], record: dict[str, Any], out: Path, console: Console
) -> None:
    """Print the tables, and write them as Markdown beside the figures."""
    device = record["options"]["device"]
    pieces = [f"{record['date']}; {record['machine']}{'' if device == 'cpu' else f', on {device}'}."]
    if settings := _settings(rows):
        console.print(settings)
        pieces.append(settings)
    for table in experiment.tables(rows):
        lines = [[_shown(entry) for entry in line] for line in table.lines]
        printed = rich.table.Table(*table.columns, title=table.title, title_justify="left")
        for line in lines:
            printed.add_row(*line)
        console.print(printed)
        head = [f"| {' | '.join(table.columns)} |", "|" + " --- |" * len(table.columns)]
        pieces.append(
            "\n".join([f"**{table.title}**", "", *head, *(f"| {' | '.join(line)} |" for line in lines)])
        )
    (out / f"{name}.md").write_text("\n\n".join(pieces) + "\n")
    with matplotlib.rc_context(STYLE):
        for ending, figure in experiment.figures(rows).items():
            path = out / (f"{name}-{ending}.png" if ending else f"{name}.png")
            figure.savefig(path, dpi=120)
            plt.close(figure)
            console.print(f"figure: {path}")


def _settings(rows: list[Row]) -> str:
    """One line on which networks and seeds the rows are of, empty if they do not say."""
    said = []
    for column in ("network", "seed"):
        # A CSV leaves a column empty in rows of cells that do not have it.
        values = list(dict.fromkeys(row[column] for row in rows if row.get(column, "") != ""))
        if values:
            said.append(f"{column}{'s' * (len(values) > 1)} {', '.join(map(str, values))}")
    return "; ".join(said).capitalize() + "." * bool(said)


def _shown(entry: Any) -> str:
    if isinstance(entry, float):
        return "did not converge" if np.isnan(entry) else f"{entry:.3g}"
    return str(entry)

"""Warnings name the place of the caller: not one in this library, an adapter or an array library."""

import warnings

import numpy as np
import pytest

from specgrad import eigvalsh
from specgrad._warn import warn_once

ADAPTER = "def warn(message):\n    warn_once(message, UserWarning)\n"


@pytest.mark.parametrize("package", ["specgrad", "specgrad_of_some_framework", "numpy.linalg"])
def test_a_warning_names_the_caller_of_an_adapter_once_each_place(package, monkeypatch):
    monkeypatch.setattr("specgrad._warn._WARNED", set())
    eigvalsh(np.eye(2))  # so that NumPy is known for a library of arrays
    adapter = {"__name__": f"{package}.module", "warn_once": warn_once}
    exec(compile(ADAPTER, "adapter.py", "exec"), adapter)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        for number in range(2):
            adapter["warn"]("here" if number == 0 else "here again")
        adapter["warn"]("there")
    assert [(str(w.message), w.filename) for w in seen] == [("here", __file__), ("there", __file__)]
    assert seen[1].lineno == seen[0].lineno + 1


def test_filters_may_ask_for_every_warning(monkeypatch):
    monkeypatch.setattr("specgrad._warn._WARNED", set())
    for action, expected in (("ignore", 0), ("always", 3), ("default", 1)):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter(action)
            for number in range(3):
                warn_once(f"number {number}", UserWarning)
        assert len(seen) == expected, action
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(3):
            with pytest.raises(UserWarning, match=f"number {number}"):
                warn_once(f"number {number}", UserWarning)


def test_each_category_warns_at_a_place(monkeypatch):
    monkeypatch.setattr("specgrad._warn._WARNED", set())
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        for category in (UserWarning, RuntimeWarning):
            warn_once("of a category", category)
    assert [w.category for w in seen] == [UserWarning, RuntimeWarning]


def test_it_stays_at_once_whatever_else_looks_at_filters_in_between(monkeypatch):
    monkeypatch.setattr("specgrad._warn._WARNED", set())
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        for number in range(3):
            warn_once(f"number {number}", UserWarning)
            warnings.simplefilter("ignore", ImportWarning)
    assert len(seen) == 1


def test_arrays_of_a_class_of_the_caller_do_not_make_a_library_of_it():
    class Own(np.ndarray):
        pass

    eigvalsh(np.eye(2).view(Own))
    with pytest.warns(UserWarning, match="of the caller") as seen:
        warn_once("from a class of the caller", UserWarning)
    assert seen[0].filename == __file__

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
        warnings.simplefilter("always")
        for _ in range(2):
            adapter["warn"]("here")
        adapter["warn"]("there")
    assert [(str(w.message), w.filename) for w in seen] == [("here", __file__), ("there", __file__)]
    assert seen[1].lineno == seen[0].lineno + 1

"""The table of backends: what is absent skips with a reason, or fails where it is required."""

import numpy as np
import pytest
from backends import BACKENDS, Backend, UnavailableError, obtain, required
from tracing import compile_methods

from specgrad import MaskedGap, eigh, vjp
from specgrad.primitives import Eigh


def absent():
    raise UnavailableError("nothing here")


@pytest.fixture
def table(monkeypatch):
    monkeypatch.setitem(BACKENDS, "numpy", Backend("numpy", absent))
    monkeypatch.setitem(BACKENDS, "torch", Backend("torch", lambda: pytest, on_request="it is slow"))


def test_required_reads_the_environment(monkeypatch):
    monkeypatch.setenv("SPECGRAD_REQUIRE", "numpy, torch")
    assert required() == {"numpy", "torch"}
    monkeypatch.setenv("SPECGRAD_REQUIRE", "")
    assert required() == frozenset()
    monkeypatch.setenv("SPECGRAD_REQUIRE", "tensorflow")
    with pytest.raises(
        ValueError, match="names tensorflow, and the backends are numpy, array_api_strict, torch"
    ):
        required()


def test_an_absent_backend_skips_with_its_reason(monkeypatch, table):
    monkeypatch.setenv("SPECGRAD_REQUIRE", "torch")
    with pytest.raises(pytest.skip.Exception, match="nothing here"):
        obtain("numpy")


def test_a_required_backend_that_is_absent_fails(monkeypatch, table):
    monkeypatch.setenv("SPECGRAD_REQUIRE", "numpy")
    with pytest.raises(pytest.fail.Exception, match="SPECGRAD_REQUIRE names numpy, and nothing here"):
        obtain("numpy")


def test_a_slow_backend_runs_on_request(monkeypatch, table):
    monkeypatch.setenv("SPECGRAD_REQUIRE", "")
    with pytest.raises(pytest.skip.Exception, match="torch runs if SPECGRAD_REQUIRE names it; it is slow"):
        obtain("torch")
    monkeypatch.setenv("SPECGRAD_REQUIRE", "torch")
    assert obtain("torch").name == "torch"


def test_every_row_is_named_by_its_key():
    assert all(name == backend.name for name, backend in BACKENDS.items())
    assert {"numpy", "array_api_strict", "torch", "jax", "jax-jit", "cupy", "torch-cuda"} <= BACKENDS.keys()


def test_a_row_that_traces_compiles_the_derivatives(monkeypatch):
    compiled = []

    def trace(function):
        return lambda value, *arguments: compiled.append(type(value)) or function(value, *arguments)

    compile_methods(trace, monkeypatch)
    _, pullback = vjp(eigh, np.diag([1.0, 2.0]))
    pullback((np.ones(2), np.eye(2)))
    assert compiled == [Eigh, Eigh, MaskedGap]

"""Fixtures of the shared tests: the backend, and the dtype where a test takes one."""

import os

import hypothesis
import pytest
from backends import BACKENDS, obtain
from tracing import compile_methods

# One core's worth of examples: every example runs on every backend.
hypothesis.settings.register_profile(
    "specgrad",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    max_examples=10,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("specgrad")


@pytest.fixture(params=list(BACKENDS))
def backend(request, monkeypatch):
    """Each array library of the table in turn."""
    backend = obtain(request.param)
    if backend.trace:
        compile_methods(backend.trace, monkeypatch)
    return backend


DTYPES = {"dtype": ("float32", "float64", "complex64", "complex128"), "double": ("float64", "complex128")}


@pytest.fixture(params=DTYPES["dtype"])
def dtype(request):
    """The name of a NumPy dtype."""
    return request.param


@pytest.fixture(params=DTYPES["double"])
def double(request):
    """A dtype in double precision."""
    return request.param


def pytest_collection_modifyitems(config, items):
    too_many = set()
    for item in items:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        if "backend" not in parameters:
            continue
        backend = BACKENDS[parameters["backend"]]
        reason = backend.xfails.get(item.originalname)
        if reason:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))
        if backend.trace and not worth_compiling(item):
            too_many.add(item)
    items[:] = [item for item in items if item not in too_many]
    config.hook.pytest_deselected(items=list(too_many))


def worth_compiling(item):
    """Whether a row that compiles runs a test: all options, each with one dtype in turn; no drawn shapes."""
    if item.get_closest_marker("eager"):
        return False
    indices = {name: k for name, k in item.callspec.indices.items() if name != "backend"}
    for name in indices.keys() & DTYPES.keys():
        dtype = indices.pop(name)
        return (dtype + sum(indices.values()) + 1) % len(DTYPES[name]) == 0
    return not hypothesis.is_hypothesis_test(item.obj)

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


DTYPES = {
    "dtype": ("float32", "float64", "complex64", "complex128"),
    "double": ("float64", "complex128"),
    "real": ("float32", "float64"),
}


@pytest.fixture(params=DTYPES["dtype"])
def dtype(request):
    """The name of a NumPy dtype."""
    return request.param


@pytest.fixture(params=DTYPES["double"])
def double(request):
    """A dtype in double precision."""
    return request.param


@pytest.fixture(params=DTYPES["real"])
def real(request):
    """A real dtype."""
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
        if backend.on_request and not worth_compiling(item, whole_functions=backend.trace is not None):
            too_many.add(item)
    items[:] = [item for item in items if item not in too_many]
    config.hook.pytest_deselected(items=list(too_many))


def worth_compiling(item, whole_functions):
    """Whether a row that compiles runs a test: all options, but not each with every dtype.

    Where it compiles whole functions, each with one dtype in turn, and no long loops or drawn shapes; where
    it compiles single operations, each with real and complex numbers of the other precision.
    """
    if whole_functions and item.get_closest_marker("eager"):
        return False
    indices = {name: k for name, k in item.callspec.indices.items() if name != "backend"}
    for name in indices.keys() & DTYPES.keys():
        dtype = indices.pop(name)
        others = sum(indices.values())
        if whole_functions:
            return (dtype + others + 1) % len(DTYPES[name]) == 0
        return (dtype + others) % 2 == 0
    return not (whole_functions and hypothesis.is_hypothesis_test(item.obj))

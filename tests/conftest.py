"""Fixtures of the shared tests: the backend, and the dtype where a test takes one."""

import os

import hypothesis
import pytest
from backends import BACKENDS, obtain

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
def backend(request):
    """Each array library of the table in turn."""
    return obtain(request.param)


@pytest.fixture(params=["float32", "float64", "complex64", "complex128"])
def dtype(request):
    """The name of a NumPy dtype."""
    return request.param


@pytest.fixture(params=["float64", "complex128"])
def double(request):
    """A dtype in double precision."""
    return request.param


def pytest_collection_modifyitems(items):
    for item in items:
        name = getattr(item, "callspec", None) and item.callspec.params.get("backend")
        reason = name and BACKENDS[name].xfails.get(item.originalname)
        if reason:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))

"""JAX on several devices: parts of a batch on each, and programs for a batch of any size."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from backends import required

try:
    import jax  # noqa: F401
except ImportError:
    if "jax" in required():
        raise
    pytest.skip("jax is not installed", allow_module_level=True)

from jax_devices import CHECKS


@pytest.fixture(scope="module")
def outcomes():
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
    script = Path(__file__).with_name("jax_devices.py")
    run = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        cwd=script.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("check", [check.__name__ for check in CHECKS])
def test_on_four_devices(outcomes, check):
    assert not outcomes[check], outcomes[check]

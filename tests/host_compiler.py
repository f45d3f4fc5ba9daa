"""The sources of CUDA kernels, and their bodies compiled for the host."""

import ctypes
import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMPILER = shutil.which("g++")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="g++ is not installed")


def module(name):
    """A module of source strings, without the package around it, which needs a device."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "specgrad_cupy" / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


# Threads that share a matrix take turns, in one order or the other: on a device there is none.
ON_THE_HOST = """
#include <algorithm>
#include <cmath>
#include <limits>
using namespace std;
#define DEVICE inline
#define UNROLL
#define EACH_LANE for ({order}) {{
#define END_LANE }}
"""
UP, DOWN = "int lane = 0; lane < LANES; ++lane", "int lane = LANES - 1; lane >= 0; --lane"


def compiled(code, folder, order=UP):
    source, library = folder / "kernel.cpp", folder / "kernel.so"
    source.write_text(ON_THE_HOST.format(order=order) + code)
    subprocess.run(
        [COMPILER, "-std=c++17", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", source, "-o", library],
        check=True,
    )
    return ctypes.CDLL(str(library))


def pointer(array):
    return array.ctypes.data_as(ctypes.c_void_p)

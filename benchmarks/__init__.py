"""Ratios of time and memory against PyTorch's own: ``python -m benchmarks``."""

import os

# Read when libraries of linear algebra are loaded.
os.environ["OMP_NUM_THREADS"] = "1"

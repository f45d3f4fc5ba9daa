"""Ratios of time and memory against PyTorch's own: ``python -m benchmarks``."""

import os

# Read once, when libraries of linear algebra are loaded, so before NumPy and PyTorch. What is measured is one
# thread, and no other value counts.
os.environ["OMP_NUM_THREADS"] = "1"

"""The tables and figures of both papers, and new ones, recomputed: ``python -m experiments --help``."""

import os

# Read once, when libraries of linear algebra are loaded, so before NumPy and PyTorch: one thread for each
# worker, unless the user says otherwise.
os.environ.setdefault("OMP_NUM_THREADS", "1")

"""The tables and figures of both papers, and new ones, recomputed: ``python -m experiments --help``."""

import os

# Read when libraries of linear algebra are loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

"""The tables and figures of both papers, and new ones, recomputed: ``python -m experiments --help``."""

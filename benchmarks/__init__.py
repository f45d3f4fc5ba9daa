"""Ratios of time and memory against PyTorch's own: ``python -m benchmarks``."""

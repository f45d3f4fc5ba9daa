"""Looks for what the kit needs beyond the library's own dependencies."""

try:
    import hypothesis
    import mpmath  # type: ignore[import-untyped]
except ImportError as error:
    raise ImportError(
        f"specgrad.testing needs hypothesis and mpmath, and {error.name} is missing: install both with "
        "'pip install hypothesis mpmath'."
    ) from error

__all__ = ["hypothesis", "mpmath"]

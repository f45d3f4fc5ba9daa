"""The command line: ``specgrad demo`` and ``specgrad info``."""

try:
    from specgrad.cli.app import main
except ImportError as error:
    raise SystemExit(
        f"The command line needs the demo extra, and {error.name or error} is missing: "
        'pip install "specgrad[demo]".'
    ) from error

__all__ = ["main"]

"""The mathematics of the library in compiled functions, for the rows of the table of backends that trace."""

from collections.abc import Callable
from functools import cache, wraps
from inspect import signature
from typing import Any

from specgrad import gaps, primitives
from specgrad.bind import Evaluate

# The frozen values whose methods compute with arrays, and those methods.
METHODS = {primitives: ("forward", "vjp", "jvp"), gaps: ("matrix", "bound")}
BINDING = Evaluate()


def compile_methods(compile: Callable[..., Any], monkeypatch) -> None:
    """Replace the methods by their compiled forms, each with its value as a constant."""
    for module, names in METHODS.items():
        for name in names:
            for owner in map(vars(module).get, module.__all__):
                if hasattr(owner, name):
                    monkeypatch.setattr(owner, name, compiled(compile, getattr(owner, name)))


@cache
def compiled(compile: Callable[..., Any], method: Callable[..., Any]) -> Callable[..., Any]:
    takes_binding = "binding" in signature(method).parameters
    first = (BINDING,) if takes_binding else ()
    function = compile(lambda value, *arguments: method(value, *first, *arguments))

    @wraps(method)
    def run(value, *arguments):
        return function(value, *(arguments[1:] if takes_binding else arguments))

    return run

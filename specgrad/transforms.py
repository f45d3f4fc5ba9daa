"""Derivatives of this library's functions on plain arrays: no tape, no graph, the primitive's own rule."""

from collections.abc import Callable
from typing import Any

from specgrad._forms import Form
from specgrad._namespace import is_array, namespace
from specgrad._typing import Array, Arrays
from specgrad.bind import Evaluate, Primitive

__all__ = ["jvp", "vjp"]


def vjp(function: Callable[..., Any], /, *args: Any, **options: Any) -> tuple[Any, Callable[..., Arrays]]:
    """The output of a function and its pullback, the vector-Jacobian product.

    Parameters
    ----------
    function : callable
        A function of this library that returns arrays, such as `eigh`.
    *args
        Its positional arguments; those that are arrays are differentiated.
    **options
        Its keyword arguments; they are not differentiated.

    Returns
    -------
    output
        What ``function(*args, **options)`` returns.
    pullback : callable
        ``pullback(cotangents)`` is a tuple with one cotangent for each array argument, in its shape and
        dtype. `cotangents` is a tuple like `output`, with None for zero; or an array, where the output
        is one. Complex cotangents follow ``dL = Re <g, dA>``. It has copies of what it reads, so arguments
        and output may be modified in place.

    Raises
    ------
    TypeError
        If `function` is not one of this library, its only array is given by name, or `cotangents` does not
        match the output in number, array library, or being real.
    ValueError
        If a cotangent has another shape than its output.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import eigvalsh, vjp
    >>> values, pullback = vjp(eigvalsh, np.diag([1.0, 2.0]))
    >>> pullback(np.array([3.0, 4.0]))[0]
    array([[3., 0.],
           [0., 4.]])
    """
    given = tuple(map(Form.of, _array_arguments(args, options)))
    recorder = _Recorder()
    output = _on(recorder, function)(*args, **options)
    primitive, arrays, outputs = recorder.call(function)
    unread = getattr(primitive, "unread_outputs", ())
    arrays = tuple(map(_copy, _only_read(arrays, getattr(primitive, "unread_inputs", ()))))
    output, outputs = _owned(output, unread), _only_read(outputs, unread)
    expected = tuple(map(Form.of, output)) if isinstance(output, tuple) else Form.of(output)

    def pullback(cotangents: Any) -> Arrays:
        leaves = _leaves(cotangents, expected)
        padded = leaves + (None,) * (len(outputs) - len(leaves))
        gradients = primitive.vjp(Evaluate(), arrays, outputs, padded)
        # Arrays given by keyword come after those given by position, and are not differentiated.
        return tuple(form.fitted(gradient) for form, gradient in zip(given, gradients, strict=False))

    return output, pullback


def jvp(
    function: Callable[..., Any], args: tuple[Any, ...], tangents: Arrays, /, **options: Any
) -> tuple[Any, Any]:
    """The output of a function and its tangent, the Jacobian-vector product.

    Parameters
    ----------
    function : callable
        A function of this library that returns arrays, such as `eigh`.
    args : tuple
        Its positional arguments.
    tangents : tuple of arrays
        A tangent for each argument that is an array, of the same shape.
    **options
        Its keyword arguments; they are not differentiated.

    Returns
    -------
    output
        What ``function(*args, **options)`` returns.
    output_tangent
        Of the same type; None in place of an output that has no tangent, such as a rank.

    Raises
    ------
    TypeError
        If `function` is not one of this library, its only array is given by name, or the tangents do not
        match the arguments in number, array library, or being real.
    ValueError
        If a tangent has another shape than its argument.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import eigvalsh, jvp
    >>> jvp(eigvalsh, (np.diag([1.0, 2.0]),), (np.diag([3.0, 4.0]),))[1]
    array([3., 4.])
    """
    if not isinstance(args, tuple):
        raise TypeError(
            f"jvp takes the arguments as a tuple, and was given {type(args).__name__}: write (a,) for one."
        )
    given = _array_arguments(args, options)
    if not isinstance(tangents, tuple) or len(tangents) != len(given):
        raise TypeError(f"jvp needs a tuple of {len(given)} tangents, one for each array argument.")
    for position, (argument, tangent) in enumerate(zip(given, tangents, strict=True)):
        Form.of(argument).require(tangent, f"The tangent of array argument {position}")
    recorder = _Recorder()
    output = _on(recorder, function)(*args, **options)
    primitive, arrays, outputs = recorder.call(function)
    padded = tangents + (None,) * (len(arrays) - len(tangents))
    cast = tuple(Form.of(array).fitted(tangent) for array, tangent in zip(arrays, padded, strict=True))
    result = primitive.jvp(Evaluate(), arrays, outputs, cast)
    if isinstance(output, tuple):
        named: Any = type(output)
        return output, named(*result[: len(output)])
    return output, result[0]


class _Recorder(Evaluate):
    """Evaluates primitives and remembers the first: a public function applies just one."""

    def __init__(self) -> None:
        self.first: tuple[Primitive, Arrays, Arrays] | None = None

    def apply(self, primitive: Primitive, *arrays: Array) -> Arrays:
        outputs = super().apply(primitive, *arrays)
        self.first = self.first or (primitive, arrays, outputs)
        return outputs

    def call(self, function: Callable[..., Any]) -> tuple[Primitive, Arrays, Arrays]:
        """The first, which is forgotten: a primitive may hold this binding, and would close a circle."""
        if self.first is None:
            raise TypeError(f"{_name(function)} has no derivative.")
        first, self.first = self.first, None
        return first


def _only_read(arrays: tuple[Array | None, ...], unread: tuple[int, ...]) -> tuple[Array | None, ...]:
    """The arrays, without those at positions that no derivative reads."""
    return tuple(None if position in unread else array for position, array in enumerate(arrays))


def _owned(output: Any, unread: tuple[int, ...]) -> Any:
    """The output in memory of its own where the derivative reads it, or more that it is a view of."""
    if not isinstance(output, tuple):
        return output if 0 in unread else _copy(output)
    named: Any = type(output)
    return named(*(array if position in unread else _copy(array) for position, array in enumerate(output)))


def _copy(array: Array | None) -> Array | None:
    return None if array is None else namespace(array).asarray(array, copy=True)


def _on(recorder: _Recorder, function: Callable[..., Any]) -> Callable[..., Any]:
    if not hasattr(function, "bound"):
        raise TypeError(
            f"vjp and jvp differentiate the functions of this library, such as specgrad.eigh, and were "
            f"given {_name(function)}. Give options by name, as in vjp(specgrad.eigh, a, gap=gap); compose "
            "pullbacks by hand, or use a framework's autodiff with its adapter."
        )
    bound: Callable[..., Any] = function.bound(recorder)
    return bound


def _array_arguments(args: tuple[Any, ...], options: dict[str, Any]) -> Arrays:
    """The arguments to differentiate in: arrays with axes, as NumPy's numbers look like arrays without."""
    given = tuple(filter(_has_axes, args))
    by_name = next((name for name, option in options.items() if _has_axes(option)), None)
    if not given and by_name:
        raise TypeError(
            f"vjp and jvp differentiate in arguments given by position, and {by_name} was given by name: "
            "leave the name out."
        )
    return given


def _has_axes(argument: Any) -> bool:
    return is_array(argument) and argument.ndim > 0


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", repr(function))


def _leaves(cotangents: Any, output: Form | tuple[Form, ...]) -> tuple[Array | None, ...]:
    """The cotangents as a tuple that matches the output."""
    expected = output if isinstance(output, tuple) else (output,)
    given = cotangents if isinstance(output, tuple) else (cotangents,)
    if isinstance(cotangents, tuple) and not isinstance(output, tuple):
        raise TypeError(
            "The pullback needs one cotangent, as there is one output, and was given "
            f"{_described(cotangents)}: give the array alone."
        )
    if not isinstance(given, tuple) or len(given) != len(expected):
        raise TypeError(
            f"The pullback needs a tuple of {len(expected)} cotangents, one for each output (None for zero), "
            f"and was given {_described(cotangents)}."
        )
    for position, (cotangent, form) in enumerate(zip(given, expected, strict=True)):
        if cotangent is not None:
            form.require(cotangent, f"The cotangent of output {position}")
    return tuple(g if g is None else form.fitted(g) for g, form in zip(given, expected, strict=True))


def _described(cotangents: Any) -> str:
    if isinstance(cotangents, tuple):
        return f"a tuple of {len(cotangents)}"
    return f"a {type(cotangents).__name__}"

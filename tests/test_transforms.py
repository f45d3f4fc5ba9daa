"""What vjp and jvp take and give."""

import gc
import weakref

import numpy as np
import pytest

from specgrad import (
    DenseEigh,
    EighResult,
    MaxRank,
    NewtonSchulz,
    PowerIteration,
    covariance,
    denoising_matrix,
    eigh,
    eigvalsh,
    jvp,
    logm,
    powm,
    sqrtm,
    vjp,
    zca_whiten,
)
from specgrad._namespace import is_floating
from specgrad.transforms import _Recorder


def small(backend):
    return backend.array(np.diag([1.0, 2.0, 4.0]))


def test_the_output_is_that_of_the_function(backend):
    output, _ = vjp(eigh, small(backend))
    assert type(output) is EighResult
    for x, y in zip(output, eigh(small(backend)), strict=True):
        np.testing.assert_array_equal(backend.numpy(x), backend.numpy(y))


def test_cotangents_come_as_the_tuple_a_plain_tuple_or_an_array(backend):
    a = small(backend)
    output, pullback = vjp(eigh, a)
    g = backend.array(np.array([1.0, 2.0, 3.0]))
    named = backend.numpy(pullback(EighResult(g, None))[0])
    plain = backend.numpy(pullback((g, None))[0])
    single = backend.numpy(vjp(eigvalsh, a)[1](g)[0])
    for gradient in (named, plain, single):
        np.testing.assert_allclose(gradient, np.diag([1.0, 2.0, 3.0]))
    assert output.eigenvalues.shape == (3,)


def test_a_pullback_can_be_called_again(backend):
    _, pullback = vjp(eigvalsh, small(backend))
    g = backend.array(np.ones(3))
    np.testing.assert_array_equal(backend.numpy(pullback(g)[0]), backend.numpy(pullback(g)[0]))


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (eigh, {}),
        (eigh, {"truncation": MaxRank(2)}),
        (logm, {}),
        (sqrtm, {"solver": NewtonSchulz(12)}),
        (denoising_matrix, {"truncation": MaxRank(1)}),
        (covariance, {}),
        (zca_whiten, {}),
    ],
)
def test_a_pullback_does_not_see_what_is_written_into_arrays(backend, function, options):
    a = backend.array(np.array([[2.0, 0.5, 0.1], [0.5, 3.0, 0.2], [0.1, 0.2, 4.0]]))
    output, pullback = vjp(function, a, **options)
    leaves = output if isinstance(output, tuple) else (output,)
    g = tuple(x + 1.0 if is_floating(x) else None for x in leaves)
    g = g if isinstance(output, tuple) else g[0]
    before = backend.numpy(pullback(g)[0])
    for array in (a, *leaves):
        array *= 2  # in place, where arrays can be written to
    np.testing.assert_array_equal(backend.numpy(pullback(g)[0]), before)


def test_cotangents_come_in_the_dtype_of_the_output(backend):
    a = backend.array(np.array([[2.0, 1j], [-1j, 3.0]]))
    g = np.array([[1.0, 0.5], [0.5, 2.0]])
    _, pullback = vjp(logm, a)
    expected = backend.numpy(pullback(backend.array(g.astype("complex128")))[0])
    for dtype in ("float64", "float32", "int64"):
        measured = backend.numpy(pullback(backend.array((2 * g).astype(dtype)))[0])
        np.testing.assert_array_equal(measured, 2 * expected)


def test_tangents_come_as_the_output_does(backend):
    e = backend.array(np.diag([1.0, 2.0, 3.0]))
    output, tangent = jvp(eigh, (small(backend),), (e,))
    assert type(tangent) is type(output)
    np.testing.assert_allclose(backend.numpy(tangent.eigenvalues), [1, 2, 3])
    np.testing.assert_allclose(backend.numpy(tangent.eigenvectors), 0, atol=1e-15)


@pytest.mark.parametrize(
    ("function", "solver"),
    [
        (eigh, DenseEigh()),
        (eigh, PowerIteration(40)),
        (logm, DenseEigh()),
        (sqrtm, NewtonSchulz(12)),
    ],
)
def test_only_the_hermitian_part_of_a_tangent_counts(backend, function, solver):
    e = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.5, 0.0]])
    found = []
    for tangent in (e, (e + e.T) / 2):
        _, moved = jvp(function, (small(backend),), (backend.array(tangent),), solver=solver)
        found.append(backend.numpy(moved.eigenvectors if function is eigh else moved))
    np.testing.assert_allclose(*found, atol=1e-13)


def test_a_number_of_numpy_is_no_array(backend):
    a, g = small(backend), backend.array(np.eye(3))
    for number in (0.5, np.float64(0.5)):
        (gradient,) = vjp(powm, a, number)[1](g)
        np.testing.assert_allclose(backend.numpy(gradient), np.diag([0.5, 0.5 / 2**0.5, 0.25]))
        tangent = jvp(powm, (a, number), (g,))[1]
        np.testing.assert_allclose(backend.numpy(tangent), np.diag([0.5, 0.5 / 2**0.5, 0.25]))


def test_arrays_by_keyword_are_not_differentiated(backend):
    draw = np.random.default_rng(0)
    x, e = (backend.array(draw.standard_normal((3, 8))) for _ in range(2))
    ones, zeros = backend.array(np.ones(8)), backend.array(np.zeros(8))
    weights = backend.array(np.linspace(1, 2, 8))
    g = backend.array(np.eye(3))
    by_keyword = vjp(covariance, x, weights=weights)[1](g)
    assert len(by_keyword) == 1
    np.testing.assert_array_equal(
        backend.numpy(by_keyword[0]), backend.numpy(vjp(covariance, x, weights)[1](g)[0])
    )
    np.testing.assert_array_equal(
        backend.numpy(jvp(covariance, (x,), (e,), weights=weights)[1]),
        backend.numpy(jvp(covariance, (x, weights), (e, zeros))[1]),
    )
    gradients = vjp(zca_whiten, x, weight=ones[:3], bias=ones[:3])[1]((e, None, None))
    assert len(gradients) == 1


def test_functions_of_others_are_named(backend):
    with pytest.raises(TypeError, match=r"functions of this library.*were given .*cholesky"):
        vjp(np.linalg.cholesky, small(backend))
    with pytest.raises(TypeError, match=r"functions of this library"):
        jvp(abs, (small(backend),), (small(backend),))


@pytest.mark.parametrize("cotangents", [(None,), (None, None, None), [None, None], None])
def test_cotangents_of_the_wrong_structure(backend, cotangents):
    _, pullback = vjp(eigh, small(backend))
    with pytest.raises(TypeError, match=r"tuple of 2 cotangents.*given"):
        pullback(cotangents)


def test_cotangents_of_the_wrong_shape(backend):
    _, pullback = vjp(eigh, small(backend))
    with pytest.raises(ValueError, match=r"cotangent of output 1 has shape \(2, 2\), and \(3, 3\) is needed"):
        pullback((None, backend.array(np.eye(2))))
    with pytest.raises(
        ValueError, match=r"tangent of array argument 0 has shape \(2, 2\), and \(3, 3\) is needed"
    ):
        jvp(eigh, (small(backend),), (backend.array(np.eye(2)),))


def test_cotangents_of_another_kind(backend):
    a = small(backend)
    _, pullback = vjp(eigh, a)
    with pytest.raises(TypeError, match=r"cotangent of output 0 is a builtins\.float, and an array"):
        pullback((1.0, None))
    with pytest.raises(TypeError, match=r"cotangent of output 0 has dtype .*, and .* is real"):
        pullback((backend.array(np.ones(3, dtype="complex128")), None))
    with pytest.raises(TypeError, match=r"tangent of array argument 0 is a builtins\.NoneType, and an array"):
        jvp(eigh, (a,), (None,))
    with pytest.raises(TypeError, match=r"arguments as a tuple, and was given .*: write \(a,\) for one"):
        jvp(eigh, a, (a,))


def test_cotangents_of_another_library():
    strict = pytest.importorskip("array_api_strict")
    _, pullback = vjp(eigh, np.eye(3))
    with pytest.raises(TypeError, match=r"is a array_api_strict.*, and .* numpy.ndarray"):
        pullback((strict.ones(3), None))


def test_the_rank_takes_no_cotangent(backend):
    output, pullback = vjp(eigh, small(backend), truncation=MaxRank(2))
    (gradient,) = pullback((backend.array(np.array([1.0, 1.0])), None, None))
    np.testing.assert_allclose(backend.numpy(gradient), np.diag([0.0, 1.0, 1.0]), atol=1e-15)
    assert int(output.rank) == 2


def test_an_array_given_by_name_is_not_passed_over(backend):
    a = small(backend)
    with pytest.raises(TypeError, match="a was given by name: leave the name out"):
        vjp(eigh, a=a)
    with pytest.raises(TypeError, match="a was given by name"):
        jvp(eigvalsh, (), (), a=a)


def test_a_tangent_is_taken_in_the_precision_of_its_argument(backend):
    for own, other in (("float32", "float64"), ("float64", "float32")):
        a = backend.array(np.diag([1.0, 2.0]).astype(own))
        tangent = backend.array(np.diag([1 / 3, 2 / 3]).astype(other))
        assert jvp(eigvalsh, (a,), (tangent,))[1].dtype == a.dtype


def test_one_output_has_one_cotangent(backend):
    values, pullback = vjp(eigvalsh, small(backend))
    with pytest.raises(TypeError, match=r"needs one cotangent, .* a tuple of 1: give the array alone"):
        pullback((values,))


def test_a_pullback_keeps_no_array_in_a_circle_and_none_that_it_does_not_read():
    def recorders():
        return sum(type(each) is _Recorder for each in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = recorders()
        a = np.diag([1.0, 2.0, 4.0])
        alive = weakref.ref(a)
        values, pullback = vjp(eigvalsh, a)
        del a
        assert alive() is None
        freed = weakref.ref(pullback)
        np.testing.assert_array_equal(pullback(values)[0], np.diag(values))
        jvp(sqrtm, (np.eye(2),), (np.eye(2),))
        del pullback
        assert freed() is None
        assert recorders() == before
    finally:
        gc.enable()

"""Bad input gets a sentence that names it; edge cases get a right answer."""

import numpy as np
import pytest

from specgrad import covariance, eigh, eigvalsh, sqrtm, vjp, zca_whiten

FUNCTIONS = pytest.mark.parametrize("function", [eigh, eigvalsh], ids=lambda f: f.__name__)


@FUNCTIONS
def test_a_list_is_no_array(function):
    with pytest.raises(TypeError, match=r"a is a list, and a dense array is needed.*convert"):
        function([[1.0, 0.0], [0.0, 1.0]])


def test_weights_must_not_be_negative_nor_all_zero(backend):
    x = backend.array(np.ones((2, 2, 3)) * np.arange(3.0))
    for wrong in (
        np.array([[1.0, 1.0, 1.0], [1.0, -1.0, 1.0]]),
        np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]),
        np.array([[1.0, 1.0, 1.0], [1.0, np.inf, 1.0]]),
    ):
        with pytest.raises(ValueError, match=r"weights at batch index \(1,\)"):
            covariance(x, backend.array(wrong))


@FUNCTIONS
def test_an_array_whose_entries_do_not_say_all_is_refused(function):
    masked = np.ma.array(np.eye(2), mask=[[True, False], [False, False]])
    # A matrix warns that it is deprecated when it is made.
    matrix = np.eye(2).view(np.matrix)
    sparse = pytest.importorskip("scipy.sparse").csr_array(np.eye(2))
    for given in (masked, matrix, sparse):
        with pytest.raises(TypeError, match=rf"a is a {type(given).__name__}, and a dense array is needed"):
            function(given)
    with pytest.raises(TypeError, match="x is a MaskedArray"):
        covariance(masked)


@FUNCTIONS
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (4, 2, 3)])
def test_matrices_that_are_not_square_are_named(backend, function, shape):
    described = str(shape).replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(ValueError, match=rf"a has shape {described}, and square matrices"):
        function(backend.array(np.zeros(shape)))


@FUNCTIONS
@pytest.mark.parametrize("kind", ["int64", "bool"])
def test_entries_that_are_not_floating_are_named(backend, function, kind):
    with pytest.raises(TypeError, match=rf"a has dtype .*{kind}.*shape \(2, 2\).*floating"):
        function(backend.array(np.eye(2).astype(kind)))


@FUNCTIONS
@pytest.mark.skipif(np.finfo(np.longdouble).bits == 64, reason="long double is double here")
def test_more_than_double_precision_is_refused(function):
    with pytest.raises(TypeError, match=r"a has dtype .*and shape \(2, 2\).*double precision at most"):
        function(np.eye(2, dtype=np.longdouble))


# The check itself subtracts infinities, and NumPy says so before the error does.
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@FUNCTIONS
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite_names_the_batch_index(backend, dtype, function, bad):
    batch = np.zeros((2, 3, 2, 2), dtype=dtype)
    batch[1, 2, 0, 0] = bad
    with pytest.raises(
        ValueError, match=r"NaN or infinite entries.*batch index \(1, 2\).*check_finite=False"
    ):
        function(backend.array(batch))


def test_an_infinity_in_one_triangle_is_not_finite(backend):
    with pytest.raises(ValueError, match="NaN or infinite entries"):
        eigh(backend.array(np.array([[1.0, np.inf], [0.0, 1.0]])))


@FUNCTIONS
def test_not_finite_is_nan_in_its_own_item_without_the_check(backend, dtype, function):
    batch = np.stack([np.eye(2), np.full((2, 2), np.nan), 3 * np.eye(2)]).astype(dtype)
    result = function(backend.array(batch), check_finite=False)
    values = backend.numpy(result if function is eigvalsh else result.eigenvalues)
    np.testing.assert_array_equal(values, [[1, 1], [np.nan, np.nan], [3, 3]])


@FUNCTIONS
def test_one_triangle_is_not_hermitian(backend, dtype, function):
    batch = np.stack([np.eye(2), np.array([[1.0, 5.0], [0.0, 1.0]])]).astype(dtype)
    with pytest.raises(ValueError, match=r"not Hermitian.*batch index \(1,\).*5\.0e\+00.*\(a \+ a\^H\)/2"):
        function(backend.array(batch))


def test_complex_symmetric_is_not_hermitian(backend):
    with pytest.raises(ValueError, match="not Hermitian"):
        eigh(backend.array(np.array([[1.0, 1j], [1j, 1.0]])))


def test_without_the_check_the_hermitian_part_is_taken(backend):
    values = eigvalsh(backend.array(np.array([[1.0, 2.0], [0.0, 1.0]])), check_finite=False)
    np.testing.assert_allclose(backend.numpy(values), [0.0, 2.0], atol=1e-15)


def test_the_least_asymmetry_that_counts_is_the_root_of_eps(backend, dtype):
    a = np.array([[4.0, 1.0], [1.0, 2.0]], dtype=dtype)
    unit = 4.0 * np.finfo(dtype).eps ** 0.5
    for function in (eigvalsh, sqrtm):
        off = a.copy()
        off[0, 1] += 1.1 * unit
        with pytest.raises(ValueError, match="not Hermitian"):
            function(backend.array(off))
        off[0, 1] = a[0, 1] + 0.9 * unit
        mean = (off + off.conj().T) / 2
        np.testing.assert_allclose(
            backend.numpy(function(backend.array(off))),
            backend.numpy(function(backend.array(mean))),
            rtol=16 * np.finfo(dtype).eps,
        )


def test_hermitian_to_rounding_is_hermitian(backend, dtype):
    a = np.array([[1.0, 2.0], [2.0, 1.0]], dtype=dtype)
    a[0, 1] += 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(
        backend.numpy(eigvalsh(backend.array(a))), [-1.0, 3.0], rtol=16 * np.finfo(dtype).eps
    )


def test_half_precision_is_computed_in_single(backend):
    if not hasattr(backend.xp, "float16"):
        pytest.skip(f"{backend.name} has no float16")
    half = backend.xp.float16
    a = backend.array(np.diag([1.0, 2.0]).astype(np.float16))
    (values, vectors), pullback = vjp(eigh, a)
    assert values.dtype == vectors.dtype == backend.xp.float32
    (gradient,) = pullback((values, None))
    assert gradient.dtype == half
    np.testing.assert_allclose(backend.numpy(gradient), np.diag([1.0, 2.0]))
    assert eigvalsh(a).dtype == backend.xp.float32


def test_bfloat16_is_computed_in_single(backend):
    if not hasattr(backend.xp, "bfloat16"):
        pytest.skip(f"{backend.name} has no bfloat16")
    a = backend.xp.asarray(backend.array(np.diag([1.0, 2.0]).astype("float32")), dtype=backend.xp.bfloat16)
    values, pullback = vjp(eigvalsh, a)
    assert values.dtype == backend.xp.float32
    assert pullback(values)[0].dtype == backend.xp.bfloat16


def test_a_matrix_of_one_entry_is_its_eigenvalue(backend, dtype):
    (values, vectors), pullback = vjp(eigh, backend.array(np.full((2, 1, 1), -3.0, dtype=dtype)))
    np.testing.assert_array_equal(backend.numpy(values), [[-3], [-3]])
    np.testing.assert_array_equal(abs(backend.numpy(vectors)), np.ones((2, 1, 1)))
    gradient = backend.numpy(pullback((values, vectors))[0])
    np.testing.assert_array_equal(gradient, np.full((2, 1, 1), -3.0))


@pytest.mark.parametrize("level", [0.0, 1.0, -2.5])
def test_all_eigenvalues_equal(backend, dtype, level):
    a = backend.array((level * np.eye(4)).astype(dtype))
    (values, vectors), pullback = vjp(eigh, a)
    np.testing.assert_array_equal(backend.numpy(values), np.full(4, level))
    # The loss tr(A) + sum l^2 has gradient I + 2 A; the whole space as a cluster has none.
    ones = backend.xp.ones_like(values)
    gradient = backend.numpy(pullback((ones + 2 * values, vectors))[0])
    np.testing.assert_allclose(gradient, (1 + 2 * level) * np.eye(4), atol=16 * np.finfo(dtype).eps)


@pytest.mark.parametrize(
    ("groups", "place"), [(1, r"batch index \(1,\) has"), (2, r"batch index \(1,\), group 1, has")]
)
def test_an_item_is_named_in_the_words_of_the_caller(backend, groups, place):
    x = np.random.default_rng(0).standard_normal((3, 4, 20))
    x[1, 3] = x[1, 2]
    with pytest.raises(ValueError, match=rf"{place}.*Add at least \S+ to eps"):
        zca_whiten(backend.array(x), groups=groups, truncation=None)
    x[1, 3, 0] = np.nan
    with pytest.raises(ValueError, match=rf"{place.replace('has', 'is not finite')}"):
        zca_whiten(backend.array(x), groups=groups)
    with pytest.raises(ValueError, match=r"batch index \(\)"):
        zca_whiten(backend.array(x[1]))

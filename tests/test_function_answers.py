"""What a function of one's own may answer with: one real number for each eigenvalue, or one for all."""

import numpy as np
import pytest

from specgrad import FromDerivative, matrix_function, vjp
from specgrad._namespace import namespace


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda xp, x: xp.astype(x, xp.complex128), r"dtype .*complex128.*exp\(-i t l\) into cos"),
        (lambda xp, x: 2j, r"a complex of shape None.*shape \(2,\).* is needed\."),
        (lambda xp, x: x[:1, ...], r"of shape .*1.*shape \(2,\)"),
    ],
    ids=["complex", "complex number", "shape"],
)
def test_a_function_that_answers_with_no_real_number_for_each_eigenvalue(backend, answer, said):
    a = backend.array(np.diag([1.0, 2.0]))
    xp = namespace(a)
    with pytest.raises(TypeError, match=said):
        matrix_function(a, FromDerivative(lambda x: answer(xp, x), lambda x: x))
    _, pullback = vjp(matrix_function, a, FromDerivative(lambda x: x, lambda x: answer(xp, x)))
    with pytest.raises(TypeError, match="answered with"):
        pullback(a)


def test_a_function_may_answer_with_a_condition_or_one_number_for_all(backend, real):
    a = backend.array(np.diag([1.0, 2.0, 4.0]).astype(real))
    xp = namespace(a)
    step = FromDerivative(lambda x: x > 1.5, lambda x: xp.max(0 * x))  # the projector on what lies above
    for slope in (lambda x: 0, lambda x: np.float32(0)):
        assert vjp(matrix_function, a, FromDerivative(lambda x: x > 1.5, slope))[1](a)[0].dtype == a.dtype
    image, pullback = vjp(matrix_function, a, step)
    assert image.dtype == a.dtype
    np.testing.assert_array_equal(backend.numpy(image), np.diag([0.0, 1.0, 1.0]))
    (gradient,) = pullback(backend.array(np.ones((3, 3), dtype=real)))
    across = np.array([[0, 1, 1 / 3], [1, 0, 0], [1 / 3, 0, 0]])
    np.testing.assert_allclose(backend.numpy(gradient), across, rtol=1e-6)


def test_a_function_may_answer_with_an_array_without_axes(backend):
    a = backend.array(np.diag([1.0, 2.0]))
    two = FromDerivative(lambda x: namespace(x).asarray(2.0, dtype=x.dtype), lambda x: 0.0 * x)
    np.testing.assert_array_equal(backend.numpy(matrix_function(a, two)), 2 * np.eye(2))

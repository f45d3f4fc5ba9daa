"""The one table of array libraries that the shared tests run on.

A test takes the fixture ``backend`` and names none of them. A library that is not there skips its tests
with a reason; naming it in ``SPECGRAD_REQUIRE`` turns that into a failure, and runs one that is slow.
"""

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from specgrad.testing._arrays import on_device


class UnavailableError(Exception):
    """Why a backend cannot be used here."""


@dataclass(frozen=True)
class Backend:
    """One array library: how to make its arrays, how to look at them, and what it cannot do.

    `functions` is the module whose `eigh` works under the library's own autodiff, or None.
    `on_request` says why its tests run only if ``SPECGRAD_REQUIRE`` names it, or is None.
    `xfails` maps the name of a test to the reason why it must fail.
    `trace` compiles a function of a static value and arrays; the mathematics of the library then runs in
    compiled functions.
    """

    name: str
    load: Callable[[], ModuleType]
    device: str | None = None
    to_host: Callable[[Any], Any] = lambda x: x
    functions: str | None = None
    on_request: str | None = None
    xfails: Mapping[str, str] = field(default_factory=dict)
    trace: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None

    @property
    def xp(self) -> ModuleType:
        """The library; raises `UnavailableError`."""
        return self.load()

    def array(self, numbers: Any) -> Any:
        """An array of this library, from NumPy's or from numbers."""
        return on_device(self.xp, np.array(numbers, order="C"), self.device)

    def numpy(self, x: Any) -> np.ndarray:
        """The NumPy array of an array of this library."""
        return np.asarray(self.to_host(x))

    def module(self) -> ModuleType:
        """The module of functions under the library's own autodiff."""
        return importlib.import_module(self.functions)


def _library(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UnavailableError(f"{name} is not installed") from error


def _numpy() -> ModuleType:
    return np


def _strict() -> ModuleType:
    xp = _library("array_api_strict")
    # The newest version of the standard is its default.
    xp.set_array_api_strict_flags(boolean_indexing=False, data_dependent_shapes=False)
    return xp


def _torch() -> ModuleType:
    torch = _library("torch")
    torch.set_num_threads(1)
    return torch


def _torch_cuda() -> ModuleType:
    torch = _torch()
    if not torch.cuda.is_available():
        raise UnavailableError("torch sees no CUDA device")
    return torch


def _cupy() -> ModuleType:
    cupy = _library("cupy")
    try:
        cupy.empty(0)
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise UnavailableError("cupy sees no CUDA device") from error
    return cupy


def _jax() -> ModuleType:
    jax = _library("jax")
    jax.config.update("jax_enable_x64", True)
    return jax.numpy


def _jit(function: Callable[..., Any]) -> Callable[..., Any]:
    return _library("jax").jit(function, static_argnums=0)


_UNREAD = dict.fromkeys(
    (
        "test_not_finite_names_the_batch_index",
        "test_an_infinity_in_one_triangle_is_not_finite",
        "test_one_triangle_is_not_hermitian",
        "test_complex_symmetric_is_not_hermitian",
        "test_a_phase_dependent_loss_is_seen_without_ties",
        "test_raising_says_what_a_warning_would",
        "test_a_tolerance_of_zero_allows_nothing",
        "test_eigenvalues_at_the_width_are_tied",
        "test_copies_of_an_eigenvalue_that_are_weighed_differently_are_seen",
        "test_unequal_weights_that_matter_are_seen",
        "test_a_loss_that_depends_on_the_basis_of_a_tie_is_seen_whatever_the_units",
        "test_a_metric_that_is_not_definite_is_named",
        "test_a_metric_for_many_matrices_is_named_as_it_was_given",
        "test_by_default_a_loss_without_a_gradient_warns_in_a_metric",
        "test_eigenvalues_beyond_the_range_of_the_dtype_are_named",
        "test_copies_of_a_large_eigenvalue_where_the_metric_is_small_are_equal",
        "test_a_loss_of_the_basis_of_a_tie_is_seen_where_the_metric_splits_it",
        "test_a_metric_that_is_definite_by_rounding_alone_is_not",
        "test_copies_of_an_eigenvalue_that_are_weighed_differently_are_seen_in_a_metric",
        "test_an_answer_that_is_no_eigenvalues_is_named",
        "test_what_is_not_hermitian_or_finite_is_named",
        "test_a_truncation_that_keeps_a_repeated_eigenvalue_in_part_says_so",
        "test_a_truncation_that_keeps_a_repeated_variance_in_part_says_so",
        "test_a_matrix_of_nan_hides_no_other_of_its_batch",
        "test_a_loss_of_eigenvalues_beside_eigenvectors_hides_nothing",
        "test_a_tie_is_seen_wherever_it_stands",
        "test_the_least_part_that_counts_is_the_root_of_eps_times_that_of_n",
        "test_a_cut_among_zeros_says_so_where_the_function_has_a_slope",
        "test_the_least_asymmetry_that_counts_is_the_root_of_eps",
        "test_warning_comes_once_per_place",
        "test_warning_says_how_large_and_what_to_do",
        "test_the_matrix_is_named",
        "test_newton_schulz_says_when_it_has_not_converged",
        "test_not_finite_data_name_the_batch_index",
        "test_an_item_is_named_in_the_words_of_the_caller",
        "test_a_singular_covariance_without_truncation_is_named",
        "test_a_constant_variable_that_would_be_standardised_is_named",
        "test_a_variable_that_is_constant_up_to_rounding_is_named",
        "test_weights_must_not_be_negative_nor_all_zero",
        "test_weights_of_too_few_samples_are_named",
        "test_no_derivative_no_eigenvectors",
        "test_a_mistake_of_a_solver_is_not_taken_for_a_failure",
        "test_weights_differ_by_default_beyond_the_fourth_root_of_eps",
        "test_weights_are_large_or_small_beside_those_of_their_own_matrix",
        "test_an_infinite_entry_hides_no_other",
        "test_the_size_is_that_beside_the_cotangent",
        "test_what_is_given_for_a_covariance_has_no_negative_eigenvalue",
        "test_a_broken_group_is_named",
        "test_pooling_names_the_argument_that_raises_a_singular_covariance",
    ),
    "values that are lazy or on a device are not looked at",
)

BACKENDS: dict[str, Backend] = {
    backend.name: backend
    for backend in (
        Backend("numpy", _numpy),
        Backend("array_api_strict", _strict),
        Backend("torch", _torch, functions="specgrad_torch"),
        Backend(
            "jax",
            _jax,
            on_request="it compiles every operation anew for every shape: minutes",
            xfails=_UNREAD,
        ),
        Backend(
            "jax-jit",
            _jax,
            on_request="it compiles every derivative anew for every shape: minutes",
            xfails=_UNREAD,
            trace=_jit,
        ),
        Backend("cupy", _cupy, to_host=lambda x: x.get(), xfails=_UNREAD),
        Backend(
            "torch-cuda",
            _torch_cuda,
            device="cuda",
            to_host=lambda x: x.cpu(),
            functions="specgrad_torch",
            xfails=_UNREAD,
        ),
    )
}


def obtain(name: str) -> Backend:
    """The backend, loaded; else skip the test with the reason, or fail it where the backend is required."""
    backend = BACKENDS[name]
    if backend.on_request and name not in required():
        pytest.skip(f"{name} runs if SPECGRAD_REQUIRE names it; {backend.on_request}")
    try:
        backend.load()
    except UnavailableError as reason:
        if name in required():
            pytest.fail(f"SPECGRAD_REQUIRE names {name}, and {reason}.")
        pytest.skip(str(reason))
    return backend


def required() -> frozenset[str]:
    """The backends that must be there, from ``SPECGRAD_REQUIRE=numpy,torch,...``."""
    names = frozenset(filter(None, os.environ.get("SPECGRAD_REQUIRE", "").replace(" ", "").split(",")))
    if not names <= BACKENDS.keys():
        unknown = ", ".join(sorted(names - BACKENDS.keys()))
        raise ValueError(f"SPECGRAD_REQUIRE names {unknown}, and the backends are {', '.join(BACKENDS)}.")
    return names

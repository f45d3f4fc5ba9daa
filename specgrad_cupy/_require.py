"""CuPy and a CUDA device, or one sentence that says what is missing."""

try:
    import cupy
    from cupy_backends.cuda.libs import cublas, cusolver
except ImportError as error:
    raise ImportError(
        "specgrad_cupy needs CuPy with the libraries of CUDA, which could not be imported "
        f"({str(error).partition(':')[0]}): install both with pip install 'specgrad[cupy-cuda12x]' or "
        "'specgrad[cupy-cuda13x]', for the CUDA version of your driver.",
        name="cupy",
    ) from None

__all__ = ["cublas", "cupy", "cusolver"]

if not hasattr(cupy.ndarray, "mT"):
    raise ImportError(
        f"specgrad_cupy needs CuPy 14 or later, and {cupy.__version__} is installed: upgrade it by "
        "pip install --upgrade 'specgrad[cupy-cuda12x]' or 'specgrad[cupy-cuda13x]'.",
        name="cupy",
    )

try:
    cupy.cuda.runtime.getDeviceCount()
except cupy.cuda.runtime.CUDARuntimeError as error:
    raise ImportError(
        f"specgrad_cupy needs a CUDA device, and CuPy sees none ({error}): on a machine without one use "
        "specgrad with NumPy arrays, which has the same functions.",
        name="cupy",
    ) from None

"""Global covariance pooling as a layer."""

from typing import Any

from torch import Tensor, nn

from specgrad import DenseEigh, EigenvalueFloor, Sqrt
from specgrad._require import require_at_least, require_whole
from specgrad.functions import MatrixFunction
from specgrad.gradients import GradientRule
from specgrad.method import Method, knows_truncation
from specgrad.solvers import RootSolver, Solver
from specgrad.truncation import Truncation
from specgrad_torch import covariance_pool
from specgrad_torch._bind import require_tensor

__all__ = ["CovariancePooling"]


class CovariancePooling(nn.Module):
    r"""Pool features by the square root of their covariance over positions, in place of their average.

    Every system of the papers is a solver and a gradient rule: iSQRT-COV is
    ``solver=NewtonSchulz(5, AcceptResidual())``, SVD-PI
    ``gradient=ThroughEigenvectors(PowerIterationGap(19))``, SVD-Newton ``gradient=NewtonSchulzGradient(5)``,
    MPN-COV ``gradient=ThroughEigenvectors(ExactGap())``.

    Parameters
    ----------
    num_features : int
        Channels, the second axis of the input.
    reduction : int, optional
        Bring the channels to this number first, by a 1x1 convolution, batch normalisation and ReLU.
    function : MatrixFunction, default Sqrt()
        Applied to the eigenvalues, such as ``Power(0.5)`` or ``Log()``.
    eps : float, default 1e-5
        Added to the eigenvalues that are kept, so that a sample whose features are all constant has a
        gradient; for methods that know no truncation, to the diagonal of the covariance.
    truncation : Truncation or None, default EigenvalueFloor()
        Which eigenvalues to keep. Unless positions outnumber channels the others are rounding, and there
        the derivative of a square root is infinite. Methods that differentiate their own steps,
        `NewtonSchulz`, `NewtonSchulzGradient` and `PowerIteration`, take none.
    solver, gradient
        As in `specgrad.sqrtm`, by default the exact gradient. `HybridProtocol` changes them in training.
    device, dtype
        Of the parameters of the reduction.

    Attributes
    ----------
    out_features : int
        ``d (d + 1) / 2`` for ``d`` channels after the reduction.

    Shape
    -----
    Input ``(N, C, ...)`` with any number of axes of positions, output ``(N, out_features)``. Half precision,
    also under autocast, is computed in float32 and comes back in half.

    Raises
    ------
    TypeError, ValueError
        For options that are out of range or do not go together; for an input of another number of channels
        or an integer dtype, or without positions.

    References
    ----------
    Li et al., ICCV 2017 (MPN-COV) and CVPR 2018 (iSQRT-COV); Song, Sebe and Wang, ICCV 2021.

    Examples
    --------
    >>> import torch
    >>> from specgrad_torch.nn import CovariancePooling
    >>> pooling = CovariancePooling(64, reduction=16)
    >>> pooling(torch.randn(2, 64, 7, 7)).shape
    torch.Size([2, 136])
    """

    def __init__(
        self,
        num_features: int,
        *,
        reduction: int | None = None,
        function: MatrixFunction = Sqrt(),
        eps: float = 1e-5,
        truncation: Truncation | None = EigenvalueFloor(),
        solver: Solver | RootSolver = DenseEigh(),
        gradient: GradientRule | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.num_features, self.function, self.eps = num_features, function, eps
        require_whole(1, self, "num_features")
        self.reduction: Any = reduction  # a number until it is checked
        if reduction is not None:
            require_whole(1, self, "reduction")
        require_at_least(0, self, "eps")
        self.truncation, self.solver, self.gradient = truncation, solver, gradient
        self.require_choices(solver, gradient)
        channels = self.reduction or self.num_features
        self.out_features = channels * (channels + 1) // 2
        self.reduction = nn.Identity()
        if reduction is not None:
            self.reduction = nn.Sequential(
                nn.Conv1d(self.num_features, channels, 1, bias=False, device=device, dtype=dtype),
                nn.BatchNorm1d(channels, device=device, dtype=dtype),
                nn.ReLU(inplace=True),
            )

    def reset_parameters(self) -> None:
        """Draw the parameters of the reduction anew, and forget its running statistics."""
        for layer in self.reduction.children():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()

    def require_choices(self, solver: Solver | RootSolver, gradient: GradientRule | None) -> None:
        """Raise if the layer could not work with these."""
        Method(self.function, solver, gradient, self._truncation(solver, gradient))

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, out_features={self.out_features}, function={self.function}, "
            f"eps={self.eps}, truncation={self.truncation}, solver={self.solver}, gradient={self.gradient}"
        )

    def forward(self, x: Tensor) -> Tensor:
        require_tensor(x, "CovariancePooling")
        if x.ndim < 3 or x.shape[1] != self.num_features:
            raise ValueError(
                f"CovariancePooling({self.num_features}) was given an input of shape {tuple(x.shape)}, and "
                f"(N, {self.num_features}, ...) with one or more axes of positions is needed."
            )
        if 0 in x.shape[2:]:
            raise ValueError(
                f"CovariancePooling({self.num_features}) was given an input of shape {tuple(x.shape)}, which "
                "has no positions to take a covariance over."
            )
        features = self.reduction(x.flatten(2))
        pooled = covariance_pool(
            features,
            function=self.function,
            eps=self.eps,
            truncation=self._truncation(self.solver, self.gradient),
            solver=self.solver,
            gradient=self.gradient,
            check_finite=False,
        )
        return pooled.to(x.dtype)

    def _truncation(self, solver: Solver | RootSolver, gradient: GradientRule | None) -> Truncation | None:
        """The truncation, unless the method differentiates its own steps."""
        return self.truncation if knows_truncation(solver, gradient) else None

"""Echo state network as a regressor of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.linear_model import Ridge
from sklearn.utils.validation import check_array, check_is_fitted, check_random_state, validate_data
from torch import Tensor

from sparse_engine.estimators.reservoir import Reservoir

#: Number of units up to which the readout is solved by a decomposition whatever the penalty.
DECOMPOSED = 3000


class EchoState(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Regressor of time series: a fixed sparse reservoir and a readout by ridge regression.

    The reservoir is ``h[t] = (1 - leak) h[t - 1] + leak tanh(W_in x[t] + bias + W h[t - 1])``, from
    a state of zeros for every sequence (Jaeger 2001); the readout is linear in ``h[t]`` and has an
    intercept. Only the links of W exist, and all steps run in one fused operation.

    Args:
        units: number of units.
        density: density of W; its values are normal.
        spectral_radius: largest magnitude of an eigenvalue of W; above 500 units to about 1 %.
        input_density: density of W_in and of the bias.
        input_scale: W_in is uniform in (-input_scale, input_scale).
        bias_scale: the bias is uniform in (-bias_scale, bias_scale).
        leak: leaking rate, in (0, 1]; 1 for no leak.
        alpha: penalty of the readout, greater than 0, as of :class:`sklearn.linear_model.Ridge`.
        washout: number of first steps of each sequence that the readout is not fitted to.
        dtype: "float32" or "float64".
        random_state: seed, or a generator of NumPy; equal seeds give equal reservoirs.

    Attributes:
        reservoir_: the reservoir, after a call of fit.
        coef_: ``[targets, units]``, or ``[units]`` for targets of one dimension less than x.
        intercept_: ``[targets]``, or a number.
        n_features_in_: number of inputs.
        feature_names_in_: names of the inputs, if X is a data frame whose columns have names.

    Example:
        >>> model = EchoState(units=500, washout=100).fit(series[:-1], series[1:])
        >>> model.predict(series)
    """

    def __init__(
        self,
        units: int = 500,
        *,
        density: float = 0.05,
        spectral_radius: float = 0.9,
        input_density: float = 1.0,
        input_scale: float = 1.0,
        bias_scale: float = 0.0,
        leak: float = 1.0,
        alpha: float = 1e-4,
        washout: int = 0,
        dtype: str = "float32",
        random_state: Any = None,
    ) -> None:
        self.units = units
        self.density = density
        self.spectral_radius = spectral_radius
        self.input_density = input_density
        self.input_scale = input_scale
        self.bias_scale = bias_scale
        self.leak = leak
        self.alpha = alpha
        self.washout = washout
        self.dtype = dtype
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> EchoState:
        """Make the reservoir, run it over X and fit the readout to y.

        Args:
            X: ``[steps, inputs]``, or ``[sequences, steps, inputs]``.
            y: ``[..., steps]``, or ``[..., steps, targets]``.

        Raises:
            ValueError: a parameter out of range, or arrays that are complex, not finite or do not
                fit.
        """
        self._check_parameters()
        x = self._sequences(X, reset=True)
        targets = self._targets(y, x)
        self.n_features_in_ = x.shape[2]
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.reservoir_ = Reservoir(
            self.n_features_in_, self.units, density=self.density, radius=self.spectral_radius,
            input_density=self.input_density, input_scale=self.input_scale,
            bias_scale=self.bias_scale, leak=self.leak, dtype=x.dtype,
            generator=torch.Generator().manual_seed(seed),
        )  # fmt: skip
        states = torch.empty(*x.shape[:2], self.units, dtype=x.dtype)
        at = 0
        for some in self.reservoir_.run(x):
            states[at : at + len(some)] = some
            at += len(some)
        states, targets = states[self.washout :], targets[self.washout :]
        readout = _fitted(states.flatten(0, 1).numpy(), targets.flatten(0, 1).numpy(), self.alpha)
        coefficients = readout.coef_.reshape(-1, self.units).astype(self.dtype)
        intercept = np.atleast_1d(readout.intercept_).astype(self.dtype)
        self.coef_ = coefficients[0] if self._flat else coefficients
        self.intercept_ = float(intercept[0]) if self._flat else intercept
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the readout of every step, each sequence from a state of zeros.

        Args:
            X: ``[steps, inputs]``, or ``[sequences, steps, inputs]``.

        Raises:
            ValueError: an array that is complex or not finite, or with other inputs than were
                fitted.
            sklearn.exceptions.NotFittedError: before a call of fit.
        """
        check_is_fitted(self)
        x = self._sequences(X, reset=False)
        if x.shape[2] != self.n_features_in_:
            raise ValueError(
                f"X has {x.shape[2]} features, but EchoState is expecting {self.n_features_in_} "
                "features as input"
            )
        coefficients = torch.as_tensor(np.atleast_2d(self.coef_)).T
        intercept = torch.as_tensor(np.atleast_1d(self.intercept_), dtype=x.dtype)
        outputs = [some @ coefficients + intercept for some in self.reservoir_.run(x)]
        y = torch.cat(outputs).transpose(0, 1).numpy()
        y = y[..., 0] if self._flat else y
        return y[0] if np.asarray(X).ndim == 2 else y

    def _sequences(self, X: Any, *, reset: bool) -> Tensor:
        """Return checked sequences as ``[steps, sequences, inputs]``; reset takes their names."""
        _check_real("X", X)
        x = validate_data(self, X, reset=reset, **self._options())
        if x.ndim not in (2, 3) or 0 in x.shape:
            raise ValueError(
                "expected X of shape [steps, inputs] or [sequences, steps, inputs] without empty "
                f"dimensions, found {[*x.shape]}. Reshape your data"
            )
        x = x[None] if x.ndim == 2 else x
        return torch.from_numpy(np.ascontiguousarray(x.transpose(1, 0, 2)))

    def _options(self) -> dict[str, Any]:
        # Torch warns of arrays that cannot be written.
        return {
            "dtype": self.dtype, "ensure_2d": False, "allow_nd": True, "force_writeable": True
        }  # fmt: skip

    def _targets(self, y: Any, x: Tensor) -> Tensor:
        steps, sequences, _ = x.shape
        if y is None:
            raise ValueError("EchoState requires y to be passed, but the target y is None")
        _check_real("y", y)
        given = check_array(y, input_name="y", **self._options())
        leading = (sequences, steps) if given.shape[:2] == (sequences, steps) else (steps,)
        extra = given.ndim - len(leading)
        if given.shape[: len(leading)] != leading or extra not in (0, 1) or (
            len(leading) == 1 and sequences > 1
        ):  # fmt: skip
            raise ValueError(
                f"expected y of the {sequences} x {steps} steps of X, found shape {[*given.shape]}"
            )
        if self.washout >= steps:
            raise ValueError(f"expected more than {self.washout} steps to wash out, found {steps}")
        self._flat = extra == 0
        shaped = np.ascontiguousarray(given).reshape(sequences, steps, -1).transpose(1, 0, 2)
        return torch.from_numpy(np.ascontiguousarray(shaped))

    def _check_parameters(self) -> None:
        for name, fits, expected in (
            ("units", self.units >= 1, "at least 1"),
            ("leak", 0 < self.leak <= 1, "in (0, 1]"),
            ("alpha", self.alpha > 0, "greater than 0"),
            ("spectral_radius", self.spectral_radius >= 0, "at least 0"),
            ("washout", self.washout >= 0, "at least 0"),
            ("dtype", self.dtype in ("float32", "float64"), "'float32' or 'float64'"),
        ):
            if not fits:
                raise ValueError(f"expected {name} {expected}, found {getattr(self, name)!r}")


def _fitted(states: np.ndarray, targets: np.ndarray, alpha: float) -> Ridge:
    """Return ridge regression, by iterations where there are many states and they converge soon.

    They do where float32 rounding of ``x.T @ (x @ v)`` would be small beside ``alpha * v``. For
    4,000 units and 20,000 steps they took 0.5 s, a decomposition in float32 3.0 s (one thread).
    """
    energy = float(np.square(states[:: max(1, len(states) // 1024)]).mean()) * states.size
    rounds = np.finfo(np.float32).eps * energy > 1e-2 * alpha
    if states.shape[1] <= DECOMPOSED or rounds:
        wide = (each.astype(np.float64) for each in (states, targets))
        return Ridge(alpha, solver="cholesky", copy_X=False).fit(*wide)
    return Ridge(alpha, solver="lsqr").fit(states, targets)


def _check_real(name: str, array: Any) -> None:
    kind = np.asarray(array).dtype
    if kind.kind == "c":
        raise ValueError(f"Complex data not supported: expected real {name}, found {kind}")

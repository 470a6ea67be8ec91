"""Estimators with the interface of scikit-learn, for its pipelines, searches and scores."""

try:
    import sklearn  # noqa: F401
except ImportError as error:
    raise ImportError(
        "expected the package scikit-learn, found none; "
        "install it with: pip install 'sparse_engine[estimators]'"
    ) from error

from sparse_engine.estimators.echo_state import EchoState as EchoState

"""Estimators with the interface of scikit-learn, for its pipelines, searches and scores."""

from sparse_engine.extras import extra as _extra

with _extra("estimators"):
    import sklearn  # noqa: F401

from sparse_engine.estimators.echo_state import EchoState as EchoState

"""Backend for networkx: its functions on our kernels, where the results are the same.

networkx itself imports this module, by an entry point, so that nothing else is imported here.
:mod:`sparse_engine.networkx.backend` has the functions.
"""

from __future__ import annotations

#: Functions of networkx that the backend has, and what networkx's documentation says about them.
FUNCTIONS = {
    "overall_reciprocity": "Directed graphs without parallel edges.",
    "reciprocity": "Directed graphs without parallel edges, as a whole (``nodes=None``).",
    "transitivity": "Undirected graphs without parallel edges.",
    "triadic_census": "Directed graphs without parallel edges, as a whole (``nodelist=None``).",
}


def get_info() -> dict[str, object]:
    """Return what the entry point ``networkx.backend_info`` tells networkx.

    Example:
        >>> sorted(get_info())[0]
        'backend_name'
    """
    return {
        "backend_name": "sparse_engine",
        "project": "sparse_engine",
        "package": "sparse_engine",
        "short_summary": "Triads and reciprocity counted on CSR in compiled code.",
        "functions": {
            name: {"additional_docs": text, "additional_parameters": {}}
            for name, text in FUNCTIONS.items()
        },
    }

"""HTTP server of the page, for this machine alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sparse_engine.lab.watch.folders import Runs
from sparse_engine.lab.watch.history import history
from sparse_engine.lab.watch.links import weights, wiring

HOST = "127.0.0.1"
#: Names by which a browser on this machine calls the server. A page of another site that resolves
#: its own name to 127.0.0.1 sends that name.
HOSTS = (HOST, "localhost")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; connect-src 'self'; img-src data:; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

#: A request's answer: status, type and content.
Answer = tuple[int, str, bytes]


def serve(runs: Runs, port: int) -> ThreadingHTTPServer:
    """Return a server of the page, bound to 127.0.0.1 only.

    Args:
        runs: the runs to show.
        port: port; 0 for one that is free.

    Raises:
        OSError: the port is in use.

    Example:
        >>> server = serve(Runs(Path("runs")), port=0)
        >>> print(f"http://127.0.0.1:{server.server_port}/")
        >>> server.serve_forever()
    """
    return _Server((HOST, port), type("Handler", (_Handler,), {"runs": runs}))


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *connection: Any) -> None:
        """Print the traceback of an error, unless a browser left before its answer."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(*connection)


def _as_json(content: object, status: int = 200) -> Answer:
    return status, "application/json", json.dumps(content, allow_nan=False).encode()


class _Handler(BaseHTTPRequestHandler):
    runs: Runs
    server_version, sys_version = "sparse-engine", ""
    timeout = 30

    def do_GET(self) -> None:
        """Answer a request for the page or its data; every other one is refused."""
        status, kind, content = self._answer()
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Print nothing: the page asks every two seconds."""

    def _answer(self) -> Answer:
        if (self.headers.get("Host") or "").partition(":")[0] not in HOSTS:
            return _as_json({"error": "expected the host 127.0.0.1 or localhost"}, 403)
        try:
            url = urlsplit(self.path)
            asked = {name: values[0] for name, values in parse_qs(url.query).items()}
            answers: dict[str, Callable[[], Answer]] = {
                "/": _page,
                "/api/runs": lambda: _as_json([*self.runs.find()]),
                "/api/run": lambda: self._run(asked["run"]),
                "/api/wiring": lambda: self._wiring(asked["run"], asked["weight"]),
            }
            return answers[url.path]()
        except LookupError as error:
            return _as_json({"error": str(error)}, 404)
        except (ValueError, OSError, MemoryError) as error:
            return _as_json({"error": str(error)}, 422)

    def _run(self, name: str) -> Answer:
        folder = self.runs.folder(name)
        return _as_json({**history(folder), "weights": weights(folder)})

    def _wiring(self, name: str, weight: str) -> Answer:
        return _as_json(wiring(self.runs.folder(name), weight))


def _page() -> Answer:
    return 200, "text/html", files("sparse_engine.lab.watch").joinpath("page.html").read_bytes()

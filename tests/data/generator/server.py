"""A local HTTP server that refuses everything in one way."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def answering(status: int) -> Iterator[str]:
    """The URL of a server that answers every request with that status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/slow":
                time.sleep(3)
            if self.path == "/cut":
                self.send_response(200)
                self.send_header("Content-Length", "5000")
                self.end_headers()
                self.wfile.write(b"{" * 100)
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.send_response(status)
            if "huggingface" in self.headers.get("User-Agent", "") or "/resolve/" in self.path:
                self._as_hub()
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="runs"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_POST = do_GET  # noqa: N815 - the names that http.server looks for

        def _as_hub(self) -> None:
            code = {401: "GatedRepo", 403: "GatedRepo", 404: "RepoNotFound"}.get(status)
            if code:
                self.send_header("X-Error-Code", code)

        def log_message(self, *_: object) -> None:
            """Nothing of the server's is to get into a log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()

"""A local web server with good pictures and everything that can go wrong with one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import numpy as np
from PIL import Image


class PictureServer:
    """Serves what is put into ``pictures``, by path, and the bad answers of `_Handler`.

    Attributes:
        pictures: content by path
        requests: the paths that were asked for, in order
        url: where it is, without a slash at the end
    """

    def __init__(self) -> None:
        self.pictures: dict[str, bytes] = {"/good.jpg": picture(1), "/good.png": picture(2, "PNG")}
        self.requests: list[str] = []
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.picture_server = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator[PictureServer]:
        """Serves in a thread."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


def picture(seed: int, kind: str = "JPEG", side: int = 24) -> bytes:
    """A picture by chance."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server: PictureServer = self.server.picture_server  # type: ignore[attr-defined]
        server.requests.append(self.path)
        bad = getattr(self, f"_bad_{self.path.strip('/').replace('-', '_')}", None)
        if self.path in server.pictures:
            self._answer(200, server.pictures[self.path])
        elif bad is not None:
            bad()
        else:
            self._answer(404, b"no such thing")

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""

    def _answer(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def _bad_slow(self) -> None:
        time.sleep(1.5)

    def _bad_drip(self) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(30):
            time.sleep(0.1)
            try:
                self.wfile.write(b"x")
            except OSError:
                return

    def _bad_huge(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(10**12))
        self.end_headers()

    def _bad_endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            for _ in range(1000):
                self.wfile.write(bytes(10_000))
        except OSError:
            return

    def _bad_cut(self) -> None:
        content = picture(3)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:100])

    def _bad_page(self) -> None:
        self._answer(200, b"<html>no longer here</html>")

    def _bad_half(self) -> None:
        content = picture(3, side=200)
        self._answer(200, content[: len(content) // 2])

    def _bad_gif(self) -> None:
        self._answer(200, picture(3, "GIF"))

    def _bad_many_pixels(self) -> None:
        self._answer(200, picture(3, "PNG", side=300))

    def _bad_to_file(self) -> None:
        self._answer(302, b"", Location="file:///etc/hostname")

    def _bad_to_ftp(self) -> None:
        self._answer(302, b"", Location="ftp://127.0.0.1/x.jpg")

    def _bad_to_good(self) -> None:
        self._answer(301, b"", Location="/good.jpg")

    def _bad_to_itself(self) -> None:
        self._answer(302, b"", Location="/to-itself")

    def _bad_forbidden(self) -> None:
        self._answer(403, b"")

    def _bad_error(self) -> None:
        self._answer(503, b"")

    def _bad_no_ai(self) -> None:
        self._answer(200, picture(3), X_Robots_Tag="noai, noimageai")

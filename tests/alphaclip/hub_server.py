"""A stand-in of the Hugging Face hub on this machine, which can hang up and lie."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

LARGE = (".safetensors", ".bin")
"""Files that the hub keeps apart, under their SHA-256."""


@dataclass
class Site:
    """What is there.

    Attributes:
        files: by ``owner/name``, and by name
        gives_parts: whether it answers with the rest of a file where that is asked for
        breaks_at: the byte of a large file after which it hangs up
        lies: whether the SHA-256 that it states of large files are others
        log: the name and range of each file that was sent
    """

    files: dict[str, dict[str, bytes]]
    gives_parts: bool = True
    breaks_at: int | None = None
    lies: bool = False
    log: list[str] = field(default_factory=list)

    def add(self, repository: str, folder: Path) -> None:
        """Takes up the files of a folder."""
        self.files[repository] = {path.name: path.read_bytes() for path in folder.iterdir()}


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub does, with the headers that its library reads."""

    def __init__(self, site: Site, *args: object) -> None:
        self.site = site
        super().__init__(*args)  # type: ignore[arg-type]

    def do_HEAD(self) -> None:
        self._answer(*self._file())

    def do_GET(self) -> None:
        if self.path.startswith("/api/models/"):
            repository = self.path.removeprefix("/api/models/").partition("/tree/")[0]
            listed = self.site.files.get(repository)
            entries = [
                {"type": "file", "path": name, "size": len(content), "oid": "a" * 40}
                for name, content in (listed or {}).items()
            ]
            error = None if listed else "RepoNotFound"
            self._send(404 if error else 200, json.dumps(entries).encode(), {}, error)
            return
        name, content = self._file()
        asked = self.headers.get("Range") or ""
        if content is not None:
            self.site.log.append(f"{name} {asked}".strip())
        start = int(asked[6:-1]) if asked and self.site.gives_parts else 0
        self._answer(name, content, start)
        if content is not None:
            end = self.site.breaks_at if name.endswith(LARGE) else None
            self.wfile.write(content[start:end])

    def _file(self) -> tuple[str, bytes | None]:
        repository, _, rest = self.path.removeprefix("/").partition("/resolve/")
        name = rest.partition("/")[2]
        return name, self.site.files.get(repository, {}).get(name)

    def _answer(self, name: str, content: bytes | None, start: int = 0) -> None:
        if content is None:
            is_here = self.path.removeprefix("/").partition("/resolve/")[0] in self.site.files
            error = "EntryNotFound" if is_here else "RepoNotFound"
            self._send(404, b"", {"X-Repo-Commit": "c" * 40}, error)
            return
        digest = hashlib.sha256(content).hexdigest()
        if not name.endswith(LARGE):
            digest = digest[:40]
        elif self.site.lies:
            digest = "f" * 64
        size = str(len(content) - start)
        headers = {"ETag": f'"{digest}"', "X-Repo-Commit": "c" * 40, "Content-Length": size}
        self._send(206 if start else 200, b"", headers)

    def _send(
        self, status: int, body: bytes, headers: dict[str, str], error: str | None = None
    ) -> None:
        self.send_response(status)
        if error:
            self.send_header("X-Error-Code", error)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the terminal."""


@contextmanager
def serve(site: Site) -> Iterator[str]:
    """The address at which it is."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, site)) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def use_hub(address: str, cache: Path, patch: pytest.MonkeyPatch) -> None:
    """Makes it the hub of this process, as HF_ENDPOINT does, with a cache of its own."""
    from huggingface_hub import constants, hf_api

    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    patch.setattr(constants, "ENDPOINT", address)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    patch.setattr(constants, "HF_HUB_CACHE", str(cache))
    patch.setattr(hf_api.api, "endpoint", address)

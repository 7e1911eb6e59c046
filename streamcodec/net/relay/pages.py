"""The pages that a relay may serve beside its websockets: whole files from memory, by GET, to browsers.

Everything that a page needs comes from here, and the headers hold browsers to that: no script, style or connection of
anybody else's, and a page of its own isolation group, which is what gives its threads shared memory.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "json": "application/json",
    "wasm": "application/wasm",
    "bin": "application/octet-stream",
}
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; "
    "connect-src 'self'; media-src 'self' blob:; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # Asked for again each time, and answered by its tag where nothing has changed.
    "Cache-Control": "no-cache",
    "Connection": "close",
}


@dataclass(frozen=True, slots=True)
class _Page:
    kind: str
    tag: str
    plain: bytes
    packed: bytes


class Pages:
    """Files by name; ``index`` is what the address alone gives."""

    def __init__(self, files: Mapping[str, bytes], index: str) -> None:
        self._pages = {f"/{name}": _page(name, content) for name, content in files.items()}
        self._pages["/"] = self._pages[f"/{index}"]

    def answer(self, path: str, headers: Mapping[str, str]) -> tuple[bytes, bytes]:
        """Head and body of the response to a GET; ``headers`` are the request's."""
        page = self._pages.get(path.partition("?")[0])
        if page is None:
            return _response(HTTPStatus.NOT_FOUND, {"Content-Type": TYPES["html"]}, b"there is no such page\n")
        if page.tag in headers.get("If-None-Match", ""):
            return _response(HTTPStatus.NOT_MODIFIED, {"ETag": page.tag}, b"")
        about = {"Content-Type": page.kind, "ETag": page.tag, "Vary": "Accept-Encoding"}
        if "gzip" in headers.get("Accept-Encoding", "") and len(page.packed) < len(page.plain):
            return _response(HTTPStatus.OK, {**about, "Content-Encoding": "gzip"}, page.packed)
        return _response(HTTPStatus.OK, about, page.plain)


def _page(name: str, content: bytes) -> _Page:
    tag = f'"{hashlib.sha256(content).hexdigest()[:24]}"'
    return _Page(TYPES[name.rpartition(".")[2]], tag, content, gzip.compress(content, 6, mtime=0))


def only_get() -> tuple[bytes, bytes]:
    """Head and body of the response to what is neither GET nor HEAD."""
    return _response(
        HTTPStatus.METHOD_NOT_ALLOWED, {"Content-Type": TYPES["html"], "Allow": "GET, HEAD"}, b"GET only\n"
    )


def _response(status: HTTPStatus, about: Mapping[str, str], body: bytes) -> tuple[bytes, bytes]:
    length = {} if status is HTTPStatus.NOT_MODIFIED else {"Content-Length": str(len(body))}
    lines = [f"{name}: {value}" for name, value in {**HEADERS, **about, **length}.items()]
    return "\r\n".join([f"HTTP/1.1 {status.value} {status.phrase}", *lines, "", ""]).encode(), body

"""The static files of a web page.

`npm run build` puts a hash of the content into each file name and a gzip copy next to files that compress well.

All responses with a file share its headers and its content, which is read once. Starlette looks up the file in a thread
for each response, opens it, and reads parts of 64 KiB: 2,400 responses that clients do not read would need 260 MiB and
2,400 file descriptors.
"""

from collections.abc import Mapping
from pathlib import Path

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Receive, Scope, Send

from graphql_api.graphql_server.requests.request_headers import contains_tag
from graphql_api.graphql_server.tcp_state import is_disconnected

_METHODS = ("GET", "HEAD")
_PART_BYTES = 64 * 1024
"""The server takes the next part of a response only when the client has received almost all of the part before."""


class Assets(StaticFiles):
    """Serves the files of a folder with the headers of a page. Browsers cache files for a year if `is_immutable`."""

    def __init__(self, directory: Path, headers: Mapping[str, str], *, is_immutable: bool) -> None:
        super().__init__(directory=directory)
        caching = "public, max-age=31536000, immutable" if is_immutable else "no-cache"
        self._headers = {**headers, "cache-control": caching, "vary": "Accept-Encoding"}
        """The page's security headers also apply to a worker that runs a file."""
        paths = (path for path in directory.rglob("*") if path.is_file())
        self._paths = {path.relative_to(directory).as_posix(): path for path in paths}
        self._responses: dict[tuple[str, bool], _ContentResponse] = {}
        """The response with each file that was read, by its path. True means its gzip copy."""

    def get_path(self, scope: Scope) -> str:
        """Return the path of a request below this folder, as the client sent it."""
        path: str = scope["path"]
        return path.removeprefix(scope["root_path"]).removeprefix("/")

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return the file, or its gzip copy if this copy exists and the browser accepts gzip."""
        if scope["method"] not in _METHODS:
            raise HTTPException(405, headers={"Allow": ", ".join(_METHODS)})
        headers = Headers(scope=scope)
        has_gzip = f"{path}.gz" in self._paths and "gzip" in headers.get("accept-encoding", "")
        try:
            response = self._response(path, is_compressed=has_gzip)
        except (KeyError, FileNotFoundError):
            raise HTTPException(404) from None
        if self.is_not_modified(response.headers, headers):
            not_modified = NotModifiedResponse(response.headers)
            not_modified.headers.update(self._headers)
            return not_modified
        return response

    def is_not_modified(self, response_headers: Headers, request_headers: Headers) -> bool:
        """Return whether the client has the file. Starlette splits a list of entity tags, which can take 3 ms."""
        known_tags = request_headers.get("if-none-match")
        if known_tags:
            return contains_tag(known_tags, response_headers["etag"])
        return super().is_not_modified(response_headers, request_headers)

    def _response(self, path: str, *, is_compressed: bool) -> "_ContentResponse":
        """Return the response with a file. Read the file if it is new or has changed."""
        file = self._paths[f"{path}.gz" if is_compressed else path]
        response = self._responses.get((path, is_compressed))
        if response is None or response.is_outdated():
            headers = {"content-encoding": "gzip"} if is_compressed else {}
            response = self._responses[path, is_compressed] = _ContentResponse(file, self._headers | headers)
        return response


class _ContentResponse(FileResponse):
    """A response with a file whose content is in memory. Any number of requests can have the same response."""

    def __init__(self, path: Path, headers: Mapping[str, str]) -> None:
        self._path = path
        self._status = path.stat()
        super().__init__(path, headers=headers, stat_result=self._status)
        del self.headers["accept-ranges"]
        self._content = memoryview(path.read_bytes())

    def is_outdated(self) -> bool:
        """Return whether the file has changed since it was read."""
        status = self._path.stat()
        return (status.st_mtime_ns, status.st_size) != (self._status.st_mtime_ns, self._status.st_size)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response, without the body if the method is HEAD."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] != "HEAD":
            for start in range(0, len(self._content), _PART_BYTES):
                if is_disconnected(scope):  # otherwise, 2,400 clients that disconnect stop the event loop for 0.6 s
                    return
                part = self._content[start : start + _PART_BYTES]
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

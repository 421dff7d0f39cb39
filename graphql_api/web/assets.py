"""The static files of a web page.

`npm run build` puts a hash of the content into each file name and a gzip copy next to files that compress well.

All responses share the content of a file, which is read once. Starlette opens the file for each response, and reads
parts of 64 KiB: 2,400 responses that clients do not read would need 260 MiB and 2,400 file descriptors.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.staticfiles import PathLike, StaticFiles
from starlette.types import Receive, Scope, Send

_PART_BYTES = 64 * 1024
"""The server takes the next part of a response only when the client has received almost all of the part before."""


class Assets(StaticFiles):
    """Serves the files of a folder with the headers of a page. Browsers cache files for a year if `is_immutable`."""

    def __init__(self, directory: Path, headers: Mapping[str, str], *, is_immutable: bool) -> None:
        super().__init__(directory=directory)
        caching = "public, max-age=31536000, immutable" if is_immutable else "no-cache"
        self._headers = {**headers, "cache-control": caching, "vary": "Accept-Encoding"}
        self._compressed = {str(path) for path in directory.resolve().rglob("*.gz")}
        self._contents: dict[str, tuple[str, bytes]] = {}
        """The tag and the content of each file that was read, by path."""
        self._paths = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}

    def get_path(self, scope: Scope) -> str:
        """Return the path of a request below this folder, as the client sent it."""
        path: str = scope["path"]
        return path.removeprefix(scope["root_path"]).removeprefix("/")

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return the file with the page's security headers. They also apply to a worker that runs the file.

        StaticFiles looks up each folder of a path in the file system. A path of 15,000 folders takes 60 ms.
        """
        if path not in self._paths and scope["method"] in ("GET", "HEAD"):
            raise HTTPException(404)
        response = await super().get_response(path, scope)
        response.headers.update(self._headers)
        if isinstance(response, FileResponse):
            return _ContentResponse(self._content(str(response.path), response.headers["etag"]), response)
        return response

    def file_response(
        self, full_path: PathLike, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """Return the gzip copy of the file if this copy exists and the browser accepts gzip."""
        compressed = f"{full_path}.gz"
        if compressed not in self._compressed or "gzip" not in Headers(scope=scope).get("accept-encoding", ""):
            return super().file_response(full_path, stat_result, scope, status_code)
        response = super().file_response(compressed, Path(compressed).stat(), scope, status_code)
        response.headers["content-encoding"] = "gzip"
        return response

    def _content(self, path: str, tag: str) -> bytes:
        known_tag, content = self._contents.get(path, ("", b""))
        if known_tag != tag:
            content = Path(path).read_bytes()
            self._contents[path] = tag, content
        return content


class _ContentResponse(Response):
    """A response with the status and the headers of `of_file`, and a body that shares its memory with others."""

    def __init__(self, content: bytes, of_file: FileResponse) -> None:
        super().__init__(status_code=of_file.status_code)
        self._content = memoryview(content)
        self.raw_headers = [header for header in of_file.raw_headers if header[0] != b"accept-ranges"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response, without the body if the method is HEAD."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        if scope["method"] != "HEAD":
            for start in range(0, len(self._content), _PART_BYTES):
                part = self._content[start : start + _PART_BYTES]
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

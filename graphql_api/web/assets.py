"""The static files of a web page.

`npm run build` puts a hash of the content into each file name and a gzip copy next to files that compress well.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import PathLike, StaticFiles
from starlette.types import Scope


class Assets(StaticFiles):
    """Serves the files of a folder with the headers of a page. Browsers cache files for a year if `is_immutable`."""

    def __init__(self, directory: Path, headers: Mapping[str, str], *, is_immutable: bool) -> None:
        super().__init__(directory=directory)
        caching = "public, max-age=31536000, immutable" if is_immutable else "no-cache"
        self._headers = {**headers, "cache-control": caching, "vary": "Accept-Encoding"}
        self._compressed = {str(path) for path in directory.resolve().rglob("*.gz")}
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

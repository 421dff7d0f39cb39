"""A header as bytes, since on the way of every request the few that matter need not be text."""

from starlette.requests import Request

_BY_NAME = "headers by name"


def header(request: Request, name: bytes) -> bytes:
    """Return the value of a header, joined where it is given several times, empty where it is not given."""
    by_name: dict[bytes, bytes] | None = request.scope.get(_BY_NAME)
    if by_name is None:
        request.scope[_BY_NAME] = by_name = {}
        for key, value in request.scope["headers"]:
            by_name[key] = b"%b,%b" % (by_name[key], value) if key in by_name else value
    return by_name.get(name, b"")

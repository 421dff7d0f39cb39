"""A header as bytes, since on the way of every request the few that matter need not be text."""

from starlette.requests import Request


def header(request: Request, name: bytes) -> bytes:
    """Return the value of a header, joined where it is given several times, empty where it is not given."""
    values = [value for key, value in request.scope["headers"] if key == name]
    return values[0] if len(values) == 1 else b",".join(values)

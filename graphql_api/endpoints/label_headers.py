"""The request headers `x-label-NAME`: labels for publishers that cannot change their JSON.

The header applies to each sample of the request. A label in a sample itself takes precedence. Some proxies drop headers
with an underscore in their name, so `-` in the name of a header stands for `_` in the name of a label.
"""

from starlette.requests import Request

from storage.documents import BadRequest, Labels, labels

_PREFIX = b"x-label-"


def read(request: Request) -> Labels:
    """Return the labels in the headers of a request. Raises `BadRequest` if one of the labels is invalid."""
    found: dict[str, str] = {}
    for key, raw in request.headers.raw:
        if not key.startswith(_PREFIX):
            continue
        name = key.removeprefix(_PREFIX).decode("latin-1").replace("-", "_")
        try:
            value = raw.decode()
        except UnicodeDecodeError:
            raise BadRequest(f"expected text in UTF-8 in the header x-label-{name}") from None
        if found.setdefault(name, value) != value:
            raise BadRequest(f"expected one header x-label-{name}, got several with different values")
    for problem in labels.problems(found, "x-label"):
        raise BadRequest(f"{problem.message} - in the header `{problem.path.replace('x-label.', 'x-label-')}`")
    return found

"""Subscriptions as parts of `multipart/mixed; subscriptionSpec=1.0`, as Apollo's clients read them.

Every part ends with the boundary of the next, so that a client need not wait for the next part to know
that this one is whole.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import orjson

from graphql_api import errors
from graphql_api.graphql_server.execution.responses import Answer
from graphql_api.graphql_server.protocols.response_streams import Framing, Sent
from storage.documents.errors import DropzoneError, Unavailable

BOUNDARY = b"\r\n--graphql"
HEADER = b"\r\ncontent-type: application/json\r\n\r\n"
END = b"--\r\n"


def _last(error: DropzoneError) -> bytes:
    """Make the part that tells of an error of the connection, and the end."""
    return HEADER + orjson.dumps({"payload": None, "errors": [errors.describe(error)]}) + BOUNDARY + END


FRAMING = Framing(
    content_type=b'multipart/mixed; boundary="graphql"; subscriptionSpec=1.0',
    opening=BOUNDARY,
    keep_alive=HEADER + b"{}" + BOUNDARY,
    farewell=_last(Unavailable("The server is stopping.")),
    refusal=_last,
)


async def frames(answers: AsyncGenerator[Answer, None], sent: Sent) -> AsyncGenerator[bytes, None]:
    """Make each answer a part, and end after the last."""
    async with aclosing(answers):
        async for answer in answers:
            yield HEADER + b'{"payload":' + answer.body + b"}" + BOUNDARY
            sent.cursor = answer.cursor
    yield END

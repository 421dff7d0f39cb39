"""The connections to one server: HTTP for samples, GraphQL for queries, WebSockets for subscriptions.

Each method sends its request once. Every failure is raised as a `DropzoneError`, never as an exception of aiohttp or
gql.
"""

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from functools import lru_cache
from http import HTTPStatus
from io import BytesIO
from typing import Any
from weakref import WeakSet

import aiohttp
import gql
import yarl
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.aiohttp_websockets import AIOHTTPWebsocketsTransport
from gql.transport.exceptions import TransportError

from dropzone import encoding
from dropzone.errors import BadUserInput, DropzoneError, NotFound, TooLarge, Unreachable
from dropzone.samples import Receipt
from dropzone.sign_in.credentials import Credentials
from dropzone.transport.addresses import parse_url, proxy_of
from dropzone.transport.failures import http_error, redirect_refusal, transport_error
from dropzone.transport.lifetime import Lifetime

_CONNECT_SECONDS = 10.0
_READ_SECONDS = 60.0
_CLOSE_SECONDS = 1.0
_PING_SECONDS = 15.0
_MAX_UNREAD_ITEMS = 500

_parsed = lru_cache(maxsize=64)(gql.gql)


class Connection:
    """A pool of connections to the server at `url`. Requests authenticate with `credentials`."""

    def __init__(self, url: str, credentials: Credentials) -> None:
        parsed = parse_url(url).with_query(None).with_fragment(None)
        self._address = str(parsed).rstrip("/")
        self.url = str(parsed.with_user(None)).rstrip("/")  # error messages contain no password
        self._proxy = proxy_of(self.url)
        self._credentials = credentials
        self._lifetime = Lifetime()
        self._session: aiohttp.ClientSession | None = None
        self._subscriptions = WeakSet[aiohttp.ClientSession]()
        self._is_limit_known = False
        self._max_request_bytes: int | None = None
        self._graphql: Any = None

    async def close(self) -> None:
        """Close all connections, even if the caller is cancelled during this, for example by Ctrl-C."""
        closing = asyncio.ensure_future(self._close())
        try:
            await asyncio.shield(closing)
        finally:
            await closing

    async def _close(self) -> None:
        self._lifetime.end()
        for session in list(self._subscriptions):
            await session.close()
        if self._graphql is not None:
            await self._graphql.client.close_async()
            self._graphql = None
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post_sample(
        self, raw: bytes, idempotency_key: str | None, labels: Mapping[str, str], supersedes: str | None
    ) -> Receipt:
        """Submit one sample."""
        headers = {"content-type": "application/json"}
        if idempotency_key is not None:
            headers["idempotency-key"] = idempotency_key
        if supersedes is not None:
            headers["x-supersedes"] = supersedes
        status, response_headers, response = await self._post(raw, headers, labels)
        values = _parse_json(response)
        if _is_receipt(values):
            return Receipt.parse(values)
        raise http_error(self.url, status, response_headers, values)

    async def post_lines(self, lines: Sequence[bytes], labels: Mapping[str, str]) -> list[Receipt | DropzoneError]:
        """Submit samples as the lines of one NDJSON body. Return a receipt or an error for each line.

        The idempotency key of a line is derived from its bytes, unless the line contains a key.
        """
        headers = {"content-type": "application/x-ndjson", "idempotency-key": "content"}
        status, response_headers, response = await self._post(b"\n".join(lines), headers, labels)
        if status != 200:
            raise http_error(self.url, status, response_headers, _parse_json(response))
        outcomes: list[Receipt | DropzoneError] = []
        error: DropzoneError = Unreachable(f"the response of {self.url} ended early")
        for values in map(_parse_json, response.splitlines()):
            if _is_receipt(values):
                outcomes.append(Receipt.parse(values))
                continue
            error = http_error(self.url, status, response_headers, values)
            if isinstance(values, dict) and "line" in values:
                outcomes.append(error)
        return outcomes + [error] * (len(lines) - len(outcomes))

    async def _post(
        self, raw: bytes, headers: dict[str, str], labels: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send a body to `/samples`, compressed if it is large."""
        headers = {**headers, **{f"x-label-{name.replace('_', '-')}": value for name, value in labels.items()}}
        body = raw
        if len(raw) > encoding.MIN_COMPRESSED_BYTES:
            body = await asyncio.to_thread(encoding.compress, raw)
            headers["content-encoding"] = "zstd"
            await self._check_size(raw, body)
        status, response_headers, response = await self._request("POST", "/samples", encoding.stream(body), headers)
        if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and not isinstance(_parse_json(response), dict):
            raise TooLarge(
                f"a proxy in front of {self.url} refused a request of {encoding.mib(len(body))}: HTTP status 413; "
                "split the sample, or raise the limit of the proxy"
            )
        return status, response_headers, response

    async def get_sample(self, sample_id: str) -> bytes:
        """Return the submitted bytes of a sample, unchanged."""
        try:
            uuid.UUID(sample_id)
        except ValueError:  # an id such as `..` would select another endpoint
            raise NotFound(f"sample {sample_id} does not exist") from None
        status, headers, response = await self._request("GET", f"/samples/{sample_id}")
        if status != 200:
            raise http_error(self.url, status, headers, _parse_json(response))
        return response

    async def get_session(self) -> dict[str, Any]:
        """Return the identity of the caller."""
        status, headers, response = await self._request("GET", "/session")
        values = _parse_json(response)
        if status != 200 or not isinstance(values, dict) or not values.keys() >= {"submitter", "scopes", "expires"}:
            raise http_error(self.url, status, headers, values)
        return values

    async def get_results(self, parameters: Mapping[str, str]) -> bytes:
        """Return the export of results with these query parameters."""
        path = yarl.URL("/results").with_query(parameters)
        status, headers, response = await self._request("GET", str(path))
        if status != 200:
            raise http_error(self.url, status, headers, _parse_json(response))
        return response

    async def _check_size(self, raw: bytes, body: bytes) -> None:
        """Raise `TooLarge` if the server announces that it does not accept a body of this size."""
        if len(body) < encoding.MIN_LIMITED_BYTES:
            return
        if not self._is_limit_known:
            _, headers, _ = await self._request("OPTIONS", "/samples")
            self._max_request_bytes = encoding.parse_limit(headers.get("upload-limit"))
            self._is_limit_known = True
        if self._max_request_bytes is not None and len(body) > self._max_request_bytes:
            raise TooLarge(
                f"expected a sample of at most {encoding.mib(self._max_request_bytes)} after compression, which is "
                f"the limit of {self.url}, got {encoding.mib(len(body))} ({encoding.mib(len(raw))} before "
                "compression); split the sample"
            )

    async def query(self, document: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the data of a GraphQL query."""
        self._lifetime.check()
        request = _graphql_request(document, variables or {})
        headers = await self._credentials.headers()
        try:
            if self._graphql is None:
                options = {"timeout": _timeout(), "proxy": self._proxy, "trace_configs": [redirect_refusal()]}
                transport = AIOHTTPTransport(f"{self._address}/graphql", client_session_args=options)
                client: Any = gql.Client(transport=transport, execute_timeout=None)
                self._graphql = await client.connect_async()
            data: dict[str, Any] = await self._graphql.execute(request, extra_args={"headers": headers})
        except (TransportError, TimeoutError) as error:
            self._lifetime.check()
            raise transport_error(self.url, error) from error
        return data

    async def subscribe(self, document: str, variables: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the data of a GraphQL subscription until it completes or the connection breaks."""
        self._lifetime.check()
        request = _graphql_request(document, variables)
        payload = await self._credentials.headers()
        # If gql cannot connect, it does not close a session of its own.
        async with aiohttp.ClientSession(proxy=self._proxy, trace_configs=[redirect_refusal()]) as session:
            self._subscriptions.add(session)
            transport = _WebSocket(
                f"{self._address}/graphql",
                subprotocols=[AIOHTTPWebsocketsTransport.GRAPHQLWS_SUBPROTOCOL],
                init_payload=payload,
                websocket_close_timeout=_CLOSE_SECONDS,
                # For these timeouts, gql calls `wait_for`, which can swallow a cancellation in Python 3.11.
                connect_timeout=None,
                ack_timeout=None,
                close_timeout=None,
                ping_interval=_PING_SECONDS,
                pong_timeout=_PING_SECONDS,
                session=session,
            )
            client: Any = gql.Client(transport=transport)
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    graphql = await client.connect_async()
                # The message that stops a subscription can fail, and its error would replace a cancellation.
                async with aclosing(graphql.subscribe(request, send_stop=False)) as responses:
                    async for data in responses:
                        transport.room.release()
                        yield data
            except (TransportError, TimeoutError) as error:
                self._lifetime.check()
                raise transport_error(self.url, error) from error
            finally:
                # gql waits for the end of its task that sends pings, and this task can swallow its cancellation.
                try:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(2 * _CLOSE_SECONDS):
                            await transport.close()
                finally:
                    transport.room.release()  # lets the task of gql that reads messages end

    async def _request(
        self, method: str, path: str, body: bytes | BytesIO | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        self._lifetime.check()
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0)  # the caller limits the number of concurrent requests
            self._session = aiohttp.ClientSession(
                connector=connector, proxy=self._proxy, timeout=_timeout(), trace_configs=[redirect_refusal()]
            )
        credentials = await self._credentials.headers()
        try:
            async with self._session.request(
                method, self._address + path, data=body, headers={**credentials, **(headers or {})}
            ) as response:
                return response.status, response.headers, await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._lifetime.check()
            raise transport_error(self.url, error) from error


class _WebSocket(AIOHTTPWebsocketsTransport):
    """A WebSocket that is read only while few items wait for the caller. gql would store them without a limit.

    If the caller pauses for long, the server or gql closes the connection.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.room = asyncio.Semaphore(_MAX_UNREAD_ITEMS)
        """How many more items may arrive. Release it for each item that is taken."""

    async def _handle_answer(self, answer_type: str, answer_id: int | None, execution_result: Any) -> None:
        await super()._handle_answer(answer_type, answer_id, execution_result)
        if execution_result is not None:
            await self.room.acquire()
            # The server is there. Its pong follows all items that it sent before, and the caller can be slow.
            self.pong_received.set()


def _graphql_request(document: str, variables: Mapping[str, Any]) -> gql.GraphQLRequest:
    """Return a request. Raises `BadUserInput` if JSON in UTF-8 cannot represent one of the variables."""
    try:
        json.dumps(variables, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise BadUserInput(f"expected text in UTF-8, got {error.object[error.start : error.end]!a}") from None
    except (TypeError, ValueError) as error:
        raise BadUserInput(f"expected values that JSON can represent: {error}") from error
    return gql.GraphQLRequest(_parsed(document), variable_values=dict(variables))


def _timeout() -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_READ_SECONDS)


def _is_receipt(values: Any) -> bool:
    return isinstance(values, dict) and values.keys() >= {"id", "state", "problems"}


def _parse_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None

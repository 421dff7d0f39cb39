"""Relay connections: pages of results and samples.

A page says whether more items follow in the direction in which the page was read. Two facts need an additional read:
whether items exist in the other direction, and the total count. Each of these facts is a field with a resolver. The
server therefore reads the fact only if a query selects the field.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Self

import strawberry
from strawberry import Private

from graphql_api.results.pagination import Page, PageRequest
from graphql_api.schema.costs import COUNT, COUNT_SAMPLES, READ, costs
from graphql_api.schema.types.result import Result
from graphql_api.schema.types.sample import Sample
from storage.documents import Header
from storage.documents import Result as StoredResult

Read = Callable[[PageRequest], Awaitable[Page[Any]]]
Count = Callable[[], Awaitable[int]]

_CURSOR = "The position of this item. Pass it as `after` or `before`."
_PAGE_INFO = "The cursors of this page, and whether more pages exist."
_COUNT_COST = "Firestore counts the items for each request, so the cost grows with their number."


@strawberry.type(
    description="Information about a page: its cursors, and whether more pages exist. See the Relay specification."
)
class PageInfo:
    """The type `PageInfo` of the Relay connection specification."""

    page: Private[Page[Any]]
    request: Private[PageRequest]
    read: Private[Read]
    opposite: Private[asyncio.Future[bool] | None]
    """Whether items exist in the other direction. None until a field needs this."""

    start_cursor: str | None = strawberry.field(
        description="The start of this page. Pass it as `before`, with `last`, to get the previous page."
    )
    end_cursor: str | None = strawberry.field(
        description="The end of this page. Pass it as `after`, with `first`, to get the next page."
    )

    @classmethod
    def of(cls, page: Page[Any], request: PageRequest, read: Read) -> Self:
        """Return the information about `page`, which `read` returned for `request`."""
        start, end = (page.edges[0][0], page.edges[-1][0]) if page.edges else (None, None)
        if page.scanned_to is not None:
            start, end = (page.scanned_to, end) if request.backward else (start, page.scanned_to)
        return cls(
            page=page,
            request=request,
            read=read,
            opposite=None,
            start_cursor=None if start is None else start.encode(),
            end_cursor=None if end is None else end.encode(),
        )

    @strawberry.field(
        description="Whether items exist after `endCursor`. Always false if `last` is set and `before` is not set.",
        metadata=costs(READ),
    )
    async def has_next_page(self) -> bool:
        """Return whether more items follow. If the page was read backward, this needs an additional read."""
        return await self._has_items_before_start() if self.request.backward else self.page.has_more

    @strawberry.field(
        description="Whether items exist before `startCursor`. Always false if neither `last` nor `after` is set.",
        metadata=costs(READ),
    )
    async def has_previous_page(self) -> bool:
        """Return whether items precede the page. If the page was read forward, this needs an additional read."""
        return self.page.has_more if self.request.backward else await self._has_items_before_start()

    async def _has_items_before_start(self) -> bool:
        """Read one item in the opposite direction from the cursor where the request starts, once for all aliases."""
        if self.opposite is None:
            self.opposite = asyncio.ensure_future(self._read_opposite())
        return await self.opposite

    async def _read_opposite(self) -> bool:
        opposite = self.request.opposite()
        if opposite is None:
            return False
        page = await self.read(opposite)
        return bool(page.edges) or page.has_more


@strawberry.type(description="A result and its position in the list.")
class ResultEdge:
    """An edge of a `ResultConnection`, as in the Relay connection specification."""

    cursor: str = strawberry.field(description=_CURSOR)
    node: Result = strawberry.field(description="The result.")


@strawberry.type(description="A page of results. See the Relay specification.")
class ResultConnection:
    """A page of results, as in the Relay connection specification. `count` counts the results on all pages."""

    count: Private[Count]

    edges: list[ResultEdge] = strawberry.field(description="The results of this page, in the requested order.")
    page_info: PageInfo = strawberry.field(description=_PAGE_INFO)

    @classmethod
    def of(cls, page: Page[StoredResult], request: PageRequest, read: Read, count: Count) -> Self:
        """Return the connection for `page`, which `read` returned for `request`."""
        edges = [ResultEdge(cursor=cursor.encode(), node=Result.of(result)) for cursor, result in page.edges]
        return cls(count=count, edges=edges, page_info=PageInfo.of(page, request, read))

    @strawberry.field(description=f"The number of results on all pages. {_COUNT_COST}", metadata=costs(COUNT))
    async def total_count(self) -> int:
        """Return the number of items on all pages."""
        return await self.count()


@strawberry.type(description="A sample and its position in the list.")
class SampleEdge:
    """An edge of a `SampleConnection`, as in the Relay connection specification."""

    cursor: str = strawberry.field(description=_CURSOR)
    node: Sample = strawberry.field(description="The sample.")


@strawberry.type(description="A page of samples. See the Relay specification.")
class SampleConnection:
    """A page of samples, as in the Relay connection specification. `count` counts the samples on all pages."""

    count: Private[Count]

    edges: list[SampleEdge] = strawberry.field(description="The samples of this page. The latest comes first.")
    page_info: PageInfo = strawberry.field(description=_PAGE_INFO)

    @classmethod
    def of(cls, page: Page[Header], request: PageRequest, read: Read, count: Count) -> Self:
        """Return the connection for `page`, which `read` returned for `request`."""
        edges = [SampleEdge(cursor=cursor.encode(), node=Sample.of(header)) for cursor, header in page.edges]
        return cls(count=count, edges=edges, page_info=PageInfo.of(page, request, read))

    @strawberry.field(
        description=(
            f"The number of samples on all pages. {_COUNT_COST} If the filter has the state DELETED, the server reads "
            "every selected sample instead. A filter with the state COMPUTED, SUPERSEDED or FAILED can have the same "
            "effect if newer samples have expired before older samples."
        ),
        metadata=costs(COUNT_SAMPLES),
    )
    async def total_count(self) -> int:
        """Return the number of items on all pages."""
        return await self.count()

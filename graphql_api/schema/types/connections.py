"""Relay connections: pages of results and samples.

A page knows whether more items follow in the direction in which it was read. The other direction, and the total count,
need a call of their own. Both are fields with resolvers, so the call is made only if they are requested.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Self

import strawberry
from strawberry import Private

from graphql_api.results.pagination import Page, PageRequest
from graphql_api.schema.types.result import Result
from graphql_api.schema.types.sample import Sample
from storage.documents import Header
from storage.documents import Result as StoredResult

Read = Callable[[PageRequest], Awaitable[Page[Any]]]
Count = Callable[[], Awaitable[int]]

_CURSOR = "The position of this item. Pass it as `after` or `before`."
_PAGE_INFO = "The cursors of this page, and whether there are more pages."
_COUNT_COST = "Firestore counts them for each request, at a cost that grows with their number."


@strawberry.type(description="The cursors of a page, and whether there are more pages. See Relay's connections.")
class PageInfo:
    """Relay's page information."""

    page: Private[Page[Any]]
    request: Private[PageRequest]
    read: Private[Read]

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
            start_cursor=None if start is None else start.encode(),
            end_cursor=None if end is None else end.encode(),
        )

    @strawberry.field(
        description="Whether there are items after `endCursor`. Always false with `last` and without `before`."
    )
    async def has_next_page(self) -> bool:
        """Return what the page knows, or read after `before`."""
        return await self._has_items_before_start() if self.request.backward else self.page.has_more

    @strawberry.field(
        description="Whether there are items before `startCursor`. Always false with `first` and without `after`."
    )
    async def has_previous_page(self) -> bool:
        """Return what the page knows, or read before `after`."""
        return self.page.has_more if self.request.backward else await self._has_items_before_start()

    async def _has_items_before_start(self) -> bool:
        """Read in the opposite direction from the start of the request."""
        opposite = self.request.opposite()
        if opposite is None:
            return False
        page = await self.read(opposite)
        return bool(page.edges) or page.has_more


@strawberry.type(description="A result and its position in the list.")
class ResultEdge:
    """Relay's edge."""

    cursor: str = strawberry.field(description=_CURSOR)
    node: Result = strawberry.field(description="The result.")


@strawberry.type(description="A page of results. See Relay's connections.")
class ResultConnection:
    """Relay's connection."""

    count: Private[Count]

    edges: list[ResultEdge] = strawberry.field(description="The results of this page, in the requested order.")
    page_info: PageInfo = strawberry.field(description=_PAGE_INFO)

    @classmethod
    def of(cls, page: Page[StoredResult], request: PageRequest, read: Read, count: Count) -> Self:
        """Return the connection for `page`, which `read` returned for `request`. `count` counts all pages."""
        edges = [ResultEdge(cursor=cursor.encode(), node=Result.of(result)) for cursor, result in page.edges]
        return cls(count=count, edges=edges, page_info=PageInfo.of(page, request, read))

    @strawberry.field(description=f"The number of results on all pages. {_COUNT_COST}")
    async def total_count(self) -> int:
        """Count all pages."""
        return await self.count()


@strawberry.type(description="A sample and its position in the list.")
class SampleEdge:
    """Relay's edge."""

    cursor: str = strawberry.field(description=_CURSOR)
    node: Sample = strawberry.field(description="The sample.")


@strawberry.type(description="A page of samples. See Relay's connections.")
class SampleConnection:
    """Relay's connection."""

    count: Private[Count]

    edges: list[SampleEdge] = strawberry.field(description="The samples of this page. The latest comes first.")
    page_info: PageInfo = strawberry.field(description=_PAGE_INFO)

    @classmethod
    def of(cls, page: Page[Header], request: PageRequest, read: Read, count: Count) -> Self:
        """Return the connection for `page`, which `read` returned for `request`. `count` counts all pages."""
        edges = [SampleEdge(cursor=cursor.encode(), node=Sample.of(header)) for cursor, header in page.edges]
        return cls(count=count, edges=edges, page_info=PageInfo.of(page, request, read))

    @strawberry.field(
        description=(
            f"The number of samples on all pages. {_COUNT_COST} With a filter by `submittedAt` and by a state other "
            "than REJECTED, the server reads the samples one by one."
        )
    )
    async def total_count(self) -> int:
        """Count all pages."""
        return await self.count()

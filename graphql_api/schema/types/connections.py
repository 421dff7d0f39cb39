"""Lists of results and samples in pages (Relay's connections); what only some ask for is read when they do.

A page in one direction says by itself whether there is more in that direction. In the other one somebody has to
look, and at the totals somebody has to count: so both are fields that cost a call of their own.
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

_TOTAL = "on all pages together. Firestore counts them when it is asked for, at a cost that grows with their number."


@strawberry.type(description="Where a page begins and ends, and whether there is more (Relay).")
class PageInfo:
    """Relay's page information."""

    page: Private[Page[Any]]
    request: Private[PageRequest]
    read: Private[Read]

    start_cursor: str | None = strawberry.field(
        description="Where the page begins: pass it as `before`, with `last`, to get the page before."
    )
    end_cursor: str | None = strawberry.field(
        description="Where the page ends: pass it as `after`, with `first`, to get the next page."
    )

    @classmethod
    def of(cls, page: Page[Any], request: PageRequest, read: Read) -> Self:
        """Describe `page`, which `read` returned for `request`."""
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

    @strawberry.field(description="There is more behind `endCursor`; after `last` without `before` there never is.")
    async def has_next_page(self) -> bool:
        """Tell, or look behind `before`."""
        return await self._is_more_outside() if self.request.backward else self.page.has_more

    @strawberry.field(description="There is more ahead of `startCursor`; after `first` without `after` there never is.")
    async def has_previous_page(self) -> bool:
        """Tell, or look ahead of `after`."""
        return self.page.has_more if self.request.backward else await self._is_more_outside()

    async def _is_more_outside(self) -> bool:
        opposite = self.request.opposite()
        if opposite is None:
            return False
        page = await self.read(opposite)
        return bool(page.edges) or page.has_more


@strawberry.type(description="A result and its place, from which one can go on.")
class ResultEdge:
    """Relay's edge."""

    cursor: str = strawberry.field(description="The place of this result; pass it as `after` or `before`.")
    node: Result = strawberry.field(description="The result.")


@strawberry.type(description="A page of results (Relay).")
class ResultConnection:
    """Relay's connection."""

    count: Private[Count]

    edges: list[ResultEdge] = strawberry.field(description="The results of this page, in the order asked for.")
    page_info: PageInfo = strawberry.field(description="Where the page begins and ends.")

    @classmethod
    def of(cls, page: Page[StoredResult], request: PageRequest, read: Read, count: Count) -> Self:
        """Show `page`, which `read` returned for `request`; `count` counts all pages."""
        edges = [ResultEdge(cursor=cursor.encode(), node=Result.of(result)) for cursor, result in page.edges]
        return cls(count=count, edges=edges, page_info=PageInfo.of(page, request, read))

    @strawberry.field(description=f"How many results there are {_TOTAL}")
    async def total_count(self) -> int:
        """Count them."""
        return await self.count()


@strawberry.type(description="A sample and its place, from which one can go on.")
class SampleEdge:
    """Relay's edge."""

    cursor: str = strawberry.field(description="The place of this sample; pass it as `after` or `before`.")
    node: Sample = strawberry.field(description="The sample.")


@strawberry.type(description="A page of samples (Relay).")
class SampleConnection:
    """Relay's connection."""

    count: Private[Count]

    edges: list[SampleEdge] = strawberry.field(description="The samples of this page, the newest first.")
    page_info: PageInfo = strawberry.field(description="Where the page begins and ends.")

    @classmethod
    def of(cls, page: Page[Header], request: PageRequest, read: Read, count: Count) -> Self:
        """Show `page`, which `read` returned for `request`; `count` counts all pages."""
        edges = [SampleEdge(cursor=cursor.encode(), node=Sample.of(header)) for cursor, header in page.edges]
        return cls(count=count, edges=edges, page_info=PageInfo.of(page, request, read))

    @strawberry.field(
        description=(
            f"How many samples there are {_TOTAL} With a state other than REJECTED and `submittedAt`, "
            "they are looked at one by one."
        )
    )
    async def total_count(self) -> int:
        """Count them."""
        return await self.count()

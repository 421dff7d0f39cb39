"""graphql-core's executor without reference cycles.

graphql-core refers to the executor from its helpers, and to the helpers from the executor. With the executor, such a
cycle keeps the context and the variables of an operation in memory until the garbage collector runs.
"""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any

from graphql.execution import Executor
from graphql.type import GraphQLResolveInfoHelpers


class PacedExecutor(Executor[Any]):
    """Executes one operation. The default executor is slower: it supports incremental delivery."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.async_helpers = HELPERS


async def gather(awaitables: Iterable[Awaitable[Any]]) -> list[Any]:
    """Return the values of all `awaitables`. If one fails, cancel all others and wait until they end."""
    tasks = [asyncio.ensure_future(each) for each in awaitables]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


HELPERS = GraphQLResolveInfoHelpers(gather, lambda awaitables: None)
"""What resolvers of abstract types use. The schemas that this server executes have no abstract types."""

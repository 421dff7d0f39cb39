"""What resolvers work with: who is asking, and the services of the process.

One context serves one operation: its loaders join the reads that one level of a query needs into one call.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import strawberry
from strawberry.dataloader import DataLoader

from documents import Header, Result
from graphql_api.auth import Caller
from graphql_api.live import Live
from graphql_api.receiving import Receiver
from graphql_api.store import Store


@dataclass(slots=True)
class Context:
    """The caller and the services; `headers` and `results` load documents of the caller's by sample id."""

    caller: Caller
    store: Store
    live: Live
    receiver: Receiver
    headers: DataLoader[str, Header | None] = field(init=False)
    results: DataLoader[str, Result | None] = field(init=False)

    def __post_init__(self) -> None:
        """Make the loaders; nothing is read before they are asked."""
        self.headers = DataLoader(load_fn=partial(_headers, self))
        self.results = DataLoader(load_fn=partial(_results, self))


Info = strawberry.Info[Context, None]


async def _headers(context: Context, ids: Sequence[str]) -> Sequence[Header | None]:
    found = await context.store.headers(context.caller.submitter, ids)
    return [found.get(sample_id) for sample_id in ids]


async def _results(context: Context, ids: Sequence[str]) -> Sequence[Result | None]:
    found = await context.store.results(context.caller.submitter, ids)
    return [found.get(sample_id) for sample_id in ids]

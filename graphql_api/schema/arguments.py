"""Arguments that several root fields share."""

from typing import Annotated

import strawberry

from graphql_api.results.pagination import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from graphql_api.schema.types.inputs import ResultFilter

SampleId = Annotated[strawberry.ID, strawberry.argument(name="id", description="The id of the sample.")]
RecomputationId = Annotated[strawberry.ID, strawberry.argument(name="id", description="The id of the recomputation.")]
OptionalResultFilter = Annotated[
    ResultFilter | None,
    strawberry.argument(name="filter", description="Selects results. By default, all results are selected."),
]
First = Annotated[
    int | None,
    strawberry.argument(
        description=(
            "The maximum number of items from the start of the list, up to "
            f"{MAX_PAGE_SIZE}. The default is {DEFAULT_PAGE_SIZE}."
        )
    ),
]
After = Annotated[
    str | None,
    strawberry.argument(description="The cursor of an item. The page starts after this item."),
]
Last = Annotated[
    int | None,
    strawberry.argument(
        description=(
            f"The maximum number of items from the end of the list, up to {MAX_PAGE_SIZE}. The order of the list does "
            "not change. Cannot be combined with `first`."
        )
    ),
]
Before = Annotated[
    str | None,
    strawberry.argument(description="The cursor of an item. The page ends before this item."),
]

"""Arguments that several root fields share."""

from typing import Annotated

import strawberry

from graphql_api.results.pagination import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from graphql_api.results.series_listing import check_names
from graphql_api.schema.types.inputs import ResultFilter
from storage.documents import labels

SampleId = Annotated[strawberry.ID, strawberry.argument(name="id", description="The id of the sample.")]
RecomputationId = Annotated[strawberry.ID, strawberry.argument(name="id", description="The id of the recomputation.")]
DeletionId = Annotated[strawberry.ID, strawberry.argument(name="id", description="The id of the deletion.")]
OptionalResultFilter = Annotated[
    ResultFilter | None,
    strawberry.argument(name="filter", description="Selects results. By default, all results are selected."),
]
OptionalGroupBy = Annotated[
    list[str] | None,
    strawberry.argument(
        description=(
            f"The names of up to {labels.MAX_LABELS} labels. Results with equal values of these labels form a group."
        )
    ),
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


def names_of(group_by: list[str] | None) -> list[str]:
    """Return the names of the labels by which results are grouped. Raises `BadRequest` if they are not valid."""
    if group_by:
        check_names(group_by)
    return group_by or []

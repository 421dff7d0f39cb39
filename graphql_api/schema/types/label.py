"""Labels as clients see them."""

from typing import Annotated

import strawberry

from storage.documents import Labels

LABELS = "The labels of the sample, in alphabetical order of their names."
LABEL = (
    "The value of one label of the sample, or null if the sample does not have this label. For a table with a column "
    "for each label, select this field several times, each time with an alias."
)
LabelName = Annotated[str, strawberry.argument(description="The name of the label.")]


@strawberry.type(description="A name and a value that say where a sample comes from, for example `site` and `zurich`.")
class Label:
    """A label of a sample."""

    name: str = strawberry.field(description="The name of the label.")
    value: str = strawberry.field(description="The value of the label.")


def graphql_labels(labels: Labels) -> list[Label]:
    """Return the GraphQL objects of labels."""
    return [Label(name=name, value=value) for name, value in sorted(labels.items())]

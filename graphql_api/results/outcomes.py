"""Results as the outcomes of samples: they determine the states of their samples.

Few samples are FAILED or SUPERSEDED. They are found by their results, so the other samples need not be read. Results
have the labels and the time of submission of their sample. A result can be kept longer than its sample.
"""

from collections.abc import Sequence

from graphql_api.results.filters import Order, Selection
from graphql_api.results.ordered_query import OrderedQuery
from graphql_api.results.sharded_query import ShardedQuery
from storage.documents import OUTCOMES, Status, belongs_to_sample, document_paths
from storage.firestore import encoding
from storage.firestore.client import Firestore
from storage.firestore.messages import Document

RARE_OUTCOMES = (Status.SUPERSEDED, Status.FAILED)

NEWEST_FIRST = Order("submitted_at", descending=True)

_IDENTITY = ("submitted_at",)
"""The fields of a header that tell the sample from an earlier one with the same id."""


def results_by_submission(
    selection: Selection, outcomes: Sequence[Status] = OUTCOMES, select: Sequence[str] = ()
) -> OrderedQuery:
    """Return a query of the selected results with these outcomes, the earliest submission first.

    Results of earlier releases lack the time of submission. The query leaves them out.
    """
    equal = {"status": tuple(each.value for each in outcomes)}
    return OrderedQuery(document_paths.RESULTS, Order("submitted_at"), equal=equal, selection=selection, select=select)


def rare_outcomes(
    firestore: Firestore,
    submitter: str,
    shards: int,
    outcome: Status,
    selection: Selection,
    *,
    mask: Sequence[str] = _IDENTITY,
    headers: dict[str, Document] | None = None,
) -> ShardedQuery:
    """Return the results with an outcome whose samples exist and are selected, the latest submission first.

    The query adds the headers that it reads to `headers`, by path. They have the fields of `mask`, which must contain
    `submitted_at`. Labels are checked after reading: one index serves all selections. Use this query only for
    `RARE_OUTCOMES`.
    """
    query = OrderedQuery(
        document_paths.RESULTS,
        NEWEST_FIRST,
        equal={"status": outcome.value},
        selection=Selection(selection.bounds),
        select=("status", "sample_update_time", "label_terms"),
    )

    async def have_samples(results: Sequence[Document]) -> list[bool]:
        """Return whether each of these results has the selected labels, and belongs to a sample that exists."""
        paths = [
            document_paths.sample(submitter, document_paths.id_of(result.name))
            if _has_labels(result, selection)
            else ""
            for result in results
        ]
        found = await firestore.batch_get_page([path for path in paths if path], mask=mask)
        if headers is not None:
            headers.update(found)
        return [path in found and belongs_to(result, found[path]) for result, path in zip(results, paths, strict=True)]

    return ShardedQuery(firestore, submitter, shards, query, have_samples, matches_most=selection.label_term is None)


def _has_labels(result: Document, selection: Selection) -> bool:
    terms = result.fields["label_terms"].array_value.values if "label_terms" in result.fields else ()
    return selection.label_term is None or any(term.string_value == selection.label_term for term in terms)


def belongs_to(result: Document, header: Document) -> bool:
    """Return whether a result belongs to the sample with this header, and not to an earlier sample with the same id.

    The field `submitted_at` of both must be read, and the fields `status` and `sample_update_time` of the result.
    """
    return belongs_to_sample(encoding.from_document(result), encoding.field_time(header, "submitted_at"))

"""Topics of Listen targets: a commit is compared only with the targets that its documents can match."""

from itertools import product
from typing import Any

import pytest

from infra.embedded.firestore import messages as m
from infra.embedded.firestore.encoding import resource_names
from infra.embedded.firestore.listen.targets import DocumentsTarget, QueryTarget, Target
from infra.embedded.firestore.listen.turns import Turns
from infra.embedded.firestore.queries import structured_query
from infra.embedded.firestore.storage.change_feed import Subscriptions, topics_of
from tests.infra.firestore.listen.listen_calls import Stream, documents, write
from tests.infra.firestore.server_process import DATABASE, ROOT, FirestoreProcess

PARENTS = ("", "/a/x", "/a/x/b/y")
NAMES = (
    f"{ROOT}/a/x",
    f"{ROOT}/a/y",
    f"{ROOT}/b/x",
    f"{ROOT}/a/x/a/x",
    f"{ROOT}/a/x/b/y",
    f"{ROOT}/a/x/b/y/a/z",
    f"{ROOT}/b/x/b/y",
    "projects/p/databases/other/documents/a/x",
)


def query_target(parent: str, collection_id: str, *, all_descendants: bool = False) -> QueryTarget:
    """Return a target with all documents of a collection, or of all collections."""
    message: Any = m.StructuredQuery()
    message.from_.add(collection_id=collection_id, all_descendants=all_descendants)
    return QueryTarget(1, structured_query.read(f"{ROOT}{parent}", message), Turns())


TARGETS: list[Target] = [
    *(query_target(parent, collection_id) for parent, collection_id in product(PARENTS, ("a", "b", ""))),
    *(query_target(parent, "", all_descendants=True) for parent in PARENTS),
    *(query_target("", collection_id, all_descendants=True) for collection_id in ("a", "b")),
    *(DocumentsTarget(1, DATABASE, [name]) for name in NAMES[:-1]),
    DocumentsTarget(1, DATABASE, list(NAMES[:3])),
]


@pytest.mark.parametrize("full_name", NAMES)
def test_a_document_has_a_topic_of_exactly_the_targets_that_cover_it(full_name: str) -> None:
    """Targets of every kind: documents, collections, collection groups, all children, and all descendants."""
    subscriptions = Subscriptions[Target]()
    for target in TARGETS:
        subscriptions.add(target, target.topics)

    found = subscriptions.of(resource_names.parse(full_name))

    assert set(found) == {target for target in TARGETS if target.covers(full_name)}


def test_a_topic_is_unused_after_its_last_subscriber_has_left() -> None:
    """The subscribers of the other topics stay."""
    one, other = query_target("", "a"), query_target("", "a")
    name = resource_names.parse(f"{ROOT}/a/x")
    subscriptions = Subscriptions[Target]()
    subscriptions.add(one, one.topics)
    subscriptions.add(other, other.topics)

    assert subscriptions.remove(one, one.topics) == []
    assert list(subscriptions.of(name)) == [other]
    assert subscriptions.remove(other, other.topics) == list(other.topics)
    assert not subscriptions
    assert set(topics_of(name)) > other.topics


def test_a_removed_target_takes_nothing_from_an_equal_target(firestore: FirestoreProcess) -> None:
    """Both have the same topic."""
    stream = Stream(firestore, documents("equal/a"), documents("equal/a", target_id=2))
    stream.snapshot()
    stream.snapshot()

    stream.remove(1)
    stream.add(documents("equal/b", target_id=3))
    answer = stream.snapshot()
    write(firestore, equal__a=1)
    changed = stream.snapshot()
    stream.close()

    assert answer == ["REMOVE", "ADD", "RESET", "xb", "CURRENT"]
    assert changed == ["+a"]

"""Large responses are encoded in steps, so that other requests run meanwhile."""

from typing import Any

import orjson
import pytest

from graphql_api.budgets.loop_turns import LoopTurn, LoopTurns
from graphql_api.graphql_server.execution.responses import encode_lists, from_payload
from storage.documents.errors import DropzoneError

PAGE = {"edges": [{"node": {"id": "a", "counts": [1, 2]}}, None], "pageInfo": {"hasNextPage": True}, "totalCount": 2}


class CountedTurn(LoopTurn):
    """Counts the pauses."""

    pauses = 0

    def __init__(self) -> None:
        super().__init__(LoopTurns(), "somebody")

    async def pause(self) -> None:
        self.pauses += 1


@pytest.mark.parametrize(
    "data",
    [
        {"a": PAGE, "b": None, "c": 1.5, "d": {"e": PAGE}},
        {"buckets": [{"start": "2019", "mean": 1.0}] * 30},
        {"values": ["a", "é", '"'], "empty": [], "nothing": [None, None], "lists": [[1], [2, 3]]},
        {"raw": orjson.Fragment(b'{"a":  1}')},
        {},
    ],
)
async def test_a_response_in_steps_has_the_same_bytes(data: dict[str, Any]) -> None:
    """Clients see no difference between light and heavy operations."""
    expected = from_payload({"data": data}, "a query").body
    copy = {name: _copy(value) for name, value in data.items()}

    await encode_lists(copy, CountedTurn(), None, ())

    assert from_payload({"data": copy}, "a query").body == expected


async def test_the_encoding_can_pause_at_each_item() -> None:
    """The items of one list can be most of a response."""
    turn = CountedTurn()

    await encode_lists({"page": {"edges": [{"cursor": "a"}] * 100}}, turn, None, ())

    assert turn.pauses == 100


async def test_fields_with_large_json_stay_unchanged() -> None:
    """Their JSON would be copied once more, and a client can request 128 MiB of it."""
    raw = orjson.Fragment(b'{"data":[1]}')
    samples = {"edges": [{"node": {"raw": raw}}]}
    data: dict[str, Any] = {"samples": samples, "others": [{"id": "a"}]}

    await encode_lists(data, CountedTurn(), None, {"samples"})

    assert samples["edges"][0]["node"]["raw"] is raw
    assert isinstance(data["others"][0], orjson.Fragment)


async def test_a_response_that_is_too_large_is_not_encoded_further() -> None:
    """The error of `check` ends the work, and the remaining items are not encoded."""
    items = [{"name": "a" * 98}] * 10

    def check(byte_count: int) -> None:
        if byte_count > 500:
            raise DropzoneError("too large")

    turn = CountedTurn()
    with pytest.raises(DropzoneError):
        await encode_lists({"items": items}, turn, check, ())

    assert turn.pauses == 5


async def test_a_value_that_cannot_be_encoded_is_logged_once() -> None:
    """A lone surrogate is masked in the same way as in a response that is encoded at once."""
    data = {"items": [{"name": "\ud800"}]}

    await encode_lists(data, CountedTurn(), None, ())

    response = orjson.loads(from_payload({"data": data}, "a query").body)
    assert response["data"] is None
    assert response["errors"][0]["extensions"]["code"] == "INTERNAL"


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copy(each) for name, each in value.items()}
    return [_copy(each) for each in value] if isinstance(value, list) else value

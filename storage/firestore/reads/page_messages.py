"""Messages that hold all documents of a page, or all values of a column.

If encoded messages of protobuf follow one another, a parser joins their lists. Together, the responses of RunQuery or
BatchGetDocuments are therefore a message with a list of documents. In the same way, some `Value`s are a message with
lists of doubles, integers, times and maps.

The values of a column can therefore be parsed together, if a page is read whose documents have encoded values.
"""

from collections.abc import Sequence
from typing import Any

import proto
from google.protobuf.timestamp_pb2 import Timestamp

from storage.firestore.messages import Document

__protobuf__ = proto.module(package="dropzone.pages")


class _EncodedDocument(proto.Message):
    name = proto.Field(proto.STRING, number=1)
    fields = proto.MapField(proto.STRING, proto.BYTES, number=2)
    create_time = proto.Field(proto.MESSAGE, number=3, message=Timestamp)
    update_time = proto.Field(proto.MESSAGE, number=4, message=Timestamp)


class _Page(proto.Message):
    documents = proto.RepeatedField(proto.MESSAGE, number=1, message=Document)


class _EncodedPage(proto.Message):
    documents = proto.RepeatedField(proto.MESSAGE, number=1, message=_EncodedDocument)


class _Numbers(proto.Message):
    integer_value = proto.RepeatedField(proto.INT64, number=2)
    double_value = proto.RepeatedField(proto.DOUBLE, number=3)


class _NumberList(proto.Message):
    values = proto.Field(proto.MESSAGE, number=1, message=_Numbers)


class _Member(proto.Message):
    array_value = proto.Field(proto.MESSAGE, number=9, message=_NumberList)
    string_value = proto.Field(proto.STRING, number=17)


class _Map(proto.Message):
    fields = proto.MapField(proto.STRING, proto.MESSAGE, number=1, message=_Member)


class _Column(proto.Message):
    integer_value = proto.RepeatedField(proto.INT64, number=2)
    double_value = proto.RepeatedField(proto.DOUBLE, number=3)
    map_value = proto.RepeatedField(proto.MESSAGE, number=6, message=_Map)
    timestamp_value = proto.RepeatedField(proto.MESSAGE, number=10, message=Timestamp)


Page: Any = _Page.pb()
EncodedPage: Any = _EncodedPage.pb()
_column: Any = _Column.pb()


def column(values: Sequence[bytes]) -> Any:
    """Return the values of a field as a list for each type. Empty bytes and values of other types are left out.

    In a map, `array_value.values` has a list of doubles and a list of integers.
    """
    return _column.FromString(b"".join(values))

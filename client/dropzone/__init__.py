"""A client of Dropzone: submit measurements, read and watch their statistics.

    with Client("https://dropzone.example.org", key) as dropzone:
        receipt = dropzone.submit({"time_stamp": "2019-05-01T06:00:00-04:00", "data": [0.379, 1.58]})
        for settled in dropzone.wait([receipt.id]):
            print(settled.state, dropzone.result(receipt.id))

`AsyncClient` does the same for programs with an event loop. The command `dropzone` is made of it.
"""

from dropzone.asynchronous import DEFAULT_URL, AsyncClient
from dropzone.errors import (
    BadRequest,
    BadUserInput,
    Conflict,
    DropzoneError,
    Forbidden,
    Internal,
    NotFound,
    RateLimited,
    RequestTimeout,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
    UnusableSample,
)
from dropzone.filters import OrderField, Range, ResultFilter, ResultOrder, SampleFilter
from dropzone.model import (
    Bucket,
    Histogram,
    Problem,
    Receipt,
    Result,
    ResultEdge,
    Sample,
    SampleState,
    Summary,
    TimeBucket,
)
from dropzone.submission import SampleLike
from dropzone.synchronous import Client

__all__ = [
    "DEFAULT_URL",
    "AsyncClient",
    "BadRequest",
    "BadUserInput",
    "Bucket",
    "Client",
    "Conflict",
    "DropzoneError",
    "Forbidden",
    "Histogram",
    "Internal",
    "NotFound",
    "OrderField",
    "Problem",
    "Range",
    "RateLimited",
    "Receipt",
    "RequestTimeout",
    "Result",
    "ResultEdge",
    "ResultFilter",
    "ResultOrder",
    "Sample",
    "SampleFilter",
    "SampleLike",
    "SampleState",
    "Summary",
    "TimeBucket",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "UnexpectedAnswer",
    "Unreachable",
    "UnusableSample",
]

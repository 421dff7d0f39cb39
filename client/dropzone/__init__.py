"""A client of Dropzone. It submits samples, and it reads and watches their statistics.

    with Client("https://dropzone.example.org", key) as dropzone:
        receipt = dropzone.submit({"time_stamp": "2019-05-01T06:00:00-04:00", "data": [0.379, 1.58]})
        for settled in dropzone.wait([receipt.id]):
            print(settled.state, settled.result)

`AsyncClient` has the same methods for programs with an event loop. The command `dropzone` also uses `AsyncClient`.
"""

from dropzone.async_client import DEFAULT_URL, AsyncClient
from dropzone.errors import (
    BadRequest,
    BadUserInput,
    ClientClosed,
    Conflict,
    DataLoss,
    DropzoneError,
    Forbidden,
    Internal,
    NotFound,
    RateLimited,
    RequestTimeout,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnexpectedResponse,
    Unreachable,
    UnusableSample,
)
from dropzone.results import Bucket, Group, Removal, RemovalEdge, Result, ResultEdge, TimeBucket
from dropzone.samples import (
    FailedAttempts,
    HourlyRetention,
    Problem,
    Receipt,
    Retention,
    Sample,
    SampleFilter,
    SampleState,
    SettledSample,
)
from dropzone.sign_in.credentials import Identity, Token
from dropzone.statistics import (
    Histogram,
    OrderField,
    Range,
    ResultFilter,
    ResultOrder,
    ResultOverview,
    Summary,
)
from dropzone.submission import SampleLike, read_csv
from dropzone.sync_client import Client

__all__ = [
    "DEFAULT_URL",
    "AsyncClient",
    "BadRequest",
    "BadUserInput",
    "Bucket",
    "Client",
    "ClientClosed",
    "Conflict",
    "DataLoss",
    "DropzoneError",
    "FailedAttempts",
    "Forbidden",
    "Group",
    "Histogram",
    "HourlyRetention",
    "Identity",
    "Internal",
    "NotFound",
    "OrderField",
    "Problem",
    "Range",
    "RateLimited",
    "Receipt",
    "Removal",
    "RemovalEdge",
    "RequestTimeout",
    "Result",
    "ResultEdge",
    "ResultFilter",
    "ResultOrder",
    "ResultOverview",
    "Retention",
    "Sample",
    "SampleFilter",
    "SampleLike",
    "SampleState",
    "SettledSample",
    "Summary",
    "TimeBucket",
    "Token",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "UnexpectedResponse",
    "Unreachable",
    "UnusableSample",
    "read_csv",
]

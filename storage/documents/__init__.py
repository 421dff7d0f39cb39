"""The stored documents: paths, samples, results, problems and errors.

This package is the contract between the API and the trigger functions, which are deployed separately and never import
each other. It opens no connections.

Classes with many fields are structs of msgspec. Creating a `Result` takes a tenth of the time that a frozen dataclass
takes.
"""

from storage.documents.chunks import Upload, chunk_count, chunk_fields, compress_chunk
from storage.documents.document_paths import ContentKey, SampleIdentity
from storage.documents.errors import (
    BadRequest,
    Conflict,
    DataLoss,
    DropzoneError,
    Forbidden,
    IncompleteJson,
    InvalidSample,
    NotFound,
    NotJson,
    RateLimited,
    RetryLater,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from storage.documents.labels import Labels
from storage.documents.problems import Problem, ProblemCode
from storage.documents.result import (
    OUTCOMES,
    FailedAttempts,
    Result,
    SampleState,
    Status,
    belongs_to_sample,
    copy_with_new_id,
    state_of,
)
from storage.documents.retention import Archiving, Expiry, HourlyRetention, Retention, has_expired
from storage.documents.sample import Arrival, Header, Sample
from storage.documents.statistics import STATISTICS, STATISTICS_VERSION, Histogram, Statistic, Statistics
from storage.documents.tombstone import Tombstone

__all__ = [
    "OUTCOMES",
    "STATISTICS",
    "STATISTICS_VERSION",
    "Archiving",
    "Arrival",
    "BadRequest",
    "Conflict",
    "ContentKey",
    "DataLoss",
    "DropzoneError",
    "Expiry",
    "FailedAttempts",
    "Forbidden",
    "Header",
    "Histogram",
    "HourlyRetention",
    "IncompleteJson",
    "InvalidSample",
    "Labels",
    "NotFound",
    "NotJson",
    "Problem",
    "ProblemCode",
    "RateLimited",
    "Result",
    "Retention",
    "RetryLater",
    "Sample",
    "SampleIdentity",
    "SampleState",
    "Statistic",
    "Statistics",
    "Status",
    "Tombstone",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "Upload",
    "belongs_to_sample",
    "chunk_count",
    "chunk_fields",
    "compress_chunk",
    "copy_with_new_id",
    "has_expired",
    "state_of",
]

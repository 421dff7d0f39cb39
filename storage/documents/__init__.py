"""The stored documents: paths, samples, results, problems and errors.

This package is the contract between the API and the trigger functions, which are deployed separately and never import
each other. It opens no connections.
"""

from storage.documents.errors import (
    BadRequest,
    Conflict,
    DataLoss,
    DropzoneError,
    Forbidden,
    InvalidSample,
    NotFound,
    NotJson,
    RateLimited,
    RetryLater,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from storage.documents.failed_attempts import FailedAttempts
from storage.documents.labels import Labels
from storage.documents.problems import Problem, ProblemCode
from storage.documents.result import Result, SampleState, Status, state_of
from storage.documents.retention import Expiry, Retention
from storage.documents.sample import Arrival, ContentKey, Header, Identity, Sample, chunk_count, compress_chunk
from storage.documents.statistics import STATISTICS, STATISTICS_VERSION, Histogram, Statistic, Statistics
from storage.documents.tombstone import Tombstone

__all__ = [
    "STATISTICS",
    "STATISTICS_VERSION",
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
    "Identity",
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
    "SampleState",
    "Statistic",
    "Statistics",
    "Status",
    "Tombstone",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "chunk_count",
    "compress_chunk",
    "state_of",
]

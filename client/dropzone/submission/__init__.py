"""Submission of samples: their bytes, tables of samples, and concurrent requests in order."""

from dropzone.submission.csv_table import csv_samples, read_csv
from dropzone.submission.sample_bytes import SampleLike

__all__ = ["SampleLike", "csv_samples", "read_csv"]

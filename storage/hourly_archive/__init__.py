"""The hourly archive: merged statistics of expired results, and their storage."""

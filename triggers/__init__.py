"""The functions that Eventarc calls after a write: the computation of results, and the statistics."""

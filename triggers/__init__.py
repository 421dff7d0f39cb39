"""The functions that Eventarc calls after a write. They compute the statistics of samples and store the results."""

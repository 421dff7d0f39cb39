"""The hourly archive: merged statistics of results that have expired, how they are stored and read."""

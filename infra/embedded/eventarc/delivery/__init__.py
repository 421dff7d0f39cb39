"""The delivery of events from the change feed to the function: fair order, retries, quarantine and saved state."""

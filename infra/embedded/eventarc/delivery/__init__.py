"""From the change feed to the function: fair order, retries, quarantine and the saved state."""

"""The audit of the promise: every accepted sample is checked once for a result, some minutes after it arrived."""

"""The audit: checks once for each accepted sample, some minutes after it arrived, whether it has a result."""

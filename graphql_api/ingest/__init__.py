"""Reading, validating and storing samples from the bytes of a request."""

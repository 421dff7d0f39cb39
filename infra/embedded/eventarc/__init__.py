"""Event delivery like Eventarc: each document write becomes a CloudEvent, which is sent until it is acknowledged."""

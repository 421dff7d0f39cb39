"""Event delivery that works like Eventarc: each document write becomes a CloudEvent, sent until it is acknowledged."""

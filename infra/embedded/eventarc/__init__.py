"""Event delivery as Eventarc does it: document writes become CloudEvents, sent until they are acknowledged."""

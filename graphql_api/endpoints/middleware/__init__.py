"""Code that runs around all endpoints: the record of requests, access from other origins, and responses to errors."""

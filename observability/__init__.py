"""Logs of all processes. Knows nothing of samples, so every package except the client may import it."""

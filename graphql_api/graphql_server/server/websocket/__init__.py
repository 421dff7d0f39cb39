"""WebSocket connections. They take turns to parse their frames."""

"""Plain HTTP endpoints: samples, results, sessions, health and metrics."""

"""Plain HTTP endpoints: samples, results, health and metrics."""

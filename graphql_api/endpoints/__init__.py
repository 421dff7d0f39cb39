"""Plain HTTP: samples, results, health, metrics."""

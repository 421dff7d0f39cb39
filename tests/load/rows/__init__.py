"""Groups of rows, each a function that yields rows and can be asked for by its name."""

"""Groups of rows: one function per group, which yields its rows."""

"""Web pages for browsers: the dashboard and GraphiQL."""

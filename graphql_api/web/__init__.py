"""The pages for browsers: dashboard and GraphiQL."""

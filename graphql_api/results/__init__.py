"""Reading stored data: lists, pages, summaries, exports and recomputation. This package has no GraphQL types."""

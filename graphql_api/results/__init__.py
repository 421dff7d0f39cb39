"""Reading back: listing, pagination, summaries, exports, recomputation. Plain values, no GraphQL types."""

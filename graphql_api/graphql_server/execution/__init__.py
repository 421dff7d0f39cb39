"""Processing of a GraphQL request: parsing, limits, validation, execution and the response."""

"""From a GraphQL request to its response: parsing, limits, validation, execution."""

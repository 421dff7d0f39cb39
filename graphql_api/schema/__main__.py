"""Print the published schema: `python -m graphql_api.schema`."""

from graphql_api.schema.executable_schema import schema

print(schema.as_str())

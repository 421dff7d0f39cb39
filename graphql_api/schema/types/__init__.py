"""The types of the schema: objects, connections, inputs, enums and scalars."""

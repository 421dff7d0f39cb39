"""GraphQL over HTTP, Server-Sent Events, multipart and WebSockets."""

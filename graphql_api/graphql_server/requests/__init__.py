"""HTTP requests: their headers, media types and bodies."""

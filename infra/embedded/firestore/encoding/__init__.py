"""Document names, fields and values: parsed, validated, measured, and encoded as bytes that sort."""

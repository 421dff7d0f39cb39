"""A structured query: filters, order, plan, scan, aggregation, vector search."""

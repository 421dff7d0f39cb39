"""Bytes that sort as Firestore sorts, and what may be in a document: names, fields, values, sizes, limits."""

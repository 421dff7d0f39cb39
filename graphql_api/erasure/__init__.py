"""Erases all documents of a submitter, for operators."""

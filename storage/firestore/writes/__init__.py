"""Writes in groups, the queue in which submitters take turns, and the probe whether Firestore accepts writes."""

"""Subscriptions: one Firestore listener per process, a log of results, replay from a cursor."""

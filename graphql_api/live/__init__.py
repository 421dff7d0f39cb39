"""Subscriptions: one Firestore listener per process, a log of new results, and replay of older results."""

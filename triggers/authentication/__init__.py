"""Authentication of events: checks that an event comes from Eventarc, or from the embedded event delivery."""

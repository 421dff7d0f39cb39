"""Who sends an event: the proof that it comes from Eventarc, or from the embedded delivery."""

"""What the API, the function and the embedded Firestore need as processes: inherited sockets, and little memory."""

"""What the processes need: inherited sockets, little memory, and results that requests share."""

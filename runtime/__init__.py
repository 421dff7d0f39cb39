"""What the processes need: elapsed time, inherited sockets, little memory, and results that requests share."""

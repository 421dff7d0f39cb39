"""What all processes need: elapsed time, inherited sockets, little memory, shared tasks, and Ctrl-C in commands."""

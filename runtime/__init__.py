"""What all processes need: elapsed time, listening sockets, little memory, shared tasks, and Ctrl-C in commands."""

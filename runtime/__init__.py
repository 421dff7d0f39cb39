"""What all processes need: elapsed time, sockets, little memory, shared tasks, Ctrl-C and standard streams."""

"""What all processes need: elapsed time, sockets, little memory, imports, shared tasks, Ctrl-C and standard streams."""

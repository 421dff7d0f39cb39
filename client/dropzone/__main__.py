"""`python -m dropzone` is the command `dropzone`."""

from dropzone.command import main

if __name__ == "__main__":
    main()

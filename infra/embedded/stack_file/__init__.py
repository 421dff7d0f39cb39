"""The stack file: its content as typed values, its reader, and the placeholders in its texts."""

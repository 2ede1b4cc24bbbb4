"""What bridge costs on this machine: the same requests with and without it, side by side."""

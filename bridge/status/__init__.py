"""One screen about the daemon and its credentials: what it says, how it looks, and kept up."""

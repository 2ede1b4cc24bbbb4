"""The strongbox: the credential file shared with the official CLI, and what comes out of it."""

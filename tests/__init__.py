"""The promises of bridge, one test each."""

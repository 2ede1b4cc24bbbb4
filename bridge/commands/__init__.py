"""One module for each family of verbs a person types."""

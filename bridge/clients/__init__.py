"""What points a coding agent at the bridge: environments and shell functions, as text."""

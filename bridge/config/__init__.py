"""The configuration: a text, an environment and some options become values, or a complaint.

Pure, all of it: no file is opened and no environment read here; a path is a string.
"""

from bridge.config.reading import Entry
from bridge.config.values import Config, Network, Paths, Server, parse, paths

__all__ = ["Config", "Entry", "Network", "Paths", "Server", "parse", "paths"]

"""bridge: a loopback daemon that gives coding agents a fresh credential for every request."""

__version__ = "0.1.0"

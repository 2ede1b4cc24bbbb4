"""The way of the traffic out: connections that are warm, and bytes that are not looked at."""

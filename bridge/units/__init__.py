"""Units for service managers: what systemd and launchd are to know of the daemon."""

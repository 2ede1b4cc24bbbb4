"""What the standards say: RFC 6749 (token, refresh) and RFC 8628 (device grant)."""

"""The passage: a request comes in with a stale credential and leaves with a fresh one."""

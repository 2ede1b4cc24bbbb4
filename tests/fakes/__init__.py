"""Doubles with memory and a role name; each has its own test."""

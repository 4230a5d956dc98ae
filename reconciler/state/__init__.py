"""Reads and writes what is recorded: lockfiles in the tree, and records that could not be pushed."""

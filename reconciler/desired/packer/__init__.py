"""Reads Packer templates without running Packer: three syntaxes, one tree, and the facts that are in it."""

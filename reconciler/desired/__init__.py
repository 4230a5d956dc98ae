"""Reads `desired/` at one revision: declarations, Packer templates, and every file that feeds a build."""

"""Disks: files in a folder, each under its digest, with its marks beside it."""

"""Reads a repository that has Packer templates and no desired/ yet, and proposes one."""

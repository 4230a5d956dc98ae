"""Runs Packer and follows it. Nothing outside this package starts Packer."""

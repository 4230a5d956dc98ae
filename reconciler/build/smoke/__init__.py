"""Tests a booted image over SSH: the once-over that every image gets, its own suite, and its inventory."""

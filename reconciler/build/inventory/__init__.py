"""Reads what is inside a booted image: one script there, and a parser of what it prints here."""

"""How it reads: tables, Markdown, commit and tag messages, JUnit, counts, times. Pure functions."""

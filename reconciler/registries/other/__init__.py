"""What is of no kind that is known here: built, and recorded as what Packer said of it."""

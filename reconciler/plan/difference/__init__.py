"""What differs inside two builds, and how that reads. Pure."""

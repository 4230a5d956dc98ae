"""What people ask of a clone: what differs inside two builds, and what of a build is proven."""

"""What things are: images, sources, keys, builds, plans. Pure values; nothing here does I/O or reads a clock."""

"""What should be done: keys, drift, order, and how a plan reads. Pure functions: no I/O, no clock."""

"""What is proven of a build: from a record to its statement, and from what a clone holds to a judgement. Pure."""

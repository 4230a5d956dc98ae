"""AMIs: the registry that is EC2, and the bench that boots them."""

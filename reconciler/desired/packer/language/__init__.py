"""HCL2 as Packer evaluates it: from text to a tree, and from a tree to a value or to a reason why there is none."""

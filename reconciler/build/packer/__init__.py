"""The Packer that builds: where it is, what differs between its versions, its plugins, and where to get one."""

"""The functions that HCL templates may call, as Packer 1.6 and 1.16 have them."""

class proxy {}

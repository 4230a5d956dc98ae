file "/etc/box"

check() { test -s "$1"; }

# not ours

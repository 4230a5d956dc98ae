"""Where artifacts live: one folder for each kind of artifact."""

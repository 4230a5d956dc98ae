"""What the steps ask of the world: Protocols, with their requests and answers."""

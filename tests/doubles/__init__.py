"""Stand-ins for what the ports ask for. Each passes the contract test of what it stands for."""

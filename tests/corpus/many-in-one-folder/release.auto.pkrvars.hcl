agent_version = "1.90.0"
region = "us-east-1"

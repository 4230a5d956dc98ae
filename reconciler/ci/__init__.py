"""What a CI says of the job that runs here. Nothing else reads what a CI sets in the environment."""

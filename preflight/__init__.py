"""What the project stands on: packages and their hashes, their licences, and what this machine has of all that."""

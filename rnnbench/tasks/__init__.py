"""What a network is trained on: a file per task."""

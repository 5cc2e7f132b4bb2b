"""A run's folder, its record and its lock; one way to read runs again, wherever they lie."""

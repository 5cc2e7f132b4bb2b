"""New cells by search: mutate, screen, evolve, replicate."""

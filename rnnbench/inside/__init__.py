"""What goes on inside a network while it reads a sequence: gradients through time, Jacobians, gates, states."""

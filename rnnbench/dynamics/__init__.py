"""What goes on inside a network: gradients through time, Jacobians, gates, and where numbers first
stop being finite.
"""

"""Training: the loop over steps, a run from settings to record, and the command that trains one."""

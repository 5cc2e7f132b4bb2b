"""What can be done with runs that have ended or networks that were trained, a module a verb."""

"""What can be done with a run that was trained: score it elsewhere, let it write or play, carry it out of here."""

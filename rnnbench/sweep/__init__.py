"""Many runs: expand, pack, launch, status."""

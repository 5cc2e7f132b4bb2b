"""From a study's YAML to its runs, part by part."""

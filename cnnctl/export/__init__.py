"""Files that other programs can run, each proven on real images."""

"""LightningModules: they know loss and metrics, not architectures."""

"""From an argument list to typed, checked configuration."""

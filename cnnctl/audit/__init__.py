"""What a network costs and sees, without allocating it."""

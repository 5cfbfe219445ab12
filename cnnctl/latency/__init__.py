"""How long a net takes for a batch, what else that costs, and what the machine could do."""

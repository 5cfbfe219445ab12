"""How long a net takes, and how much of the machine it uses."""

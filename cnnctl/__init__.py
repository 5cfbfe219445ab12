"""cnnctl: the command-line bench for convolutional networks."""

__version__ = "0.1.0"

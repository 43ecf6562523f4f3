"""The interface of a check: its messages, its report and the client of its process. Does not import torch."""

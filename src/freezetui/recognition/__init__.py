"""Recognizes what builds a checkpoint's model, by names, shapes and configs. Does not import torch."""

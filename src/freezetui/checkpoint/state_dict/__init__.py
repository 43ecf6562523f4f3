"""Converts the objects in an archive to the tensors of one state_dict."""

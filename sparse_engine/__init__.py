"""Truly sparse recurrent networks for PyTorch."""

"""How native operations become operations of PyTorch; README.md argues for each part."""

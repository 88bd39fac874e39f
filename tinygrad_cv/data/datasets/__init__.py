"""Datasets under torchvision's names, read from files that are not trusted."""

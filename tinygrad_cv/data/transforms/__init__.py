"""Changes to images under torchvision's names, seeded."""

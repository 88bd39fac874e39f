"""The vision models that people know, with torchvision's names and state_dict keys."""

"""`python -m tinygrad_cv` is the command `tinygrad-cv`."""

from tinygrad_cv.cli import main

if __name__ == "__main__":
    main()

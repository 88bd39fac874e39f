"""The course: a lab for each lecture, installed as `tinygrad_cv.examples`."""

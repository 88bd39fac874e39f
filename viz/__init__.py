"""Pictures: of graphs, with the rules that ran, and of training runs."""

from tinygrad_cv.viz.boundaries import decision_boundary as decision_boundary
from tinygrad_cv.viz.classes import confusion_matrix as confusion_matrix
from tinygrad_cv.viz.comparing import Diff as Diff
from tinygrad_cv.viz.comparing import diff as diff
from tinygrad_cv.viz.data import Trace as Trace
from tinygrad_cv.viz.diagnosing import diagnosis as diagnosis
from tinygrad_cv.viz.distributions import histograms as histograms
from tinygrad_cv.viz.drawing import Drawing as Drawing
from tinygrad_cv.viz.drawing import draw as draw
from tinygrad_cv.viz.failing import draw_error as draw_error
from tinygrad_cv.viz.filtering import filters as filters
from tinygrad_cv.viz.heatmap import heatmap as heatmap
from tinygrad_cv.viz.histories import curves as curves
from tinygrad_cv.viz.layouts import grid_against_random as grid_against_random
from tinygrad_cv.viz.playing import Playback as Playback
from tinygrad_cv.viz.playing import playback as playback
from tinygrad_cv.viz.points import scatter as scatter
from tinygrad_cv.viz.rates import learning_rates as learning_rates
from tinygrad_cv.viz.scores import bars as bars
from tinygrad_cv.viz.scores import learning_curve as learning_curve
from tinygrad_cv.viz.searching import search as search
from tinygrad_cv.viz.surfaces import contours as contours
from tinygrad_cv.viz.text import summary as summary
from tinygrad_cv.viz.tracing import trace as trace
from tinygrad_cv.viz.watching import Watch as Watch
from tinygrad_cv.viz.watching import watch as watch

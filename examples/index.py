"""Which lecture each lab belongs to, and how long it takes.

examples/README.md shows the same with pictures, and `tinygrad-cv lab` as a list.
"""

from typing import NamedTuple

DECKS = {
    "D0": "Yashunin, Machine learning, lesson 5: Training neural networks, part 1",
    "D1": "Snavely, CS5670, lecture 26: CNN structure and training",
    "D2": "He, CS150, lecture 26: Deep network training pipeline; recurrent networks",
    "D3": "Solberg, INF5860: Neural net: initialization, activations, normalizations",
    "D4": "CS231n, lecture 6: Training neural networks, part 2",
}
"""The lectures."""


class Entry(NamedTuple):
    """The decks of a lab (keys of `DECKS`), the titles of their slides, and its seconds.

    The seconds are those of a whole run on the embedded data, on two cores. `picture` is the name
    of the picture that stands for the lab, by default the first that is no graph.
    """

    decks: str
    slides: str
    seconds: float
    picture: str = ""


INDEX = {
    "01_backprop": Entry("D1", "Backprop in N-dimensions; Mean Subtraction; Euclidean Loss", 2),
    "02_convolution": Entry(
        "D0 D1", "3D Activations; Convolution Layer; Stride; Padding; Max Pooling", 3
    ),
    "03_activations": Entry("D0 D3 D4", "Activation functions; Maxout neuron", 4),
    "04_preprocessing": Entry(
        "D0 D1 D2 D3", "Data preprocessing; The error surface of a linear neuron", 6
    ),
    "05_initialization": Entry(
        "D0 D2 D4", "Small random numbers; Xavier initialization; He et al., 2015", 7
    ),
    "06_batch_norm": Entry("D0 D3 D4", "Batch Normalization; Batch normalization: test time", 8),
    "07_sanity_checks": Entry(
        "D0 D1 D2 D3", "Double check that the loss is reasonable; Overfit a small portion", 3
    ),
    "08_learning_rate": Entry("D0 D1 D2 D3 D4", "Find a learning rate; loss exploding", 19),
    "09_search": Entry("D0 D1 D2 D3", "Coarse to fine search; Random Search vs. Grid Search", 20),
    "10_babysitting": Entry(
        "D0 D1 D2 D3 D4", "Visualize the accuracy, the weights; Track the ratio of updates", 7
    ),
    "11_optimizers": Entry("D4", "Momentum, Nesterov momentum, Adagrad, RMSProp, Adam update", 2),
    "12_schedules": Entry("D1 D4", "Learning rate schedule", 2),
    "13_second_order": Entry("D4", "Second order optimization methods", 6),
    "14_regularization": Entry(
        "D1 D2", "Example Regularizers; Weight decay; Max norm; Dropout", 10, "boundaries"
    ),
    "15_convnet": Entry("D1", "Example ConvNet", 11, "maps"),
    "16_alexnet": Entry("D1", "Example: AlexNet; Dropout: Case study", 22),
    "17_ensembles": Entry("D4", "Evaluation: Model Ensembles", 10),
    "18_fine_tuning": Entry("D0 D1", "Fine-tune from ImageNet", 16),
    "19_rnn": Entry("D2", "Recurrent Neural Network", 4),
    "20_char_rnn": Entry("D2", "RNN for language modeling; Character-level Language Model", 5),
    "21_gradient_check": Entry("D1 D4", "Derive it by hand, and check it numerically", 2),
}
"""The labs by their names."""

"""What each kind of finding usually means, and what to try: the words of the babysitter."""

from typing import NamedTuple

from tinygrad_cv.train.health.finding import Finding, Level

YASHUNIN = "Yashunin, lecture 5"
SNAVELY = "Snavely, CS5670, lecture 26"
SOLBERG = "Solberg, INF 5860"
HE = "He, CS150, lecture 26"
NOTES = "CS231n, lecture 6"


class Kind(NamedTuple):
    """The level of a finding, unless it is said, and what stays the same in all of its kind."""

    level: Level
    means: str
    remedy: str
    source: str


KINDS = {
    # ----- before the training ---------------------------------------------------------------
    "loss_at_start": Kind(
        "warning",
        "an untrained net should know nothing: the first weights are too large, the inputs are not "
        "scaled, or the loss is not the one that you think",
        "initialize smaller (He: sqrt(2/fan_in)), centre and scale the inputs; look at the loss",
        f'{YASHUNIN}, "Double check that the loss is reasonable"; {SOLBERG}, "Monitor the loss '
        'function"',
    ),
    "regularization_missing": Kind(
        "warning",
        "the regularization is not a term of the objective, or has the wrong sign",
        "add the term to the loss: loss = data_loss + strength / 2 * sum of the squared weights",
        f'{YASHUNIN}, "loss went up, good. (sanity check)"; {SNAVELY}, "(3) Check that the loss is '
        'reasonable"',
    ),
    "weight_decay": Kind(
        "note",
        "weight_decay has the gradient of the L2 term, but the loss never contains the term, so "
        "it cannot be seen to rise with the strength",
        "nothing, if that is meant; for the decks' sanity check add the term to the loss",
        f'{SNAVELY}, "Weight decay"',
    ),
    "cannot_overfit": Kind(
        "error",
        "what cannot learn a handful of samples by heart learns nothing: gradients do not arrive, "
        "inputs do not get to the scores, or labels contradict each other",
        "look for a detached layer, a loss of other things than the scores, dead units; check the "
        "gradients with testing.check_gradients",
        f'{SNAVELY}, "(4) Overfit a small portion of the data"; {SOLBERG}, "Debug the code"',
    ),
    # ----- the data --------------------------------------------------------------------------
    "inputs_not_centred": Kind(
        "note",
        "where all inputs of a unit have one sign, the gradients on its weights have one sign too, "
        "and descent zigzags; large ones saturate the units and want tiny rates",
        "subtract the mean image of the training part, and divide by 255 or by the deviation",
        f'{YASHUNIN}, "Step 1: Preprocess the data"; {SNAVELY}, "(1) Data preprocessing"',
    ),
    "inputs_not_finite": Kind(
        "error",
        "a missing value, or a division by a deviation of 0 in the preprocessing",
        "look at that sample; divide by deviation + eps",
        f'{SOLBERG}, "Data preprocessing"',
    ),
    "labels_out_of_range": Kind(
        "error",
        "labels count from 1, a class is missing among the scores, or a mark such as 255 is meant "
        "to be ignored",
        "let labels be 0 to classes - 1, give the net a score for each class, or say ignore_index",
        f'{SOLBERG}, "Review: Cost function for softmax neural networks"',
    ),
    "labels_shuffled": Kind(
        "warning",
        "inputs and labels do not belong together: one of two arrays was shuffled, sorted or cut "
        "without the other; or the task is one of pure chance",
        "look at some samples beside their labels; shuffle inputs and labels by one permutation",
        f'{YASHUNIN}, "Make sure that you can overfit very small portion of the training data": '
        "noise can be learned by heart, and helps no other sample",
    ),
    # ----- the loss --------------------------------------------------------------------------
    "loss_not_moving": Kind(
        "warning",
        "the learning rate is too low",
        "raise it tenfold at a time, until the loss goes down",
        f'{YASHUNIN}, "Loss barely changing: Learning rate is probably too low"',
    ),
    "rate_too_high": Kind(
        "warning",
        "the learning rate is too high, at least for inputs and weights of this size: the first "
        "steps threw the weights away, and with them the loss went up",
        "divide it by ten until the loss goes down from the first step on; or warm it up",
        f'{YASHUNIN}, "loss exploding: learning rate too high" and "Track the ratio of weight '
        'updates / weight magnitudes"',
    ),
    "cost_exploded": Kind(
        "error",
        "the learning rate is too high",
        "divide it by ten; clip the gradients",
        f'{SNAVELY}, "(4) Find a learning rate": if loss > 3 x original loss, quit early; {HE}, '
        '"If the cost is ever > 3 * original cost, break out early"',
    ),
    "not_finite": Kind(
        "error",
        "the learning rate is too high; or a logarithm, root or division met 0",
        "lower the rate; add an eps, or use the loss that takes scores (cross_entropy, "
        "binary_cross_entropy_with_logits)",
        f'{SNAVELY}, "Loss is NaN -> learning rate is too high"; {HE}, "cost: NaN almost always '
        'means high learning rate"',
    ),
    "loss_summed": Kind(
        "warning",
        "the loss is summed over the batch and not averaged, so its gradients, and with them the "
        "right rate, grow with the batch size",
        'reduction="mean", or divide by the number of samples',
        f'{SNAVELY}, "L = (1/N) sum of L_i"',
    ),
    "softmax_twice": Kind(
        "warning",
        "probabilities are given to a loss that takes scores, and are squashed a second time: the "
        "loss cannot get near 0, and its gradients are small",
        "leave out the softmax (or sigmoid) at the end of the net: cross_entropy has its own",
        f'{SOLBERG}, "Review: Cost function for softmax neural networks"',
    ),
    # ----- generalization --------------------------------------------------------------------
    "gap": Kind(
        "note",
        "a big gap is overfitting",
        "increase the regularization (weight decay, dropout), augment, or get more data",
        f'{YASHUNIN}, "big gap = overfitting"; {SNAVELY}, "Visualize the accuracy"',
    ),
    "no_gap": Kind(
        "note",
        "no gap is underfitting: the model has not the capacity for more",
        "increase the capacity, or train longer",
        f'{YASHUNIN}, "no gap => increase model capacity?"; {SNAVELY}, "Visualize the accuracy"',
    ),
    "constant_predictions": Kind(
        "warning",
        "only the last bias has learned: the units before it are dead, saturated or equal, or the "
        "inputs carry nothing",
        "look at the other findings; initialize at random, lower the rate",
        f'{YASHUNIN}, "learning rate too high": the accuracy of one class',
    ),
    # ----- the layers ------------------------------------------------------------------------
    "update_ratio": Kind(
        "note",
        "healthy is somewhere around 1e-3; but the decks' own best rate has .06 to .08, so this "
        "proves nothing alone",
        "above, try a lower rate; below, a higher one",
        f'{YASHUNIN}, "Track the ratio of weight updates / weight magnitudes"',
    ),
    "dead_units": Kind(
        "warning",
        "the rate was too high, and a step threw the units off the data; they get no gradient and "
        "never come back",
        "lower the rate, initialize biases at 0 or a little above, use leaky ReLU or batch norm",
        f"{SOLBERG}, \"monitor the fraction of 'dead' units in a network\"",
    ),
    "saturated": Kind(
        "warning",
        "saturated units kill the gradients: the weights or the inputs are too large",
        "initialize by Xavier, scale the inputs, use batch norm or ReLU",
        f'{YASHUNIN}, "Saturated neurons kill the gradients"',
    ),
    "symmetry": Kind(
        "error",
        "the weights began all equal, so all units of the layer compute the same and get the same "
        "gradient for ever: the layer has one unit",
        "initialize at random: nn.init, or .01 * randn",
        f'{YASHUNIN}, "W = 0"; {SOLBERG}, "Initialization"',
    ),
    "no_gradient": Kind(
        "warning",
        "the loss does not depend on it: something between them is detached (.detach(), .data, "
        ".numpy(), no_grad, argmax), or forward does not use it",
        "let the output of that layer go to the loss as it is; to freeze it, say "
        "requires_grad_(False)",
        f'{SNAVELY}, "[gradient to the left] = [gradient from the right] x [local gradient]"',
    ),
    "not_optimized": Kind(
        "note",
        "it gets gradients, and nobody updates it",
        "give it to the optimizer, or say requires_grad_(False)",
        f'{NOTES}, "Mini-batch SGD: update the parameters using the gradient"',
    ),
    "not_registered": Kind(
        "note",
        "layers in a plain list, dict or function, which parameters() does not find: they are "
        "neither updated nor saved",
        "keep them in nn.ModuleList, nn.ModuleDict or as attributes; or freeze them by "
        "requires_grad_(False), which saves their gradients",
        f'{NOTES}, "Mini-batch SGD: update the parameters using the gradient"',
    ),
    "eval_mode": Kind(
        "warning",
        "the layers use running statistics that nobody updates, and no dropout, while the weights "
        "move",
        "call model.train() before the steps, and model.eval() before validation only",
        f'{YASHUNIN}, "at test time BatchNorm layer functions differently"',
    ),
    "train_mode": Kind(
        "warning",
        "batch norm uses (and learns) the statistics of validation batches, and dropout drops",
        "call model.eval() before validation, and model.train() after it",
        f'{YASHUNIN}, "at test time BatchNorm layer functions differently"',
    ),
    # ----- the loop --------------------------------------------------------------------------
    "no_zero_grad": Kind(
        "error",
        "gradients of all steps add up, and the updates run away",
        "call optimizer.zero_grad() before each backward pass",
        f'{NOTES}, "Mini-batch SGD"',
    ),
    "no_update": Kind(
        "error",
        "loss.backward() or optimizer.step() is not called, the loss is a plain number, or the "
        "optimizer has the parameters of another model, such as of a copy",
        "call optimizer.zero_grad(), loss.backward() and optimizer.step() in each step; make the "
        "optimizer of model.parameters()",
        f'{NOTES}, "Mini-batch SGD: update the parameters using the gradient"',
    ),
    "scheduler_never_stepped": Kind(
        "warning",
        "the schedule was made and forgotten, so the rate stays where it began",
        "call scheduler.step() after each epoch, or give it to Trainer(schedule=...)",
        f'{NOTES}, "learning rate decay over time"; {SNAVELY}, "Learning rate schedule"',
    ),
    "scheduler_too_often": Kind(
        "warning",
        "the rate decays sooner than it was meant to",
        "call scheduler.step() once for each epoch or each step, after optimizer.step()",
        f'{NOTES}, "learning rate decay over time"',
    ),
}


def found(
    kind: str,
    seen: str,
    *,
    level: Level | None = None,
    means: str | None = None,
    remedy: str | None = None,
    step: int | None = None,
    where: str = "",
    key: str = "",
) -> Finding:
    """A finding of a kind, with what was seen."""
    known = KINDS[kind]
    return Finding(
        kind,
        level or known.level,
        seen,
        known.means if means is None else means,
        known.remedy if remedy is None else remedy,
        known.source,
        step,
        where,
        key,
    )

"""Mistakes that students make in the exercises about losses. A forward's code is wrong-forward; a backward's says what its numbers show."""
from numpyvision.exercises.planted import Bug

CLASS, FOCAL, L1, RPN = "losses/classification.py", "losses/focal.py", "losses/regression.py", "losses/rpn.py"
SUM = "(loss if weights is None else weights * loss).sum() / normalizer, cache"
SCALE = "xp.asarray(dloss / cache.normalizer, dtype=logits.dtype)"
MEAN = "the plain mean of everything is taken; divide the sum by the normalizer, which is given or counts what has a weight"
NO_WEIGHTS = "the weights are ignored: each element's loss is multiplied by its weight, and 0 leaves it out"
NEITHER = "weights and normalizer are both ignored, and the plain mean is taken; multiply by the weights, sum, divide by the normalizer"
NO_WEIGHTS_BACK = "the weights are ignored: an element that counts w times in the loss has w times the gradient"
NO_DLOSS = "dloss is ignored: it is the weight of this loss, and every gradient is multiplied by it"
NO_NORMALIZER = "the division by the normalizer is forgotten: the loss was divided by it, so is the gradient"


def sums(name, file):
    """What goes wrong in every weighted elementwise forward."""
    return (Bug(name, file, SUM, "(loss if weights is None else weights * loss).mean(), cache", "wrong-forward", MEAN),
            Bug(name, file, SUM, "loss.sum() / normalizer, cache", "wrong-forward", NO_WEIGHTS),
            Bug(name, file, SUM, "loss.mean(), cache", "wrong-forward", NEITHER))


def scales(name, file, gradient, scale):
    """What goes wrong in every weighted elementwise backward."""
    back = f"return {gradient} if weights is None else weights * {gradient}"
    return (Bug(name, file, scale, scale.replace("dloss /", "1.0 /"), "ignores-dout", NO_DLOSS),
            Bug(name, file, scale, scale.replace("dloss / cache.normalizer", "dloss"), "constant-factor", NO_NORMALIZER),
            Bug(name, file, back, f"return {gradient}", "constant-factor", NO_WEIGHTS_BACK))


MISTAKES = {
    "sigmoid_bce_forward": (
        Bug("sigmoid_bce", CLASS, "xp.log1p(xp.exp(-abs(logits)))", "xp.log(1 + xp.exp(-logits)) - xp.maximum(-logits, 0)", "wrong-forward",
            "the exponential of a large number overflows, and inf - inf is nan: put only -|z| into exp()"),
        Bug("sigmoid_bce", CLASS, "loss = xp.maximum(logits, 0) - logits * targets + xp.log1p(xp.exp(-abs(logits)))",
            "p = 1 / (1 + xp.exp(-logits))\n    loss = -(targets * xp.log(p) + (1 - targets) * xp.log(1 - p))", "wrong-forward",
            "the probability is rounded to 0 or 1 before its log is taken, and log(0) is infinite: write the formula with z and simplify"),
        Bug("sigmoid_bce", CLASS, "- logits * targets + xp.log1p", "- logits * (1 - targets) + xp.log1p", "wrong-forward",
            "the targets are the wrong way round: a target of 1 asks for a large logit"),
        Bug("sigmoid_bce", CLASS, "loss = xp.maximum(logits, 0) - logits * targets + xp.log1p(", "loss = xp.maximum(logits, 0) + xp.log1p(",
            "wrong-forward", "the term - z t is missing: the targets play no part"),
        *sums("sigmoid_bce", CLASS),
    ),
    "sigmoid_bce_backward": (
        Bug("sigmoid_bce", CLASS, "dlogits = (sigmoid - targets)", "dlogits = (targets - sigmoid)", "sign",
            "target minus sigmoid is the way downhill; the gradient points uphill: sigmoid minus target"),
        Bug("sigmoid_bce", CLASS, "dlogits = (sigmoid - targets)", "dlogits = (sigmoid - targets) * sigmoid * (1 - sigmoid)",
            "constant-factor", "the factor sigmoid * (1 - sigmoid) is too much: in cross-entropy it cancels, that is its beauty"),
        Bug("sigmoid_bce", CLASS, "dlogits = (sigmoid - targets)", "dlogits = (logits - targets)", "unknown",
            "the target is subtracted from the logit; it is subtracted from the probability, sigmoid(logit)"),
        *scales("sigmoid_bce", CLASS, "dlogits", SCALE),
    ),
    "smooth_l1_forward": (
        Bug("smooth_l1", L1, "(0.5 / beta if beta > 0", "(1.0 / beta if beta > 0", "wrong-forward",
            "the half is missing: the parabola is d^2 / (2 beta), or it does not meet the straight line"),
        Bug("smooth_l1", L1, "distance - 0.5 * beta)", "distance - 0.5)", "wrong-forward",
            "the straight part is |d| - beta / 2; |d| - 1/2 is right at beta = 1 only"),
        Bug("smooth_l1", L1, "(0.5 / beta if beta > 0 else 0.0)", "0.5", "wrong-forward",
            "the parabola is not divided by beta: it is d^2 / (2 beta)"),
        Bug("smooth_l1", L1, "where(distance < beta, parabola", "where(distance < 1, parabola", "wrong-forward",
            "the parabola ends at |d| = beta, not at 1"),
        Bug("smooth_l1", L1, "distance = abs(pred - target)", "distance = pred - target", "wrong-forward",
            "the difference keeps its sign: a prediction far below the target gets a negative loss; take |d|"),
        *sums("smooth_l1", L1),
    ),
    "smooth_l1_backward": (
        Bug("smooth_l1", L1, "xp.sign(d))", "1.0)", "sign", "the slope of the straight part is sign(d): -1 below the target"),
        Bug("smooth_l1", L1, "d = pred - target\n    slope", "d = target - pred\n    slope", "sign",
            "the difference is target - pred; with pred - target the gradient points uphill, as it should"),
        Bug("smooth_l1", L1, "d / (beta or 1.0), xp.sign(d))", "d, xp.sign(d))", "constant-factor",
            "the slope of the parabola d^2 / (2 beta) is d / beta, not d"),
        Bug("smooth_l1", L1, "abs(d) < beta, d /", "abs(d) < 1, d /", "unknown", "the parabola ends at |d| = beta, not at 1"),
        *scales("smooth_l1", L1, "dpred", "xp.asarray(dloss / cache.normalizer, dtype=pred.dtype)"),
    ),
    "softmax_cross_entropy_forward": (
        Bug("softmax_cross_entropy", CLASS, "shifted = logits - logits.max(axis=1, keepdims=True)", "shifted = logits", "wrong-forward",
            "the exponential of a large logit overflows: subtract the largest logit first, it changes nothing else"),
        Bug("softmax_cross_entropy", CLASS, "xp.where(valid, -chosen, 0).sum() / count, cache",
            "xp.where(valid, -chosen, 0).sum() / max(labels.size, 1), cache", "wrong-forward",
            "the mean is over all labels; it is over the valid ones, ignored labels are not counted"),
        Bug("softmax_cross_entropy", CLASS, "xp.where(valid, -chosen, 0).sum() / count, cache", "(-chosen).sum() / count, cache",
            "wrong-forward", "the ignored labels are not ignored: here they count as class 0"),
        Bug("softmax_cross_entropy", CLASS, "xp.log(xp.exp(shifted).sum(axis=1, keepdims=True))",
            "xp.log(xp.exp(shifted).sum(axis=-1, keepdims=True))", "wrong-forward",
            "the softmax runs along the last axis; of maps (N, K1, H, W) the classes are axis 1"),
        Bug("softmax_cross_entropy", CLASS, "xp.where(valid, -chosen, 0).sum() / count, cache", "xp.where(valid, -chosen, 0).sum(), cache",
            "wrong-forward", "the sum is returned; the mean over the valid labels is asked for"),
        Bug("softmax_cross_entropy", CLASS, "log_softmax = shifted - xp.log(", "log_softmax = shifted - (", "wrong-forward",
            "the log is missing: log softmax = z - log(sum of e^z)"),
    ),
    "softmax_cross_entropy_backward": (
        Bug("softmax_cross_entropy", CLASS, "softmax(logits) - onehot, 0)", "softmax(logits) + 0 * onehot, 0)", "missing-path",
            "the one-hot is missing: the true class's logit gets softmax - 1, the others softmax"),
        Bug("softmax_cross_entropy", CLASS, "softmax(logits) - onehot, 0)", "onehot - softmax(logits), 0)", "sign",
            "one-hot minus softmax is the way downhill; the gradient is softmax minus one-hot"),
        Bug("softmax_cross_entropy", CLASS, "xp.where(valid, softmax(logits) - onehot, 0)", "(softmax(logits) - onehot)", "wrong-routing",
            "ignored pixels get a gradient: they contribute nothing to the loss, so theirs is 0"),
        Bug("softmax_cross_entropy", CLASS, "xp.asarray(dloss / count, dtype=logits.dtype)", "xp.asarray(1.0 / count, dtype=logits.dtype)",
            "ignores-dout", NO_DLOSS),
        Bug("softmax_cross_entropy", CLASS, "xp.asarray(dloss / count, dtype=logits.dtype)", "xp.asarray(dloss, dtype=logits.dtype)",
            "constant-factor", "the division by the number of valid labels is forgotten: the loss is a mean"),
        Bug("softmax_cross_entropy", CLASS, "xp.asarray(dloss / count, dtype=logits.dtype)",
            "xp.asarray(dloss / max(labels.size, 1), dtype=logits.dtype)", "constant-factor",
            "the gradient is divided by the number of all labels; the loss was divided by that of the valid ones"),
    ),
    "sigmoid_focal_loss_forward": (
        Bug("sigmoid_focal_loss", FOCAL, "loss = alpha_t * wrong ** gamma", "loss = alpha_t * (1 - wrong) ** gamma", "wrong-forward",
            "the factor is the wrong way round: p_t ** gamma makes easy examples count more; it is (1 - p_t) ** gamma"),
        Bug("sigmoid_focal_loss", FOCAL, "alpha_t = alpha * targets + (1 - alpha) * (1 - targets)\n    loss", "alpha_t = alpha\n    loss",
            "wrong-forward", "positives and negatives are both weighed by alpha; negatives are weighed by 1 - alpha"),
        Bug("sigmoid_focal_loss", FOCAL, "loss = alpha_t * wrong ** gamma", "loss = alpha_t * wrong * gamma", "wrong-forward",
            "the exponent is missing: gamma is a factor here, it belongs over (1 - p_t)"),
        Bug("sigmoid_focal_loss", FOCAL, "loss = alpha_t * wrong ** gamma", "loss = wrong ** gamma", "wrong-forward",
            "the weighing by alpha_t is missing: alpha for positives, 1 - alpha for negatives"),
        Bug("sigmoid_focal_loss", FOCAL, "(xp.maximum(-u, 0) + xp.log1p(e)) ", "-xp.log(1 - wrong) ", "wrong-forward",
            "the log is taken of a p_t that has become 0: use -log(p_t) = max(-u, 0) + log(1 + e^-|u|), with u = +-z"),
        *sums("sigmoid_focal_loss", FOCAL),
    ),
    "sigmoid_focal_loss_backward": (
        Bug("sigmoid_focal_loss", FOCAL, "* (gamma * right * log_right - wrong)", "* (0 * log_right - wrong)", "missing-path",
            "the factor (1 - p_t) ** gamma is treated as a constant: it depends on the logit too, product rule"),
        Bug("sigmoid_focal_loss", FOCAL, "dlogits = sign * alpha_t", "dlogits = alpha_t", "sign",
            "the sign is wrong for negatives: for target 0, p_t falls when the logit rises"),
        Bug("sigmoid_focal_loss", FOCAL, "wrong ** gamma * (gamma * right", "wrong ** (gamma - 1) * (gamma * right", "constant-factor",
            "the exponent is gamma - 1; the derivative of p_t brings one more factor 1 - p_t, so it is gamma"),
        Bug("sigmoid_focal_loss", FOCAL, "gamma * right * log_right - wrong)", "right * log_right - wrong)", "missing-path",
            "the factor gamma is missing, which comes down from the exponent"),
        Bug("sigmoid_focal_loss", FOCAL, "alpha_t = alpha * targets + (1 - alpha) * (1 - targets)\n    log_right",
            "alpha_t = alpha\n    log_right", "constant-factor",
            "positives and negatives are both weighed by alpha; negatives are weighed by 1 - alpha"),
        *scales("sigmoid_focal_loss", FOCAL, "dlogits", SCALE),
    ),
    "rpn_losses_forward": (
        Bug("rpn_losses", RPN, "gt_deltas, beta=beta, normalizer=normalizer)",
            "gt_deltas, beta=beta, normalizer=max(int(positive.sum()), 1))", "wrong-forward",
            "the box loss is divided by the number of positives; here both losses are divided by S, all sampled anchors"),
        Bug("rpn_losses", RPN, "gt_deltas, beta=beta, normalizer=normalizer)", "gt_deltas, beta=beta)", "wrong-forward",
            "the box loss is the mean over its 4P numbers; divide their sum by S, the number of sampled anchors"),
        Bug("rpn_losses", RPN, "gt_deltas, beta=beta, normalizer=normalizer)", "gt_deltas, normalizer=normalizer)", "wrong-forward",
            "the beta is not passed on to smooth_l1"),
        Bug("rpn_losses", RPN, "logits[image, anchor], deltas[image, anchor]", "logits[0, anchor], deltas[0, anchor]", "wrong-forward",
            "all predictions are read from the first image; sample s is anchor[s] of image[s]"),
        Bug("rpn_losses", RPN, "sampled_logits, labels.astype(logits.dtype)", "sampled_logits, 1 - labels.astype(logits.dtype)",
            "wrong-forward", "the labels are the wrong way round: 1 is an object"),
    ),
    "rpn_losses_backward": (
        Bug("rpn_losses", RPN, "ddeltas[image[positive], anchor[positive]] =", "ddeltas[image[positive], positive.nonzero()[0]] =",
            "wrong-routing", "the place in the sample is taken for the anchor's number: anchor[positive] says where a positive belongs"),
        Bug("rpn_losses", RPN, "smooth_l1_backward(dlosses[1], cache.box_reg)", "smooth_l1_backward(1.0, cache.box_reg)", "ignores-dout",
            "the weight of the box loss, dlosses[1], is ignored"),
        Bug("rpn_losses", RPN, "dlogits[image, anchor] =", "dlogits[0, anchor] =", "batch-leak",
            "all gradients go to the first image; sample s is anchor[s] of image[s]"),
        Bug("rpn_losses", RPN, "smooth_l1_backward(dlosses[1], cache.box_reg)", "smooth_l1_backward(dlosses[0], cache.box_reg)",
            "ignores-dout", "the box loss gets the weight of the other loss: dlosses is (objectness, box_reg)"),
        Bug("rpn_losses", RPN, "sigmoid_bce_backward(dlosses[0], cache.objectness)", "sigmoid_bce_backward(-dlosses[0], cache.objectness)",
            "sign", "the gradient of the objectness has the wrong sign: sigmoid minus label"),
    ),
}

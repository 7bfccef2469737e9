"""The classifier: one label an image, and a backbone whose weights can start a detector."""
import numpy as np

from numpyvision import tree
from numpyvision.data.sample import Sample
from numpyvision.models.classifier import Classifier, main_label
from numpyvision.models.faster_rcnn import FasterRCNN

CLASSES = ("background", "cat", "dog")


def sample(rng, boxes, labels, areas=None):
    return Sample(image=rng.random((3, 32, 32)), boxes=np.array(boxes, np.float32).reshape(-1, 4), labels=np.array(labels, np.int64),
                  areas=areas)


def test_the_label_is_the_class_of_the_largest_object():
    rng = np.random.default_rng(0)
    two = [[0, 0, 10, 10], [0, 0, 9, 12]]
    assert main_label(sample(rng, two, [1, 2])) == 2                                       # 108 pixels against 100
    assert main_label(sample(rng, two, [1, 2], areas=np.array([90., 40.]))) == 1           # the mask's area, where there is one, counts
    assert main_label(sample(rng, [], [])) == 0


def test_gradient_of_everything():
    rng = np.random.default_rng(0)
    model = Classifier(CLASSES, widths=(8, 8, 16), blocks=(1, 1, 1), rng=rng, dtype=np.float64)
    params = dict(model.named_params())
    for p in params.values():
        p += 0.05 * rng.standard_normal(p.shape)
    targets = [sample(rng, [[2, 3, 9, 9]], [1]), sample(rng, [[2, 3, 9, 9]], [2]), sample(rng, [], [])]
    images, weight = np.stack([t.image for t in targets]), 1.7

    def loss(images):
        losses, cache = model.forward(images, targets)
        return weight * losses["loss_classifier"], cache

    dimages, grads = model.backward({"loss_classifier": weight}, loss(images)[1])
    assert set(tree.flatten(grads)) == set(params)
    direction, dpixels, eps, values = tree.randn_like(params, rng), rng.standard_normal(images.shape), 1e-6, []
    for step in (eps, -2 * eps):
        for name, p in params.items():
            p += step * direction[name]
        values.append(loss(images + np.sign(step) * eps * dpixels)[0])
    numeric = (values[0] - values[1]) / (2 * eps)
    analytic = tree.dot(tree.flatten(grads), direction) + (dimages * dpixels).sum()
    assert abs(numeric - analytic) < 1e-6 * abs(numeric)


def test_probabilities():
    rng = np.random.default_rng(0)
    model = Classifier(CLASSES, widths=(8, 8, 16), blocks=(1, 1, 1), rng=rng, dtype=np.float64)
    probabilities = model.predict(rng.random((4, 3, 32, 32)))
    assert probabilities.shape == (4, 3) and (probabilities > 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)


def test_its_backbone_fits_a_detector():
    rng = np.random.default_rng(0)
    shapes = [{n: p.shape for n, p in m.named_params() if n.startswith("backbone")}
              for m in (Classifier(CLASSES, rng=rng), FasterRCNN(CLASSES, rng=rng))]
    assert shapes[0] == shapes[1] and len(shapes[0]) > 20

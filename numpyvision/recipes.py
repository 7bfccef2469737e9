"""How each model is trained by default: its size, optimiser, schedule and augmentation. Numbers here are the ones the README reports.

A recipe is a plain function of the data set: read it, copy it, change it. The command line overrides steps, batch size and learning rate.
"""
from dataclasses import dataclass, field, replace


@dataclass
class Recipe:
    """steps and batch size at full length; `short_steps` is for a first look and for CI; `model` are the constructor's arguments."""

    model: dict
    steps: int
    batch_size: int
    lr: float
    short_steps: int = 60
    optimizer: str = "sgd"
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warmup_steps: int = 100
    clip: float = 10.0
    flip: float = 0.5                    # probability of mirroring an image
    short_side: int | None = None        # resize images to this short side (None: as they are)
    score_threshold: float = 0.05
    extra: dict = field(default_factory=dict)


def faster_rcnn(classes, spec="scenes", object_size=None, **branches):
    """Small Faster R-CNN. A photograph is brought to 240 pixels, more than a scene has: its anchors are larger and its objects more.

    object_size: the median side of the data's objects, as a share of the image's short side. Below 1/12, which is 20 of 240 pixels (a
    nucleus has 12), the photograph is brought to 384 and the anchors are half as large.
    branches: which heads a Mask R-CNN has besides.
    """
    if spec.startswith("scenes"):
        return Recipe(model=dict(classes=list(classes), **branches), steps=1800, batch_size=8, lr=0.03)
    photos = dict(anchor_sizes=[[16, 24], [36, 54], [80, 120]], rpn_samples=128, roi_samples=64, pre_nms=400, post_nms=100)
    if object_size is None or object_size > 1 / 12:
        return Recipe(model=dict(classes=list(classes), **branches) | photos, steps=1000, batch_size=4, lr=0.02, short_steps=20,
                      short_side=240)
    small = dict(anchor_sizes=[[8, 12], [18, 26], [40, 60]], rpn_samples=256, roi_samples=128, pre_nms=800, post_nms=200)
    return Recipe(model=dict(classes=list(classes), **branches) | small, steps=1000, batch_size=2, lr=0.015, short_steps=20, short_side=384)


def fast_rcnn(classes, spec="scenes"):
    """Faster R-CNN's recipe without the network that proposes. Selective search takes most of the first epochs' time."""
    if spec.startswith("scenes"):
        return Recipe(model=dict(classes=list(classes)), steps=1800, batch_size=8, lr=0.03)
    return Recipe(model=dict(classes=list(classes), roi_samples=64), steps=1000, batch_size=4, lr=0.02, short_steps=20, short_side=240)


def slow_rcnn(classes, spec="scenes"):
    """The same, so that the two differ in where they crop and in nothing else."""
    return fast_rcnn(classes, spec)


def mask_rcnn(classes, spec="scenes", object_size=None):
    """Faster R-CNN's recipe, a little longer, and masks.

    On scenes the loss of the masks counts double: after 2100 steps a mask AP of 0.46, against 0.45 after 2400 with equal weights.
    """
    recipe = with_heads(faster_rcnn(classes, spec, object_size, masks=True), ["masks"], 4 / 3)
    if spec.startswith("scenes"):
        recipe = replace(recipe, steps=2100, extra=recipe.extra | {"loss_weights": {"loss_mask": 2.0}})
    return recipe


def keypoint_rcnn(classes, spec="scenes", object_size=None):
    """The same with the joints of persons instead of masks; one object in six is a person, so it takes longer."""
    return with_heads(faster_rcnn(classes, spec, object_size, masks=False, keypoints=True), ["keypoints"], 2)


def joint_rcnn(classes, spec="scenes", object_size=None):
    """Both: instances and poses in one forward (L16-K03)."""
    return with_heads(faster_rcnn(classes, spec, object_size, masks=True, keypoints=True), ["masks", "keypoints"], 2)


def with_heads(recipe, truth, longer):
    """The recipe with time for the heads to learn, which read this truth besides boxes and labels.

    Masks are 28 x 28: even a perfect one of 14 x 14 loses the legs and tails of a scene's animals, and scores a mask AP of only 0.78.
    The loss of the joints begins at log(784), ten times the others, and would have the backbone to itself: it counts half.
    """
    extra = {"truth": truth} | ({"loss_weights": {"loss_keypoint": 0.5}} if "keypoints" in truth else {})
    return replace(recipe, model=recipe.model | {"mask_size": 28}, steps=int(recipe.steps * longer), extra=extra)


def classifier(classes, spec="scenes"):
    """A small ResNet, one label an image."""
    return Recipe(model=dict(classes=list(classes)), steps=800, batch_size=16, lr=0.05, clip=5.0)


def fcn(classes, spec="scenes"):
    """FCN-8s on scenes. In photographs what is sought may be a dozen pixels wide (a nucleus): there the skips go down to stride 2."""
    if spec.startswith("scenes"):
        return Recipe(model=pixel_classes(classes, spec, balance=0.5), steps=2400, extra=label_maps(spec), **SEGMENTATION)
    return Recipe(model=pixel_classes(classes, spec, skips="2s"), steps=1200, short_steps=30, extra=label_maps(spec), **SEGMENTATION)


def deconvnet(classes, spec="scenes"):
    """DeconvNet with three pools."""
    return Recipe(model=pixel_classes(classes, spec, balance=0.5), steps=2800, extra=label_maps(spec), **SEGMENTATION)


def sliding_window(classes, spec="scenes"):
    """A classifier of patches, 64 of each image."""
    return Recipe(model=pixel_classes(classes, spec), steps=1500, extra=label_maps(spec), **SEGMENTATION)


ANCHORED = ("faster_rcnn", "mask_rcnn", "keypoint_rcnn", "joint_rcnn")         # their recipes ask how large the objects are

SEGMENTATION = dict(batch_size=4, lr=0.005, optimizer="adamw", weight_decay=1e-3, clip=5.0)


def pixel_classes(classes, spec, **model):
    """The arguments of a model that labels pixels. A scene is all things and stuff: its class 0 is a number without a pixel."""
    return dict(classes=list(classes), unused=[0] if spec.startswith("scenes") else [], **model)


def label_maps(spec):
    """What the models that label pixels read. Real images are few and large: random windows of them, in other colours, make many."""
    crops = {} if spec.startswith("scenes") else dict(crop=[128, 128], crop_scale=[0.15, 0.5], jitter=0.3)
    return {"truth": ["semantic"], **crops}


RECIPES = {"slow_rcnn": slow_rcnn, "fast_rcnn": fast_rcnn, "faster_rcnn": faster_rcnn, "mask_rcnn": mask_rcnn,
           "keypoint_rcnn": keypoint_rcnn, "joint_rcnn": joint_rcnn, "classifier": classifier, "fcn": fcn, "deconvnet": deconvnet,
           "sliding_window": sliding_window}

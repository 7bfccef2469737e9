"""The lecture's opening pictures: the four tasks (L16-T01), what deep learning did to detection (T02), things and stuff (T04)."""
import numpy as np

from numpyvision.plot import boxes, lecture, masks, style

# Mean average precision on Pascal VOC in %, read off the slide's plot (after Girshick's); 2014.5 is the middle of 2014.
VOC_MAP = {2007: 17, 2008: 23, 2009: 28, 2010: 37, 2011: 41, 2012: 41, 2013: 53, 2014: 62, 2014.5: 68, 2015: 76}
FIRST_DEEP = 2013


def draw_voc_history():
    """L16-T02: mean AP on Pascal VOC by year, before and after deep convnets."""
    ax = lecture.canvas(18, 9.6, "Object detection: the impact of deep learning",
                        "Mean average precision on Pascal VOC, read off the slide's plot.")
    inner = lecture.inset(ax, 1.6, 1.9, 15.4, 6.0)
    year, value = np.array(list(VOC_MAP)), np.array(list(VOC_MAP.values()))
    deep = year >= FIRST_DEEP
    inner.plot(year, value, color="#b3b9c7", linewidth=2, zorder=1)
    for part, hue in ((~deep, lecture.HUES[0]), (deep, lecture.HUES[1])):
        inner.plot(year[part], value[part], color=hue, linewidth=3)
        inner.scatter(year[part], value[part], s=90, color=hue, zorder=3)
    for x, y in VOC_MAP.items():
        inner.annotate(f"{y}", (x, y), (0, 9), textcoords="offset points", ha="center", fontsize=lecture.NOTE, color=style.INK)
    for low, high, text, hue in ((2007, 2012, "before deep convnets", lecture.HUES[0]),
                                 (2013, 2015, "using deep convnets", lecture.HUES[1])):
        inner.plot([low, low, high, high], [6, 3, 3, 6], color=hue, linewidth=2)
        inner.text((low + high) / 2, 6.5, text, ha="center", fontsize=lecture.LABEL, color=hue)
    inner.set(xlim=(2006.5, 2015.6), ylim=(0, 86), xticks=range(2007, 2016), yticks=range(0, 81, 20))
    style.plain(inner)
    inner.tick_params(labelsize=lecture.NOTE)
    inner.set_ylabel("mean average precision (mAP), %", fontsize=lecture.NOTE, color=style.INK)
    return ax.figure


def _panels(title, note, count):
    """A canvas with `count` axes for square pictures side by side, and room for a caption below each -> canvas, axes, their x."""
    side = (22 - 1.2 - 0.5 * (count - 1)) / count
    ax = lecture.canvas(22, side + 4.6, title, note)
    xs = [0.6 + k * (side + 0.5) for k in range(count)]
    return ax, [lecture.inset(ax, x, 2.5, side, side) for x in xs], [x + side / 2 for x in xs], side


def draw_tasks(sample, classes, semantic_classes):
    """L16-T01: one picture, four answers. sample: with boxes, masks and a semantic map; classes, semantic_classes: the data set's."""
    biggest = classes[int(sample.labels[sample.areas.argmax()])]
    ax, panels, middles, side = _panels("Computer vision tasks", None, 4)
    style.show_image(sample.image, panels[0])
    masks.draw_semantic(sample, semantic_classes, ax=panels[1])
    boxes.draw_boxes(sample.image, sample.boxes, sample.labels, classes=classes, ax=panels[2])
    boxes.draw_boxes(sample.image, sample.boxes, sample.labels, classes=classes, masks=sample.masks, ax=panels[3])
    things = ", ".join(classes[int(k)] for k in sample.labels)
    stuff = ", ".join(semantic_classes[k] for k in np.unique(sample.semantic) if k < len(semantic_classes))
    entries = [("Classification", biggest, "no spatial extent"), ("Semantic segmentation", stuff, "no objects, just pixels"),
               ("Object detection", things, "objects as boxes"), ("Instance segmentation", things, "objects as pixels")]
    for x, (name, answer, remark) in zip(middles, entries, strict=True):
        lecture.label(ax, x, 2.05, name)
        lecture.label(ax, x, side + 2.95, answer, size=13)
        lecture.label(ax, x, side + 3.55, remark, size=13, color="#555d70")
    for panel in panels:
        panel.set_title("")
        if panel.get_legend():
            panel.get_legend().remove()
    return ax.figure


def draw_things_and_stuff(sample, classes, semantic_classes):
    """L16-T04: what each task labels: things (countable), stuff (not), or both."""
    from dataclasses import replace
    stuff = np.where((sample.semantic > 0) & (sample.semantic < len(classes)), style.IGNORED, sample.semantic)
    ax, panels, middles, side = _panels("Things and stuff", None, 4)
    style.show_image(sample.image, panels[0])
    boxes.draw_boxes(sample.image, sample.boxes, sample.labels, classes=classes, masks=sample.masks, ax=panels[1])
    masks.draw_semantic(replace(sample, semantic=stuff.astype(np.uint8)), semantic_classes, ax=panels[2])
    masks.draw_panoptic(sample, semantic_classes, ax=panels[3])
    names = ("Image", "Things", "Stuff", "Panoptic")
    remarks = ("", "can be counted: detection,\ninstance segmentation", "cannot be counted:\nsemantic segmentation",
               "every pixel; things apart,\nstuff as one")
    for x, name, remark in zip(middles, names, remarks, strict=True):
        lecture.label(ax, x, 2.05, name)
        lecture.label(ax, x, side + 2.75, remark, size=13, color="#555d70", linespacing=1.35, va="top")
    for panel in panels:
        panel.set_title("")
        if panel.get_legend():
            panel.get_legend().remove()
    return ax.figure

"""People, seen from the front, the back or the side, standing, walking, waving; with the 17 COCO joints.

A person is drawn from a skeleton: a dictionary of joints in figure units (height 1, feet at y = 0, y down). "near" and "far" limbs of a
side view become left and right at the end: who walks to the right of the picture shows us the right side.
"""
import math

from numpyvision.data import scene_raster as raster
from numpyvision.data.scene_shapes import DISC, DOME, DOT, INK, Figure, mix, outline, rgb, smooth, vary

KEYPOINTS = ("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow",
             "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle")

SKIN = rgb("f6d3b3 eebf98 dca47a b97a50 8d5a3b 6a432e")
HAIR = rgb("2b2320 4a3226 7a4c2c b5763a e2b45c 9a9590 c2502f 1f2430")
SHIRT = rgb("e2574c f2a541 f5d35e 5aa469 3f88c5 7b5ea7 e88fb0 f1ede1 43566b 2a9d8f d96c3f 9bc1e0")
TROUSERS = rgb("3d4f6d 5a5f69 7a5f47 2f3540 8a8f98 6b7d5a 4a6fa5 a3583f")
SHOES = rgb("3a2f2b f1ede1 a33d33 2f4558 5d4a3a")

TORSO = smooth([(-.085, -.775), (-.085, -.775), (0, -.79), (.085, -.775), (.085, -.775), (.118, -.735), (.10, -.60), (.085, -.52),
                (.092, -.42), (.092, -.42), (0, -.405), (-.092, -.42), (-.092, -.42), (-.085, -.52), (-.10, -.60), (-.118, -.735)], 2)
TORSO_SIDE = smooth([(-.045, -.775), (.03, -.785), (.072, -.72), (.078, -.62), (.062, -.52), (.07, -.42), (.07, -.42), (0, -.405),
                     (-.072, -.42), (-.072, -.42), (-.06, -.52), (-.07, -.62), (-.075, -.72)], 2)
SKIRT = smooth([(-.085, -.53), (-.085, -.53), (.085, -.53), (.085, -.53), (.16, -.25), (.16, -.25), (0, -.235), (-.16, -.25),
                (-.16, -.25)], 3)
SHOE = smooth([(-.035, .0), (-.035, .0), (-.04, -.035), (-.01, -.055), (.03, -.035), (.07, -.025), (.078, .0), (.078, .0)], 3)
FRINGE = smooth([(-1.04, .12), (-1.04, .12), (-1.08, -.45), (-.62, -1.0), (0, -1.14), (.62, -1.0), (1.08, -.45), (1.04, .12), (1.04, .12),
                 (.78, -.36), (.2, -.58), (-.4, -.42), (-.8, -.2)], 3)
LONG_HAIR = smooth([(-1.12, 1.5), (-1.2, .3), (-1.1, -.5), (-.6, -1.05), (0, -1.18), (.6, -1.05), (1.1, -.5), (1.2, .3), (1.12, 1.5),
                    (.6, 1.7), (-.6, 1.7)], 3)
SIDE_HAIR = smooth([(.72, -.62), (.72, -.62), (.3, -1.08), (-.4, -1.12), (-1.0, -.7), (-1.16, 0), (-.95, .62), (-.6, .8), (-.35, .55),
                    (-.2, .0), (.1, -.35)], 3)
PEAK = smooth([(0, -.1), (0, -.1), (1.5, .02), (1.55, .12), (1.1, .2), (0, .12), (0, .12)], 3)
SMILE = outline([(-1, -.2), (-.5, .35), (0, .55), (.5, .35), (1, -.2), (.55, .75), (0, 1.0), (-.55, .75)])


def person(dice, x, y, height, facing, light, claim):
    """A person whose feet are at (x, y) pixels, `height` pixels tall (a child less). -> Figure with all 17 joints."""
    child = dice.chance(0.3)
    f = Figure(x, y, height * (0.72 if child else 1.0), facing, light, claim, dice)
    look = {"skin": vary(dice.pick(SKIN), dice, 0.03), "hair": vary(dice.pick(HAIR), dice, 0.03), "shirt": vary(dice.pick(SHIRT), dice),
            "legs": vary(dice.pick(TROUSERS), dice), "shoes": dice.pick(SHOES), "skirt": dice.chance(0.3), "long": dice.chance(0.42),
            "cap": dice.chance(0.16), "shorts": dice.chance(0.25), "sleeves": dice.chance(0.5), "head": 1.28 if child else 1.0}
    f.shadow(-0.2, 0.2, 0.035, -0.005)
    view = dice()
    if view < 0.40:
        _side(f, dice, look)
    else:
        _front(f, dice, look, back=view > 0.90)
    return f


def _bend(start, angle, length):
    """The point `length` from start; angle 0 hangs straight down, positive swings forward (+x)."""
    return start[0] + length * math.sin(angle), start[1] + length * math.cos(angle)


def _leg(f, side, hip, angle, knee_bend, look, dark, toe):
    """Thigh, shin and shoe; joints of `side`."""
    knee = _bend(hip, angle, 0.205)
    ankle = _bend(knee, angle - knee_bend, 0.195)
    cloth, skin = mix(look["legs"], INK, dark), mix(look["skin"], INK, dark)
    bare = look["shorts"] or look["skirt"]
    f.part(SHOE, mix(look["shoes"], INK, dark), at=(ankle[0], ankle[1] + 0.042), size=(toe, 1.0))
    f.limb(knee, ankle, 0.068, 0.05, skin if bare else cloth, shade=0.6)
    last = f.limb(hip, knee, 0.10, 0.072, skin if look["skirt"] else cloth, shade=0.6)
    f.joint(f"{side}_hip", *hip, last)
    f.joint(f"{side}_knee", *knee, last)
    f.joint(f"{side}_ankle", *ankle, last)


def _arm(f, side, shoulder, angle, elbow_bend, look, dark=0.0):
    """Upper arm, forearm and hand; joints of `side`."""
    elbow = _bend(shoulder, angle, 0.15)
    wrist = _bend(elbow, angle + elbow_bend, 0.135)
    hand = _bend(wrist, angle + elbow_bend, 0.028)
    cloth, skin = mix(look["shirt"], INK, dark), mix(look["skin"], INK, dark)
    f.limb(wrist, hand, 0.05, 0.048, skin)
    f.limb(elbow, wrist, 0.056, 0.044, cloth if look["sleeves"] else skin)
    last = f.limb(shoulder, elbow, 0.074, 0.060, cloth, kind=raster.CLOTH, amount=0.05)
    f.joint(f"{side}_shoulder", *shoulder, last)
    f.joint(f"{side}_elbow", *elbow, last)
    f.joint(f"{side}_wrist", *wrist, last)


def _front(f, dice, look, back):
    """Seen from the front or the back: arms down, waving, cheering, or hands on the hips."""
    mirrored = (f.facing < 0) != back
    left, right = ("right", "left") if mirrored else ("left", "right")           # facing us, a person has its left at our right
    head, r = (0.0, -0.79 - 0.095 * look["head"]), 0.098 * look["head"]
    if look["long"] and not back:
        f.part(LONG_HAIR, mix(look["hair"], INK, 0.15), at=head, size=(r, r), amount=0.2)
    stance = dice.between(0.02, 0.12)
    for side, s in ((left, 1), (right, -1)):
        _leg(f, side, (s * 0.052, -0.43), s * stance, s * stance * 0.8, look, 0.0, s * 0.8)
    pose = dice()
    pairs = [(dice.between(0.12, 0.45), -dice.between(0.0, 0.2)) for _ in range(2)]      # (angle, elbow bend) of both arms, hanging down
    if pose < 0.30:                                                                      # waving
        pairs[0] = (dice.between(1.5, 2.1), dice.between(0.7, 1.2))
    elif pose < 0.45:                                                                    # cheering
        pairs = [(dice.between(2.0, 2.6), dice.between(0.0, 0.5)) for _ in range(2)]
    elif pose < 0.60:                                                                    # hands on the hips
        pairs = [(dice.between(0.75, 0.95), -dice.between(1.6, 1.9)) for _ in range(2)]
    down = [p for p in (0, 1) if pairs[p][0] < 1.2]
    for k in down:                                                                       # hanging arms go behind the shirt
        s = 1 - 2 * k
        _arm(f, (left, right)[k], (s * 0.098, -0.735), s * pairs[k][0], s * pairs[k][1], look)
    f.limb((0, -0.80), (0, -0.74), 0.06, 0.07, mix(look["skin"], INK, 0.12))
    body = f.part(TORSO, look["shirt"], kind=raster.CLOTH, amount=0.05)
    if look["skirt"]:
        body = f.part(SKIRT, look["shirt"] if dice.chance(0.6) else look["legs"], kind=raster.CLOTH, amount=0.05)
    for k in (0, 1):
        if k not in down:
            s = 1 - 2 * k
            _arm(f, (left, right)[k], (s * 0.098, -0.735), s * pairs[k][0], s * pairs[k][1], look)
    for name in (left, right):                                                   # torso and shirt do not hide what sits on their edge
        for joint in ("shoulder", "hip"):
            jx, jy, part = f.joints[f"{name}_{joint}"]
            f.joints[f"{name}_{joint}"] = (jx, jy, max(part, body))
    _head_front(f, look, head, r, left, right, dice.between(-0.18, 0.18), back)


def _head_front(f, look, head, r, left, right, turn, back):
    """Head, ears, face (or the back of the head), hair or cap. `turn` shifts the face sideways, in head radii."""
    (hx, hy), skin = head, look["skin"]
    for side, s in ((left, 1), (right, -1)):
        last = f.part(DOT, mix(skin, INK, 0.08), at=(hx + s * 1.02 * r, hy + 0.2 * r), size=(0.22 * r, 0.27 * r))
        f.joint(f"{side}_ear", hx + s * 1.1 * r, hy + 0.2 * r, last)
    face = f.part(DISC, skin, at=head, size=(0.98 * r, 1.06 * r), shade=0.6)
    eyes = {side: (hx + (s * 0.36 + turn) * r, hy + 0.08 * r) for side, s in ((left, 1), (right, -1))}
    if back:
        shape = LONG_HAIR if look["long"] else DISC
        f.part(shape, look["hair"], at=(hx, hy - (0.06 * r if not look["long"] else 0)), size=(1.06 * r, 1.08 * r), amount=0.2)
    else:
        for s in (-1, 1):
            f.glow(rgb("e8705f"), (hx + (s * 0.55 + turn) * r, hy + 0.42 * r), (0.3 * r, 0.22 * r), 0.4)
        for at in eyes.values():
            face = f.part(DOT, INK, at=at, size=(0.12 * r, 0.15 * r), shade=0)
        f.part(SMILE, mix(rgb("a33b3b"), skin, 0.2), at=(hx + turn * r, hy + 0.48 * r), size=(0.3 * r, 0.2 * r), shade=0)
        face = f.part(DOT, mix(skin, rgb("b0553f"), 0.35), at=(hx + turn * r, hy + 0.28 * r), size=(0.1 * r, 0.09 * r), shade=0)
        f.part(FRINGE, look["hair"], at=head, size=(r, r * 1.02), amount=0.2)
    f.joint("nose", hx + turn * r, hy + 0.28 * r, face)
    for side, at in eyes.items():
        f.joint(f"{side}_eye", *at, face)
    if look["cap"]:
        f.part(DOME, look["shirt"], at=(hx, hy - 0.35 * r), size=(1.1 * r, 0.85 * r), kind=raster.CLOTH, amount=0.05)
        if not back:
            f.part(DISC, mix(look["shirt"], INK, 0.2), at=(hx + turn * r, hy - 0.35 * r), size=(0.9 * r, 0.2 * r))


def _side(f, dice, look):
    """Seen from the side, walking, running or standing."""
    near, far = ("right", "left") if f.facing > 0 else ("left", "right")
    stride = dice.between(0.05, 0.62)
    lean = dice.between(0.0, 0.03) + 0.04 * stride
    hip, shoulder, head = (0.0, -0.43), (lean * 0.9, -0.735), (lean + 0.012, -0.785 - 0.095 * look["head"])
    r = 0.098 * look["head"]
    bend, fist = dice.between(0.1, 0.5 + stride), dice.between(0.1, 0.3 + 1.6 * stride)
    sway = stride * dice.between(0.8, 1.3)
    lift = 0.40 * (1 - math.cos(stride))                                         # a long step lowers the hips: keep the feet on the ground
    f.y += lift * f.scale * 0.8
    _arm(f, far, shoulder, sway, fist, look, 0.22)
    _leg(f, far, hip, -stride * 0.9, bend, look, 0.22, 1.0)
    _leg(f, near, hip, stride, 0.08, look, 0.0, 1.0)
    if look["long"]:
        f.part(DISC, mix(look["hair"], INK, 0.1), at=(head[0] - 0.62 * r, head[1] + 0.8 * r), size=(0.55 * r, 1.05 * r), turn=0.3,
               amount=0.2)
    f.limb((lean, -0.81), (lean * 0.9, -0.74), 0.058, 0.07, mix(look["skin"], INK, 0.12))
    body = f.part(TORSO_SIDE, look["shirt"], at=(lean * 0.5, 0), kind=raster.CLOTH, amount=0.05)
    if look["skirt"]:
        body = f.part(SKIRT, look["shirt"], size=(0.8, 1), kind=raster.CLOTH, amount=0.05)
    _arm(f, near, shoulder, -sway, fist, look)
    x, y, part = f.joints[f"{near}_hip"]
    f.joints[f"{near}_hip"] = (x, y, max(part, body))                            # the shirt's hem is still the near side
    _head_side(f, look, head, r, near, far)


def _head_side(f, look, head, r, near, far):
    """The head in profile, looking along +x."""
    (hx, hy), skin = head, look["skin"]
    far_part = len(f.drawing) - 1                                                # the far eye and ear lie behind everything from here on
    f.part(DOT, mix(skin, INK, 0.05), at=(hx + 0.95 * r, hy + 0.2 * r), size=(0.22 * r, 0.2 * r))
    f.part(DISC, skin, at=head, size=(0.96 * r, 1.06 * r), shade=0.6)
    f.glow(rgb("e8705f"), (hx + 0.5 * r, hy + 0.42 * r), (0.28 * r, 0.22 * r), 0.4)
    f.part(DOT, INK, at=(hx + 0.52 * r, hy + 0.02 * r), size=(0.11 * r, 0.15 * r), shade=0)
    face = f.stroke([(hx + 0.45 * r, hy + 0.55 * r), (hx + 0.62 * r, hy + 0.6 * r), (hx + 0.8 * r, hy + 0.5 * r)], 0.09 * r, 0.06 * r,
                    mix(rgb("a33b3b"), skin, 0.2), shade=0)
    f.part(SIDE_HAIR, look["hair"], at=head, size=(r, r), amount=0.2)
    ear = f.part(DOT, mix(skin, INK, 0.10), at=(hx - 0.12 * r, hy + 0.14 * r), size=(0.18 * r, 0.25 * r))
    if look["cap"]:
        f.part(DOME, look["shirt"], at=(hx - 0.05 * r, hy - 0.3 * r), size=(1.08 * r, 0.9 * r), kind=raster.CLOTH, amount=0.05)
        f.part(PEAK, mix(look["shirt"], INK, 0.2), at=(hx + 0.3 * r, hy - 0.3 * r), size=(r * 0.85, r))
    f.joint("nose", hx + 1.0 * r, hy + 0.2 * r, ear)
    f.joint(f"{near}_eye", hx + 0.52 * r, hy + 0.02 * r, face)
    f.joint(f"{far}_eye", hx + 0.72 * r, hy + 0.02 * r, far_part)
    f.joint(f"{near}_ear", hx - 0.12 * r, hy + 0.14 * r, ear)
    f.joint(f"{far}_ear", hx - 0.02 * r, hy + 0.14 * r, far_part)

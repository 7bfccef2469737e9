"""Cats, dogs and birds.

A cat has pointed ears, a short face that looks at us and a long thin tail; a dog has hanging ears, a long muzzle with a black nose
and a short tail. Coats come from one list for both, so that colour does not tell them apart.
"""
from numpyvision.data.scene_shapes import DISC, DOT, INK, WHITE, Figure, mix, outline, rgb, smooth, vary

COATS = rgb("e39a4b d9b382 8c8f98 4a4648 f0e6d6 8a5a3a b57a45 6f6a68 c9c4bd 3a3333 c78a5e")
EYES = rgb("8fc05a e0b640 6fb3c9 b8cf5e")
COLLARS = rgb("d94f45 3f88c5 f2b134 5aa469 8a5fb0")

EAR = smooth([(-1, .35), (-1, .35), (-.72, -.4), (-.15, -1.1), (-.15, -1.1), (.6, -.35), (1, .45), (1, .45), (0, .6)], 3)
CAT_HEAD = smooth([(0, -.86), (.55, -.74), (.95, -.2), (1.06, .28), (.72, .74), (0, .92), (-.72, .74), (-1.06, .28), (-.95, -.2),
                   (-.55, -.74)], 3)
CAT_SIT = smooth([(0, -.66), (.12, -.6), (.17, -.42), (.26, -.24), (.29, -.08), (.22, 0), (.22, 0), (-.22, 0), (-.22, 0), (-.29, -.08),
                  (-.26, -.24), (-.17, -.42), (-.12, -.6)], 3)
CAT_BODY = smooth([(-.40, -.42), (-.30, -.53), (-.10, -.50), (.12, -.53), (.30, -.56), (.40, -.46), (.36, -.32), (.20, -.26), (-.05, -.30),
                   (-.25, -.27), (-.40, -.31)], 3)
LOAF = smooth([(-.46, -.02), (-.46, -.02), (-.5, -.2), (-.34, -.40), (-.05, -.44), (.25, -.40), (.42, -.25), (.44, -.02), (.44, -.02)], 4)
DOG_BODY = smooth([(-.42, -.48), (-.34, -.62), (-.1, -.60), (.15, -.62), (.34, -.68), (.42, -.54), (.38, -.36), (.22, -.28), (.0, -.33),
                   (-.22, -.36), (-.40, -.32)], 3)
DOG_SIT = smooth([(.06, -.74), (.20, -.66), (.27, -.46), (.24, -.26), (.18, -.06), (.05, 0), (-.28, 0), (-.28, 0), (-.38, -.1),
                  (-.36, -.26), (-.22, -.42), (-.1, -.58)], 3)
MUZZLE = smooth([(-.5, -.55), (.3, -.42), (.95, -.38), (1.12, .0), (.95, .38), (.3, .52), (-.5, .6)], 3)
FLAP = smooth([(-.5, -.9), (.1, -1.05), (.55, -.75), (.5, .1), (.28, .85), (-.1, 1.05), (-.5, .75), (-.66, .0)], 3)
BIRD_BODY = smooth([(.46, -.03), (.36, -.14), (.16, -.15), (-.12, -.12), (-.42, -.03), (-.42, .03), (-.12, .13), (.16, .13),
                    (.38, .08)], 3)
BIRD_STAND = smooth([(.22, -.66), (.36, -.52), (.32, -.32), (.1, -.2), (-.14, -.26), (-.36, -.42), (-.2, -.5), (.02, -.62)], 3)
WING = smooth([(.5, .0), (.5, .0), (.34, -.42), (-.02, -.86), (-.5, -1.08), (-.5, -1.08), (-.44, -.7), (-.5, -.5), (-.42, -.2),
               (-.36, .04), (-.36, .04)], 3)
FAN = smooth([(.2, -.055), (.2, -.055), (-.30, -.105), (-.30, -.105), (-.35, .0), (-.28, .085), (-.28, .085), (.2, .055), (.2, .055)], 2)
BEAK = outline([(-.2, -.5), (1, .08), (-.2, .55)])
FOLDED = smooth([(.3, -.12), (.16, .16), (-.2, .26), (-.62, .14), (-.62, .14), (-.3, -.1), (.05, -.24)], 3)
TONGUE = smooth([(-.5, -.5), (.5, -.5), (.45, .4), (0, .75), (-.45, .4)], 2)


def _coat(dice):
    """Coat colour, second colour (bib, paws, muzzle), pattern."""
    coat = vary(dice.pick(COATS), dice, 0.05)
    second = mix(coat, WHITE, dice.between(0.55, 0.95)) if dice.chance(0.6) else mix(coat, WHITE, 0.15)
    return coat, second, dice.pick(("plain", "stripes", "patches"))


# --- cats -------------------------------------------------------------------------------------------------------------------------------
def cat(dice, x, y, height, facing, light, claim):
    """A cat whose feet are at (x, y) pixels, `height` pixels tall when it sits: sitting, walking or lying."""
    f = Figure(x, y, height, facing, light, claim, dice)
    coat, second, pattern = _coat(dice)
    eyes, pose = dice.pick(EYES), dice()
    if pose < 0.45:
        _cat_sits(f, dice, coat, second, pattern, eyes)
    elif pose < 0.85:
        _cat_walks(f, dice, coat, second, pattern, eyes)
    else:
        _cat_lies(f, dice, coat, second, pattern, eyes)
    return f


def _cat_head(f, x, y, r, coat, second, pattern, eyes):
    """Pointed ears, round cheeks, big eyes, whiskers; r half the width of the head."""
    for s in (-1, 1):
        f.part(EAR, coat, at=(x + s * 0.62 * r, y - 0.78 * r), size=(s * 0.42 * r, 0.62 * r), turn=s * 0.12, amount=0.14)
        f.part(EAR, mix(rgb("e8a0a0"), coat, 0.35), at=(x + s * 0.63 * r, y - 0.70 * r), size=(s * 0.24 * r, 0.38 * r), turn=s * 0.12,
               shade=0.4)
    f.part(CAT_HEAD, coat, at=(x, y), size=(r, 0.88 * r), amount=0.18, shade=0.8)
    if pattern == "stripes":
        for dx in (-0.28, 0.0, 0.28):
            f.limb((x + dx * r, y - 0.68 * r), (x + dx * 0.7 * r, y - 0.38 * r), 0.12 * r, 0.06 * r, mix(coat, INK, 0.4), shade=0.3)
        for s in (-1, 1):
            f.limb((x + s * 0.98 * r, y + 0.12 * r), (x + s * 0.66 * r, y + 0.16 * r), 0.10 * r, 0.04 * r, mix(coat, INK, 0.4), shade=0.3)
    elif pattern == "patches":
        f.part(DISC, mix(second, WHITE, 0.3), at=(x, y - 0.25 * r), size=(0.16 * r, 0.5 * r), shade=0.5)
    for s in (-1, 1):
        f.part(DISC, second, at=(x + s * 0.22 * r, y + 0.38 * r), size=(0.32 * r, 0.26 * r), shade=0.4)
        f.part(DOT, eyes, at=(x + s * 0.42 * r, y - 0.06 * r), size=(0.2 * r, 0.22 * r), shade=0.2)
        f.part(DOT, INK, at=(x + s * 0.42 * r, y - 0.06 * r), size=(0.09 * r, 0.2 * r), shade=0)
        f.part(DOT, WHITE, at=(x + (s * 0.42 + 0.06) * r, y - 0.14 * r), size=(0.06 * r, 0.06 * r), shade=0)
        for k in (-1, 1):
            f.limb((x + s * 0.4 * r, y + (0.36 + 0.04 * k) * r), (x + s * 1.35 * r, y + (0.34 + 0.16 * k) * r), 0.05 * r, 0.03 * r, WHITE,
                   opacity=0.75, claim=False, shade=0)
    f.part(BEAK, rgb("d9707a"), at=(x, y + 0.2 * r), size=(0.14 * r, 0.14 * r), turn=1.5708, shade=0)


def _cat_sits(f, dice, coat, second, pattern, eyes):
    lift = dice.between(0.15, 0.6)
    f.shadow(-0.32, 0.42, 0.05)
    f.stroke([(0.14, -0.05), (0.34, -0.04), (0.48, -0.14), (0.46, -0.24 - 0.3 * lift), (0.56, -0.34 - 0.5 * lift)], 0.095, 0.07, mix(coat,
             INK, 0.1), amount=0.18)
    f.part(CAT_SIT, coat, amount=0.18)
    if pattern == "stripes":
        for s in (-1, 1):
            for k in range(3):
                yy = -0.42 + 0.12 * k
                f.limb((s * (0.17 + 0.03 * k), yy), (s * (0.09 + 0.03 * k), yy + 0.03), 0.035, 0.02, mix(coat, INK, 0.4), shade=0.3)
    elif pattern == "patches":
        f.part(DISC, second, at=(0.14, -0.22), size=(0.1, 0.13), amount=0.14)
    f.part(DISC, second, at=(0, -0.40), size=(0.10, 0.17), amount=0.14, shade=0.5)
    for s in (-1, 1):
        f.part(DISC, mix(coat, INK, 0.06), at=(s * 0.20, -0.10), size=(0.09, 0.11), amount=0.14, shade=0.6)
        f.limb((s * 0.065, -0.34), (s * 0.07, -0.05), 0.10, 0.085, mix(coat, WHITE, 0.04), amount=0.14, shade=0.6)
        f.part(DISC, second, at=(s * 0.08, -0.03), size=(0.065, 0.035), shade=0.5)
    _cat_head(f, dice.between(-0.03, 0.05), -0.70, 0.225, coat, second, pattern, eyes)


def _cat_walks(f, dice, coat, second, pattern, eyes):
    f.shadow(-0.45, 0.5, 0.05)
    step, curl, dark = dice.between(-0.08, 0.12), dice.between(-0.12, 0.16), mix(coat, INK, 0.22)
    f.stroke([(-0.36, -0.44), (-0.50, -0.54), (-0.56, -0.72), (-0.54 + curl * 0.5, -0.88), (-0.46 + curl, -1.0)], 0.085, 0.06, coat,
             amount=0.18)
    for hx, sx in ((-0.24, -step), (0.25, step)):
        f.limb((hx, -0.36), (hx + sx, -0.03), 0.105, 0.07, dark, amount=0.14)
        f.part(DISC, mix(second, INK, 0.2), at=(hx + sx + 0.015, -0.025), size=(0.05, 0.03))
    f.part(CAT_BODY, coat, amount=0.18)
    if pattern == "stripes":
        for k in range(5):
            xx = -0.28 + 0.12 * k
            f.limb((xx, -0.495), (xx + 0.02, -0.38), 0.035, 0.02, mix(coat, INK, 0.4), shade=0.3)
    elif pattern == "patches":
        f.part(DISC, second, at=(-0.12, -0.42), size=(0.12, 0.075), amount=0.14, shade=0.6)
    for hx, sx in ((-0.31, step), (0.31, -step)):
        f.limb((hx, -0.38), (hx + sx, -0.03), 0.13, 0.075, coat, amount=0.18, shade=0.6)
        f.part(DISC, second, at=(hx + sx + 0.015, -0.028), size=(0.055, 0.033), shade=0.5)
    _cat_head(f, 0.44, -0.64, 0.20, coat, second, pattern, eyes)


def _cat_lies(f, dice, coat, second, pattern, eyes):
    f.shadow(-0.5, 0.52, 0.05)
    f.part(LOAF, coat, amount=0.18)
    if pattern == "stripes":
        for k in range(4):
            xx = -0.32 + 0.12 * k
            f.limb((xx, -0.385), (xx + 0.02, -0.25), 0.04, 0.02, mix(coat, INK, 0.4), shade=0.3)
    elif pattern == "patches":
        f.part(DISC, second, at=(-0.2, -0.25), size=(0.13, 0.1), amount=0.14, shade=0.6)
    f.part(DISC, mix(coat, INK, 0.08), at=(-0.27, -0.13), size=(0.17, 0.13), amount=0.14, shade=0.7)
    f.stroke([(-0.42, -0.06), (-0.30, -0.02), (-0.12, -0.05), (0.04, -0.03)], 0.08, 0.065, mix(coat, INK, 0.15), amount=0.18)
    f.part(DISC, second, at=(0.33, -0.03), size=(0.085, 0.04), shade=0.5)
    _cat_head(f, 0.27, -0.40, 0.215, coat, second, pattern, eyes)


# --- dogs -------------------------------------------------------------------------------------------------------------------------------
def dog(dice, x, y, height, facing, light, claim):
    """A dog whose feet are at (x, y) pixels, `height` pixels tall: standing, sitting in profile or sitting towards us."""
    f = Figure(x, y, height, facing, light, claim, dice)
    coat, second, pattern = _coat(dice)
    ears = mix(coat, INK, dice.between(0.25, 0.6)) if dice.chance(0.6) else mix(coat, INK, 0.14)
    collar, pose = dice.pick(COLLARS) if dice.chance(0.6) else None, dice()
    if pose < 0.55:
        _dog_stands(f, dice, coat, second, pattern, ears, collar)
    elif pose < 0.78:
        _dog_sits(f, dice, coat, second, pattern, ears, collar)
    else:
        _dog_front(f, dice, coat, second, pattern, ears, collar)
    return f


def _dog_head(f, dice, x, y, r, coat, second, ears):
    """The head in profile: a long muzzle, a black nose, a hanging ear; r the radius of the skull."""
    open_mouth = dice.chance(0.4)
    if open_mouth:
        f.part(TONGUE, rgb("e8788a"), at=(x + 1.05 * r, y + 0.75 * r), size=(0.26 * r, 0.42 * r), turn=-0.2, shade=0.4)
    f.part(MUZZLE, second, at=(x + 0.85 * r, y + 0.28 * r), size=(0.86 * r, 0.72 * r), turn=0.08, amount=0.14, shade=0.7)
    f.part(DISC, coat, at=(x, y), size=(1.02 * r, 0.95 * r), amount=0.14, shade=0.8)
    f.stroke([(x + 0.75 * r, y + 0.58 * r), (x + 1.2 * r, y + 0.56 * r), (x + 1.6 * r, y + 0.4 * r)], 0.08 * r, 0.05 * r, mix(second, INK,
             0.6), shade=0)
    f.part(DISC, INK, at=(x + 1.74 * r, y + 0.12 * r), size=(0.24 * r, 0.2 * r), shade=0.3)
    f.part(DOT, INK, at=(x + 0.52 * r, y - 0.14 * r), size=(0.14 * r, 0.16 * r), shade=0)
    f.part(DOT, WHITE, at=(x + 0.57 * r, y - 0.20 * r), size=(0.05 * r, 0.05 * r), shade=0)
    f.part(FLAP, ears, at=(x - 0.36 * r, y + 0.28 * r), size=(0.52 * r, 0.98 * r), turn=dice.between(0.0, 0.3), amount=0.18)


def _spots(f, dice, second, coat, pattern, spots):
    """Patches on the flank (a dog's stripes are patches too)."""
    if pattern == "plain":
        return
    colour = second if pattern == "patches" else mix(coat, INK, 0.45)
    for x, y, rx, ry in spots:
        f.part(DISC, colour, at=(x, y), size=(rx * dice.between(0.7, 1.1), ry * dice.between(0.7, 1.0)), turn=dice.between(-0.3, 0.3),
               amount=0.14, shade=0.6)


def _dog_stands(f, dice, coat, second, pattern, ears, collar):
    long, legs = dice.between(0.95, 1.2), dice.between(0.78, 1.0)
    down, dark, step = 0.42 * (1 - legs), mix(coat, INK, 0.22), dice.between(-0.07, 0.1)
    wag = dice.between(-0.08, 0.1)
    f.shadow(-0.48 * long, 0.52 * long, 0.055)
    f.stroke([(-0.38 * long, -0.54 + down), (-0.50 * long, -0.66 + down), (-0.56 * long + wag, -0.84 + down)], 0.09, 0.05, coat,
             amount=0.18)
    for hx, sx in ((-0.25, -step), (0.24, step)):
        f.limb((hx * long, -0.42 + down), (hx * long + sx, -0.04), 0.13, 0.085, dark, amount=0.14)
        f.part(DISC, mix(second, INK, 0.25), at=(hx * long + sx + 0.025, -0.03), size=(0.065, 0.035))
    f.part(DOG_BODY, coat, at=(0, down), size=(long, 1.0), amount=0.18)
    _spots(f, dice, second, coat, pattern, ((-0.2 * long, -0.5 + down, 0.12, 0.07), (0.1 * long, -0.46 + down, 0.09, 0.08)))
    for hx, sx in ((-0.33, step), (0.30, -step)):
        f.limb((hx * long, -0.44 + down), (hx * long + sx, -0.04), 0.16, 0.09, coat, amount=0.18, shade=0.6)
        f.part(DISC, second, at=(hx * long + sx + 0.025, -0.033), size=(0.07, 0.038), shade=0.5)
    f.limb((0.30 * long, -0.54 + down), (0.41 * long, -0.76 + down), 0.23, 0.18, coat, amount=0.18, shade=0.6)
    if collar:
        f.limb((0.28 * long, -0.72 + down), (0.46 * long, -0.63 + down), 0.05, 0.05, collar, shade=0.5)
    _dog_head(f, dice, 0.43 * long, -0.82 + down, 0.145, coat, second, ears)


def _dog_sits(f, dice, coat, second, pattern, ears, collar):
    wag = dice.between(-0.1, 0.12)
    f.shadow(-0.42, 0.34, 0.055)
    f.stroke([(-0.26, -0.07), (-0.42, -0.08), (-0.52, -0.18 - wag), (-0.54, -0.28 - wag)], 0.09, 0.05, coat, amount=0.18)
    f.limb((0.14, -0.40), (0.10, -0.04), 0.12, 0.085, mix(coat, INK, 0.22), amount=0.14)
    f.part(DOG_SIT, coat, amount=0.18)
    _spots(f, dice, second, coat, pattern, ((-0.1, -0.34, 0.1, 0.12),))
    f.part(DISC, mix(coat, INK, 0.07), at=(-0.18, -0.14), size=(0.17, 0.14), amount=0.18, shade=0.8)
    f.part(DISC, second, at=(-0.06, -0.035), size=(0.11, 0.038), shade=0.5)
    f.limb((0.18, -0.48), (0.20, -0.05), 0.13, 0.09, coat, amount=0.18, shade=0.6)
    f.part(DISC, second, at=(0.225, -0.035), size=(0.075, 0.038), shade=0.5)
    if collar:
        f.limb((0.00, -0.66), (0.20, -0.60), 0.05, 0.05, collar, shade=0.5)
    _dog_head(f, dice, 0.10, -0.80, 0.16, coat, second, ears)


def _dog_front(f, dice, coat, second, pattern, ears, collar):
    """Sitting towards us: the ears hang down at both sides of a broad muzzle."""
    f.shadow(-0.34, 0.34, 0.055)
    f.stroke([(0.18, -0.06), (0.36, -0.10), (0.44, -0.24)], 0.08, 0.05, mix(coat, INK, 0.12), amount=0.18)
    f.part(CAT_SIT, coat, size=(1.12, 1.0), amount=0.18)
    f.part(DISC, second, at=(0, -0.40), size=(0.13, 0.20), amount=0.14, shade=0.5)
    for s in (-1, 1):
        f.part(DISC, mix(coat, INK, 0.08), at=(s * 0.23, -0.10), size=(0.10, 0.11), amount=0.14, shade=0.6)
        f.limb((s * 0.085, -0.38), (s * 0.095, -0.05), 0.12, 0.10, mix(coat, WHITE, 0.04), amount=0.14, shade=0.6)
        f.part(DISC, second, at=(s * 0.105, -0.035), size=(0.08, 0.04), shade=0.5)
    if collar:
        f.part(DISC, collar, at=(0, -0.585), size=(0.15, 0.045), shade=0.5)
    r, y = 0.19, -0.76
    f.part(DISC, coat, at=(0, y), size=(r, 1.08 * r), amount=0.14, shade=0.8)
    if pattern == "patches":
        f.part(DISC, second, at=(0, y - 0.3 * r), size=(0.22 * r, 0.72 * r), shade=0.4)
    if dice.chance(0.5):
        f.part(TONGUE, rgb("e8788a"), at=(0, y + 1.02 * r), size=(0.28 * r, 0.42 * r), shade=0.3)
    f.part(DISC, second, at=(0, y + 0.48 * r), size=(0.56 * r, 0.5 * r), amount=0.10, shade=0.6)
    f.part(DISC, INK, at=(0, y + 0.22 * r), size=(0.24 * r, 0.18 * r), shade=0.3)
    f.limb((0, y + 0.35 * r), (0, y + 0.68 * r), 0.06 * r, 0.06 * r, mix(second, INK, 0.65), shade=0)
    for s in (-1, 1):
        f.part(DOT, INK, at=(s * 0.42 * r, y - 0.14 * r), size=(0.13 * r, 0.16 * r), shade=0)
        f.part(DOT, WHITE, at=(s * 0.42 * r + 0.04 * r, y - 0.2 * r), size=(0.05 * r, 0.05 * r), shade=0)
        f.part(FLAP, ears, at=(s * 1.0 * r, y + 0.10 * r), size=(-s * 0.5 * r, 0.98 * r), turn=-s * dice.between(0.1, 0.3), amount=0.18)


# --- birds ------------------------------------------------------------------------------------------------------------------------------
FEATHERS = rgb("d9534f 4f8fd0 f0c04a 6f7480 f0ede6 3a3a44 5aa469 a8734a e88a4a")


def _plumage(dice):
    body = vary(dice.pick(FEATHERS), dice, 0.05)
    wing = mix(body, INK, dice.between(0.2, 0.4)) if dice.chance(0.6) else vary(dice.pick(FEATHERS), dice)
    return body, wing, mix(body, WHITE, dice.between(0.35, 0.8)), dice.pick(rgb("f2a03d e8c34a e0703a"))


def flying_bird(dice, x, y, length, facing, light, claim):
    """A bird in the air around (x, y) pixels, `length` pixels from tail to beak."""
    f = Figure(x, y, length, facing, light, claim, dice)
    body, wing, belly, beak = _plumage(dice)
    lift, sweep = dice.between(0.55, 0.95), dice.between(-0.15, 0.35)
    stroke = -0.8 if dice.chance(0.35) else 1.0                                  # the near wing beats down while the far one is still up
    f.part(WING, mix(wing, INK, 0.28), at=(0.16, -0.05), size=(0.36, 0.60 * lift), turn=sweep + 0.35, amount=0.10)
    f.part(FAN, wing, at=(-0.46, 0.0), size=(0.75, 0.9), amount=0.10)
    f.part(BEAK, beak, at=(0.44, -0.035), size=(0.14, 0.07), shade=0.4)
    f.part(BIRD_BODY, body, amount=0.10)
    f.part(DISC, belly, at=(0.08, 0.065), size=(0.24, 0.06), shade=0.4)
    f.part(WING, wing, at=(0.04, -0.02), size=(0.40, 0.66 * lift * stroke), turn=stroke * (sweep * 0.5 - 0.1), amount=0.10)
    f.part(DOT, WHITE, at=(0.345, -0.06), size=(0.038, 0.038), shade=0)
    f.part(DOT, INK, at=(0.35, -0.06), size=(0.026, 0.026), shade=0)
    return f


def standing_bird(dice, x, y, height, facing, light, claim):
    """A bird that stands at (x, y) pixels, `height` pixels tall."""
    f = Figure(x, y, height, facing, light, claim, dice)
    body, wing, belly, beak = _plumage(dice)
    f.shadow(-0.25, 0.3, 0.05)
    for dx in (-0.03, 0.1):
        f.limb((dx, -0.26), (dx + 0.02, -0.02), 0.035, 0.03, mix(beak, INK, 0.25), shade=0.3)
        f.limb((dx - 0.03, -0.015), (dx + 0.1, -0.015), 0.03, 0.03, mix(beak, INK, 0.25), shade=0.3)
    f.part(FAN, wing, at=(-0.40, -0.40), size=(0.8, 0.75), turn=-0.35, amount=0.10)
    f.part(BEAK, beak, at=(0.47, -0.80), size=(0.17, 0.085), shade=0.4)
    f.part(BIRD_STAND, body, amount=0.10)
    f.part(DISC, body, at=(0.29, -0.78), size=(0.2, 0.195), amount=0.10, shade=0.8)
    f.part(DISC, belly, at=(0.22, -0.44), size=(0.12, 0.17), turn=0.3, shade=0.4)
    f.part(FOLDED, wing, at=(-0.02, -0.46), size=(0.5, 0.62), turn=-0.25, amount=0.10)
    f.part(DOT, WHITE, at=(0.36, -0.82), size=(0.05, 0.05), shade=0)
    f.part(DOT, INK, at=(0.37, -0.82), size=(0.034, 0.034), shade=0)
    return f

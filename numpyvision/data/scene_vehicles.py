"""Cars (from the side and from the front) and boats (under sail and under steam)."""
from numpyvision.data import scene_raster as raster
from numpyvision.data.scene_shapes import BOX, DISC, DOT, INK, ROUND_BOX, WHITE, Figure, mix, outline, rgb, smooth, vary

PAINTS = rgb("d94f45 3f7fbf f2c14e 5aa469 f1ede1 3d4653 e88a4a 8fb8d0 9a5fa0 a8b0b5 2a8f85")
GLASS = rgb("cfe8ef a9cfdc bcdde6")

SEDAN = smooth([(-.49, -.12), (-.5, -.22), (-.47, -.30), (-.47, -.30), (-.34, -.32), (-.22, -.45), (-.06, -.48), (.10, -.46), (.24, -.33),
                (.24, -.33), (.42, -.29), (.49, -.22), (.5, -.12), (.5, -.12), (.44, -.075), (-.44, -.075)], 3)
HATCH = smooth([(-.46, -.12), (-.47, -.30), (-.42, -.47), (-.34, -.54), (-.1, -.56), (.08, -.53), (.24, -.36), (.24, -.36), (.42, -.31),
                (.48, -.22), (.48, -.12), (.42, -.075), (-.42, -.075)], 3)
VAN = smooth([(-.49, -.12), (-.5, -.50), (-.44, -.58), (-.2, -.60), (.18, -.59), (.32, -.40), (.32, -.40), (.46, -.32), (.49, -.22),
              (.49, -.12), (.43, -.075), (-.43, -.075)], 3)
SEDAN_WINDOWS = (outline([(-.285, -.33), (-.20, -.425), (-.075, -.445), (-.075, -.33)]),
                 outline([(-.045, -.33), (-.045, -.447), (.09, -.43), (.19, -.33)]))
HATCH_WINDOWS = (outline([(-.385, -.34), (-.36, -.45), (-.31, -.50), (-.11, -.515), (-.11, -.34)]),
                 outline([(-.075, -.34), (-.075, -.515), (.06, -.49), (.18, -.34)]))
VAN_WINDOWS = (outline([(-.43, -.38), (-.43, -.53), (-.25, -.54), (-.25, -.38)]),
               outline([(-.20, -.38), (-.20, -.545), (-.02, -.545), (-.02, -.38)]),
               outline([(.03, -.38), (.03, -.545), (.15, -.54), (.26, -.38)]))
BODIES = ((SEDAN, SEDAN_WINDOWS, (-.29, .30), .095), (HATCH, HATCH_WINDOWS, (-.28, .29), .105), (VAN, VAN_WINDOWS, (-.30, .31), .10))
CAR_FRONT = smooth([(-.5, -.16), (-.5, -.40), (-.42, -.50), (-.33, -.74), (-.26, -.80), (.26, -.80), (.33, -.74), (.42, -.50), (.5, -.40),
                    (.5, -.16), (.46, -.12), (-.46, -.12)], 3)
WINDSCREEN = smooth([(-.34, -.50), (-.34, -.50), (-.27, -.72), (-.27, -.72), (.27, -.72), (.27, -.72), (.34, -.50), (.34, -.50)], 2)

HULL = smooth([(-.46, -.2), (-.46, -.2), (.0, -.165), (.52, -.235), (.52, -.235), (.40, -.06), (.30, .02), (.30, .02), (-.34, .02),
               (-.34, .02), (-.42, -.06)], 3)
STRIPE = outline([(-.455, -.19), (0, -.155), (.51, -.225), (.47, -.16), (0, -.10), (-.44, -.135)])
MAIN = smooth([(-.02, -.97), (-.02, -.97), (-.02, -.27), (-.02, -.27), (-.40, -.25), (-.40, -.25), (-.26, -.58)], 4)
JIB = smooth([(.05, -.90), (.05, -.90), (.26, -.55), (.44, -.27), (.44, -.27), (.05, -.28), (.05, -.28)], 4)
FLAG = smooth([(0, -.5), (0, -.5), (-.6, -.3), (-1.2, -.45), (-1.2, -.45), (-1.2, .35), (-1.2, .35), (-.6, .5), (0, .3), (0, .3)], 3)
WAVE = smooth([(-1, .1), (-.6, -.5), (-.2, .0), (.2, -.45), (.6, 0), (1.0, -.3), (1.1, .3), (0, .55), (-1, .4)], 2)


def car(dice, x, y, length, facing, light, claim):
    """A car that stands at (x, y) pixels, `length` pixels long: from the side, or (one in five) from the front."""
    colour, glass = vary(dice.pick(PAINTS), dice, 0.05), dice.pick(GLASS)
    if dice.chance(0.2):
        f = Figure(x, y, 0.62 * length, facing, light, claim, dice)
        _car_front(f, dice, colour, glass)
    else:
        f = Figure(x, y, length, facing, light, claim, dice)
        _car_side(f, dice, colour, glass)
    return f


def _car_side(f, dice, colour, glass):
    body, windows, wheels, radius = dice.pick(BODIES)                           # outline, windows, where the wheels are, their radius
    f.shadow(-0.5, 0.5, 0.06, -0.005, 0.65)
    f.part(body, colour, shade=1.2)
    f.part(BOX, mix(colour, INK, 0.35), at=(0, -0.105), size=(0.43, 0.022), shade=0.4)
    for window in windows:
        f.part(window, glass, shade=1.2)
        f.limb((window.cx - 0.05, -0.40), (window.cx + 0.0, -0.44), 0.018, 0.018, WHITE, opacity=0.6, shade=0)
    door = windows[-1].points[0, 0] - 0.016
    f.limb((door, -0.33), (door - 0.004, -0.13), 0.012, 0.012, mix(colour, INK, 0.45), shade=0)
    f.limb((door - 0.09, -0.275), (door - 0.04, -0.275), 0.018, 0.018, mix(colour, INK, 0.5), shade=0)
    if dice.chance(0.3):
        f.part(BOX, WHITE, at=(0, -0.215), size=(0.40, 0.018), shade=0.3)
    f.part(DISC, rgb("fff0b0"), at=(0.455, -0.225), size=(0.032, 0.035), shade=0.3)
    f.part(DISC, rgb("c8322e"), at=(-0.463, -0.25), size=(0.022, 0.035), shade=0.3)
    for wx in wheels:
        f.part(DISC, mix(colour, INK, 0.6), at=(wx, -radius * 1.02), size=(radius * 1.18, radius * 1.18), shade=0.2)
        f.part(DISC, rgb("2b2b30"), at=(wx, -radius), size=(radius, radius), shade=0.5)
        f.part(DISC, rgb("c4c7cb"), at=(wx, -radius), size=(radius * 0.55, radius * 0.55), shade=0.8)
        f.part(DOT, rgb("6a6d72"), at=(wx, -radius), size=(radius * 0.18, radius * 0.18), shade=0)


def _car_front(f, dice, colour, glass):
    f.shadow(-0.52, 0.52, 0.09, -0.01, 0.65)
    for s in (-1, 1):
        f.part(ROUND_BOX, rgb("2b2b30"), at=(s * 0.37, -0.10), size=(0.095, 0.105), shade=0.5)
        f.part(DISC, mix(colour, INK, 0.2), at=(s * 0.50, -0.50), size=(0.07, 0.045), shade=0.5)
    f.part(CAR_FRONT, colour, shade=1.2)
    f.part(WINDSCREEN, glass, shade=1.0)
    f.limb((-0.16, -0.54), (-0.06, -0.68), 0.03, 0.03, WHITE, opacity=0.6, shade=0)
    f.part(ROUND_BOX, rgb("33363c"), at=(0, -0.30), size=(0.20, 0.065), shade=0.3)
    f.part(BOX, rgb("9aa0a6"), at=(0, -0.30), size=(0.18, 0.010), shade=0)
    f.part(ROUND_BOX, mix(colour, INK, 0.35), at=(0, -0.165), size=(0.46, 0.045), shade=0.4)
    f.part(BOX, WHITE, at=(0, -0.17), size=(0.11, 0.033), shade=0)
    for s in (-1, 1):
        f.part(DISC, rgb("fff3c0"), at=(s * 0.345, -0.32), size=(0.085, 0.07), shade=0.5)
        f.part(DOT, WHITE, at=(s * 0.345 - 0.02, -0.34), size=(0.025, 0.022), shade=0)


def boat(dice, x, y, height, facing, light, claim):
    """A boat that floats at (x, y) pixels; a sailing boat is `height` pixels tall, a steamer less."""
    f = Figure(x, y, height, facing, light, claim, dice)
    hull = vary(dice.pick(PAINTS), dice, 0.05)
    f.shadow(-0.52, 0.55, 0.085, 0.03, 0.5)
    if dice.chance(0.6):
        _sails(f, dice)
    else:
        _steamer(f, dice)
    f.part(HULL, hull, shade=1.1)
    f.part(STRIPE, mix(hull, WHITE, 0.75) if dice.chance(0.6) else mix(hull, INK, 0.35), shade=0.4)
    f.part(WAVE, WHITE, at=(0.34, 0.0), size=(0.14, 0.05), opacity=0.75, claim=False, shade=0)
    f.part(WAVE, WHITE, at=(-0.32, 0.01), size=(0.12, 0.04), opacity=0.6, claim=False, shade=0)
    return f


def _sails(f, dice):
    sail = mix(vary(dice.pick(PAINTS), dice), WHITE, 0.1) if dice.chance(0.35) else rgb("f8f3e4")
    f.limb((0.015, -0.15), (0.015, -1.0), 0.034, 0.024, rgb("8a6242"), shade=0.5)
    f.part(FLAG, dice.pick(PAINTS), at=(0.01, -0.985), size=(0.10, 0.06), shade=0.4)
    f.part(MAIN, sail, kind=raster.CLOTH, amount=0.03, shade=0.9)
    if dice.chance(0.75):
        f.part(JIB, mix(sail, WHITE, 0.3) if dice.chance(0.5) else dice.pick(PAINTS), kind=raster.CLOTH, amount=0.03, shade=0.9)
    f.limb((-0.40, -0.235), (0.02, -0.25), 0.022, 0.022, rgb("8a6242"), shade=0.5)


def _steamer(f, dice):
    cabin, funnel = rgb("f4efe2"), dice.pick(PAINTS)
    for k, (dx, dy, r) in enumerate(((-0.22, -0.80, 0.06), (-0.34, -0.88, 0.085))):
        f.part(DISC, WHITE, at=(dx, dy), size=(r, r * 0.85), opacity=0.55 - 0.15 * k, claim=False, shade=0.6)
    f.part(BOX, funnel, at=(-0.15, -0.56), size=(0.065, 0.15), shade=1.0)
    f.part(BOX, INK, at=(-0.15, -0.69), size=(0.068, 0.028), shade=0.3)
    f.part(ROUND_BOX, cabin, at=(-0.02, -0.33), size=(0.28, 0.15), shade=0.8)
    f.part(ROUND_BOX, mix(cabin, funnel, 0.5), at=(-0.02, -0.475), size=(0.31, 0.03), shade=0.4)
    for k in range(3):
        f.part(DISC, rgb("7fb4c8"), at=(-0.18 + 0.16 * k, -0.335), size=(0.052, 0.055), shade=1.0)

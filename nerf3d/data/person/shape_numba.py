"""The person's shape as signed distances, and its tracing: scalar code, compiled, since a film asks it a billion times.

The primitives and the soft union are Quilez' ("3D SDFs"), as in `data.world.distance`; the tracing is Hart's (1996). A point
p is (x, y, z), in the head's frame for the head and in the torso's for the torso; `f` are the `Features`.
"""

import math

import numpy as np
from numba import njit

from nerf3d.data.person import anatomy as a

SKIN, EYE, TEETH, TONGUE, HAIR, NECK, CLOTHES = range(7)
"""The parts. Up to HAIR they are the head's."""
HEAD_RADIUS = 0.5
"""Of a ball around the head's origin that holds all of the head."""
FAR = 9.0
STEPS, CLOSE, CAUTION = 80, 6e-4, 0.85
"""At most so many steps, ended so close to the surface, each of this share of the distance (some are only bounds)."""

CURVATURE, MOUTH_Z, MOUTH_Y = a.MOUTH_CURVATURE, a.MOUTH[2], a.MOUTH[1]
EYE_X, EYE_Y, EYE_Z = a.EYE


@njit(cache=True, fastmath=True)
def ball(x, y, z, radius):
    return math.sqrt(x * x + y * y + z * z) - radius


@njit(cache=True, fastmath=True)
def ellipsoid(x, y, z, rx, ry, rz):
    u, v, w = x / rx, y / ry, z / rz
    k = math.sqrt(u * u + v * v + w * w)
    slope = math.sqrt((u / rx) ** 2 + (v / ry) ** 2 + (w / rz) ** 2)
    return k * (k - 1) / max(slope, 1e-6)


@njit(cache=True, fastmath=True)
def tilted(x, y, z, rx, ry, rz, sine):
    """An ellipsoid whose end at positive x is raised by an angle about y."""
    cosine = math.sqrt(1 - sine * sine)
    return ellipsoid(cosine * x + sine * z, y, cosine * z - sine * x, rx, ry, rz)


@njit(cache=True, fastmath=True)
def rod(x, y, z, ax, ay, az, bx, by, bz, radius):
    ux, uy, uz = bx - ax, by - ay, bz - az
    px, py, pz = x - ax, y - ay, z - az
    share = min(max((px * ux + py * uy + pz * uz) / (ux * ux + uy * uy + uz * uz), 0.0), 1.0)
    return ball(px - share * ux, py - share * uy, pz - share * uz, radius)


@njit(cache=True, fastmath=True)
def melted(one, other, softness):
    near = max(1 - abs(one - other) / softness, 0.0)
    return min(one, other) - near * near * softness / 4


@njit(cache=True, fastmath=True)
def hollowed(shape, hole, softness):
    """A hole with a rounded edge."""
    return -melted(-shape, hole, softness)


@njit(cache=True, fastmath=True)
def along_mouth(x, y, z, f):
    """The mouth's own coordinates: the height of the arch (1 in the middle, 0 in the corners), how far beyond the corners,
    behind the lips' surface and above the line of the closed lips.
    """
    across = abs(x)
    share = min(across / f.half_width, 1.0)
    back = y - f.front - CURVATURE * x * x
    return 1 - share * share, max(across - f.half_width, 0.0), back, z - MOUTH_Z - f.smile * share * share


@njit(cache=True, fastmath=True)
def lips(x, y, z, f):
    """Two sausages that follow the edges of the opening."""
    arch, beyond, back, above = along_mouth(x, y, z, f)
    back -= 0.003
    across = beyond * beyond + back * back
    top, bottom = a.UPPER_LIP * (0.25 + 0.75 * arch), a.LOWER_LIP * (0.25 + 0.75 * arch)
    over, under = above - f.above * arch - 0.9 * top, -above - f.below * arch - 0.9 * bottom
    return 0.75 * min(math.sqrt(over * over + across) - top, math.sqrt(under * under + across) - bottom)


@njit(cache=True, fastmath=True)
def hole(x, y, z, f):
    """The mouth's cavity: the opening between the lips, drawn back into the head."""
    arch, beyond, back, above = along_mouth(x, y, z, f)
    gap = max(above - f.above * arch, -f.below * arch - above)
    return max(0.75 * gap + beyond, back - 0.12)


@njit(cache=True, fastmath=True)
def slit(x, y, z, f):
    """Where the lids leave an eye open: between two parabolas, from the ball's middle forwards. x counts outwards."""
    across = min(max((x - EYE_X) / a.EYE_HALF_WIDTH, -1.0), 1.0)
    beyond = abs(x - EYE_X - across * a.EYE_HALF_WIDTH)
    height = z - EYE_Z - a.EYE_TILT * (x - EYE_X)
    arch = 1 - across * across
    gap = max(height - f.upper_lid * arch, f.lower_lid * arch - height)
    return max(0.75 * gap + beyond, y - EYE_Y - 0.01)


@njit(cache=True, fastmath=True)
def skin(x, y, z, f):
    """The skull, soft; nose, ears, lids and lips melted onto it; holes for eyes and mouth."""
    side = abs(x)
    d = ellipsoid(x, y - 0.06, z - 0.09, 0.232, 0.275, 0.255)
    d = melted(d, ellipsoid(x, y + 0.035, z + 0.06, 0.194, 0.2, 0.24), 0.09)
    d = melted(d, ellipsoid(x, y + 0.085, z + 0.232 + f.drop, 0.14, 0.12, 0.1), 0.09)
    d = melted(d, ball(x, y + 0.178, z + 0.29 + f.drop, 0.05), 0.09)
    d = melted(d, ball(side - 0.1, y + 0.118, z + 0.095, 0.085), 0.09)
    if side > 0.16:
        ear = tilted(y - 0.05, side - 0.245, z + 0.03, 0.05, 0.03, 0.075, 0.2)
        ear = hollowed(ear, ellipsoid(side - 0.272, y - 0.035, z + 0.02, 0.03, 0.03, 0.05), 0.02)
        d = melted(d, ear, 0.03)
    if (
        y < -0.05 and d > 0.3
    ):  # farther away than `trace` asks around a surface: no feature stands out by more than this
        d -= 0.1
    elif y < -0.05:
        nose = rod(x, y, z, 0.0, -0.215, 0.03, 0.0, -0.288, -0.096, 0.021)
        nose = melted(nose, ball(x, y + 0.284, z + 0.099, 0.033), 0.03)
        nose = melted(nose, ball(side - 0.03, y + 0.257, z + 0.11, 0.021), 0.03)
        d = melted(d, nose, 0.035)
        d = melted(d, ball(side - EYE_X, y - EYE_Y, z - EYE_Z, a.LID_RADIUS), 0.025)
        d = melted(d, lips(x, y, z, f), 0.014)
        d = max(d, -slit(side, y, z, f), -hole(x, y, z, f))
    return d


@njit(cache=True, fastmath=True)
def row_of_teeth(x, y, z, low, high, front):
    """Teeth stand on a horseshoe: a cylinder's wall between two heights."""
    wall = abs(math.sqrt(x * x + (y - front - 0.075) ** 2) - 0.07) - 0.007
    return max(wall, abs(z - (low + high) / 2) - (high - low) / 2, y - front - 0.075)


@njit(cache=True, fastmath=True)
def teeth(x, y, z, f):
    floor = MOUTH_Z - f.below
    upper = row_of_teeth(x, y, z, MOUTH_Z + 0.003, MOUTH_Z + 0.05, MOUTH_Y + 0.022)
    return min(upper, row_of_teeth(x, y, z, floor - 0.05, floor + 0.009, MOUTH_Y + 0.028))


@njit(cache=True, fastmath=True)
def tongue(x, y, z, f):
    return ellipsoid(x, y - MOUTH_Y - 0.11, z - MOUTH_Z + f.below + 0.002, 0.05, 0.07, 0.024)


@njit(cache=True, fastmath=True)
def hair(x, y, z):
    """A cap about the skull that leaves the face free, with locks and a fringe swept to one side."""
    d = ellipsoid(x, y - 0.07, z - 0.11, 0.262, 0.298, 0.288)
    if d < 0.05:
        turn = math.atan2(x - 0.07, y - 0.05)
        d += 0.003 * math.sin(23 * turn + 9 * z) + 0.002 * math.sin(41 * turn)
    d = hollowed(d, ellipsoid(x, y + 0.24, z + 0.065, 0.207, 0.3, 0.235), 0.03)
    d = hollowed(d, max(y - 0.07, z + 0.075), 0.03)
    d = max(d, -0.2 - z)
    d = melted(d, tilted(x + 0.045, y + 0.16, z - 0.225, 0.178, 0.078, 0.07, 0.2), 0.06)
    return 0.85 * melted(d, tilted(x - 0.15, y + 0.125, z - 0.2, 0.1, 0.075, 0.062, -0.55), 0.06)


@njit(cache=True, fastmath=True)
def eyes(x, y, z):
    return ball(abs(x) - EYE_X, y - EYE_Y, z - EYE_Z, a.EYE_RADIUS)


@njit(cache=True, fastmath=True)
def head(x, y, z, f):
    """The distance to the head; far away (more than `trace` asks around a surface), that to the ball around it."""
    away = ball(x, y, z, HEAD_RADIUS)
    if away > 0.2:
        return away
    d = skin(x, y, z, f)
    if z > -0.25:
        d = min(d, hair(x, y, z))
    if y < -0.05 and d < 0.3:
        d = min(d, eyes(x, y, z), teeth(x, y, z, f), tongue(x, y, z, f))
    return d


@njit(cache=True, fastmath=True)
def neck(x, y, z):
    return melted(rod(x, y, z, 0.0, 0.06, -0.1, 0.0, 0.085, -0.62, 0.132), ball(x, y - 0.09, z + 0.62, 0.17), 0.08)


@njit(cache=True, fastmath=True)
def clothes(x, y, z):
    side = abs(x)
    d = melted(ellipsoid(x, y - 0.1, z + 0.9, 0.36, 0.24, 0.42), ball(side - 0.38, y - 0.11, z + 0.72, 0.17), 0.2)
    d = melted(d, rod(side, y, z, 0.08, 0.1, -0.57, 0.34, 0.11, -0.65, 0.09), 0.2)
    d = melted(d, ellipsoid(x, y - 0.07, z + 0.68, 0.24, 0.2, 0.2), 0.1)
    tip = z + 0.475 + 0.2 * (y - 0.07)
    collar = math.sqrt((math.sqrt(x * x + (y - 0.07) ** 2) - 0.152) ** 2 + tip * tip) - 0.034
    return melted(d, 0.95 * collar, 0.05)


@njit(cache=True, fastmath=True)
def torso(x, y, z):
    if z > 0.25:  # far above the neck's upper end
        return z - 0.04
    return min(neck(x, y, z), clothes(x, y, z))


@njit(cache=True, fastmath=True)
def local(p, pose):
    """A point of the world in the frame whose world_from_frame is `pose`."""
    x, y, z = p[0] - pose[0, 3], p[1] - pose[1, 3], p[2] - pose[2, 3]
    return (
        pose[0, 0] * x + pose[1, 0] * y + pose[2, 0] * z,
        pose[0, 1] * x + pose[1, 1] * y + pose[2, 1] * z,
        pose[0, 2] * x + pose[1, 2] * y + pose[2, 2] * z,
    )


@njit(cache=True, fastmath=True)
def scene(p, f, head_pose, torso_pose):
    x, y, z = local(p, head_pose)
    u, v, w = local(p, torso_pose)
    return min(head(x, y, z, f), torso(u, v, w))


@njit(cache=True, fastmath=True)
def part_at(p, f, head_pose, torso_pose):
    x, y, z = local(p, head_pose)
    u, v, w = local(p, torso_pose)
    best, part = skin(x, y, z, f), SKIN
    others = (eyes(x, y, z), teeth(x, y, z, f), tongue(x, y, z, f), hair(x, y, z), neck(u, v, w), clothes(u, v, w))
    for i in range(6):
        if others[i] < best:
            best, part = others[i], i + 1
    return part


@njit(cache=True, fastmath=True)
def trace(origin, direction, start, f, head_pose, torso_pose, part, depth, normal, openness):
    """Each ray's first surface, from the distance `start` on: its part (-1: none), distance, normal, and how free of
    neighbours it is (Evans 2006: distances along the normal against how far one went). The last four are written.
    """
    p, q = np.empty(3), np.empty(3)
    for i in range(len(direction)):
        t, hit, gap = start[i], False, 1.0
        for _ in range(STEPS):
            for k in range(3):
                p[k] = origin[k] + t * direction[i, k]
            gap = scene(p, f, head_pose, torso_pose)
            if gap < CLOSE:
                hit = True
                break
            t += CAUTION * gap
            if p[1] > 0.6 or t > FAR:
                break
        part[i], depth[i] = -1, FAR
        hit = hit or gap < 4 * CLOSE  # out of steps, along an edge
        if not hit:
            continue
        part[i], depth[i] = part_at(p, f, head_pose, torso_pose), t
        n0, n1, n2 = 0.0, 0.0, 0.0
        for s0, s1, s2 in ((1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1)):
            q[0], q[1], q[2] = p[0] + 0.0025 * s0, p[1] + 0.0025 * s1, p[2] + 0.0025 * s2
            gap = scene(q, f, head_pose, torso_pose)
            n0, n1, n2 = n0 + s0 * gap, n1 + s1 * gap, n2 + s2 * gap
        length = math.sqrt(n0 * n0 + n1 * n1 + n2 * n2) + 1e-12
        normal[i, 0], normal[i, 1], normal[i, 2] = n0 / length, n1 / length, n2 / length
        free = 1.0
        for step, weight in ((0.03, 0.35), (0.08, 0.35), (0.18, 0.3)):
            for k in range(3):
                q[k] = p[k] + step * normal[i, k]
            free -= weight * min(max(1 - scene(q, f, head_pose, torso_pose) / step, 0.0), 1.0)
        openness[i] = free


@njit(cache=True, fastmath=True)
def marks(points, f, found):
    """For points of the head: the distances to the lips, to the slit between the lids and to the mouth's opening."""
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        found[i, 0], found[i, 1], found[i, 2] = lips(x, y, z, f), slit(abs(x), y, z, f), hole(x, y, z, f)


@njit(cache=True, fastmath=True)
def fronts(x, z, f, y):
    """Where lines along +y meet the skin, eyes and teeth left out: y is written. Lines that miss end at y = 0."""
    for i in range(len(x)):
        y[i] = -0.6
        for _ in range(STEPS):
            gap = skin(x[i], y[i], z[i], f)
            if gap < 1e-5 or y[i] >= 0:
                break
            y[i] += CAUTION * gap
        y[i] = min(y[i], 0.0)

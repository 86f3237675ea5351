"""The least that each operation has to do: bytes, gathers and floating-point operations, by plain formulas.

Counted as if it were done in the best way there is: every input read once and every output written once in each pass, what
lies between kept in registers. A way that needs less would need another algorithm. Numbers are single precision, 4 bytes;
indices of rows and rays have 8. A `both` is forward and backward together; its gradients arrive from memory as well.

What runs in vector units (interpolation, exponentials) is counted at the rate of matrix products too. That rate is the
highest there is, so the limit stays one. Powers, roots and exponentials count as one operation each.
"""

from dataclasses import dataclass

from nerf3d.kernels.hash_grid import GridLayout

FLOAT, INDEX = 4, 8


@dataclass(frozen=True)
class Cost:
    """`gathers` are rows fetched from places that cannot be foreseen, in a table of `table` = (rows, floats a row)."""

    bytes: float
    operations: float = 0.0
    gathers: float = 0.0
    table: tuple[int, int] | None = None


def encode(points: int, layout: GridLayout) -> Cost:
    """Reads the positions and the table, writes the features. 8 corners a level: a gather each, 2 multiplications for the
    weight, a multiplication and an addition for each feature; 6 operations a level for the place in the cell.

    The table is one level's: whoever goes level by level has no more to keep at hand.
    """
    corners = 8 * points * layout.levels
    return Cost(
        bytes=FLOAT * (3 * points + points * layout.width + layout.entries * layout.features),
        operations=corners * (2 + 2 * layout.features) + 6 * points * layout.levels,
        gathers=corners,
        table=(2**layout.log2_table_size, layout.features),
    )


def encode_both(points: int, layout: GridLayout) -> Cost:
    """The backward pass goes to the same corners with the same weights and adds to each: as many gathers and operations
    again. It reads positions and gradients, and writes the table's gradient."""
    forward = encode(points, layout)
    return Cost(2 * forward.bytes, 2 * forward.operations, 2 * forward.gathers, forward.table)


def network(points: int, widths: tuple[int, ...]) -> Cost:
    """A multiplication and an addition for each weight and point. Hidden layers never leave the processor."""
    weights = sum(i * o for i, o in zip(widths, widths[1:]))
    return Cost(FLOAT * (points * (widths[0] + widths[-1]) + weights), 2 * points * weights)


def network_both(points: int, widths: tuple[int, ...]) -> Cost:
    """The backward pass has two products a layer, for the gradients of its inputs and of its weights. It reads the inputs,
    the outputs' gradients and the weights, and writes the gradients of inputs and weights."""
    forward = network(points, widths)
    weights = sum(i * o for i, o in zip(widths, widths[1:]))
    backward = FLOAT * (points * (2 * widths[0] + widths[-1]) + 2 * weights)
    return Cost(forward.bytes + backward, 3 * forward.operations)


def composite(samples: int, rays: int, channels: int) -> Cost:
    """Reads density, start, end and color of a sample and each ray's offset; writes a weight a sample, and color, opacity
    and distance a ray. 8 operations for the weight (an exponential among them), 2 for each of the sums."""
    read = FLOAT * samples * (3 + channels) + INDEX * (rays + 1)
    written = FLOAT * (samples + rays * (channels + 2))
    return Cost(read + written, samples * (8 + 2 * (channels + 2)))


def composite_both(samples: int, rays: int, channels: int) -> Cost:
    """The backward pass reads the same and the gradients of color and opacity, a ray each, and writes those of density and
    color; it adds up what lies behind each sample as the forward pass does what lies before, for twice the operations."""
    forward = composite(samples, rays, channels)
    read = FLOAT * (samples * (3 + channels) + rays * (channels + 1)) + INDEX * (rays + 1)
    return Cost(forward.bytes + read + FLOAT * samples * (1 + channels), 3 * forward.operations)


def march(samples: int, rays: int, cells: int) -> Cost:
    """Reads rays (6 numbers, jitter, first and last index) and the grid, a byte a cell; writes middle, start, end and ray of
    a sample, offset and next index of a ray. 18 operations for an interval that is kept: both its ends, its middle and the
    cell of that. Empty cells are crossed for nothing here, and cells are neighbours, so that none counts as a gather."""
    read = rays * (7 * FLOAT + 2 * INDEX) + cells
    return Cost(read + samples * (5 * FLOAT + INDEX) + rays * 2 * INDEX, 18 * samples)


def still_lit(samples: int, rays: int) -> Cost:
    """Reads density, start and end of a sample, offset and depth of a ray; writes a byte a sample and a depth a ray. 5
    operations a sample."""
    return Cost(samples * (3 * FLOAT + 1) + rays * (2 * FLOAT + INDEX), 5 * samples)


def rows(sums: int, each: int, table: tuple[int, int]) -> Cost:
    """Reads an index and a weight for each row of a sum and the table; writes the sums. A gather a row, a multiplication
    and an addition for each of its numbers."""
    height, width = table
    count = sums * each
    return Cost(
        count * (INDEX + FLOAT) + FLOAT * (height * width + sums * width), 2 * count * width, float(count), table
    )


def rows_both(sums: int, each: int, table: tuple[int, int]) -> Cost:
    """The backward pass adds to the same rows: all of it again, with the sums' gradients read and the table's written."""
    forward = rows(sums, each, table)
    return Cost(2 * forward.bytes, 2 * forward.operations, 2 * forward.gathers, table)


def rasterize(vertices: int, faces: int, pixels: int) -> Cost:
    """Reads the vertices and the faces' three indices; writes face, weights and depth of each pixel. 30 operations for a
    face (its area and box), 20 for a pixel of the picture (the weights, in perspective), as if none lay behind another."""
    return Cost(FLOAT * 3 * vertices + 3 * INDEX * faces + pixels * (INDEX + 4 * FLOAT), 30 * faces + 20 * pixels)


def adam(entries: int) -> Cost:
    """Reads parameter, gradient and two moments, writes all but the gradient; 13 operations an entry, if all are touched."""
    return Cost(7 * FLOAT * entries, 13 * entries)

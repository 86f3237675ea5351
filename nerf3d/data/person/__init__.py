"""A person who was never born: drawn by formulas, moved by formulas, and speaking with a synthesiser's voice.

It is what talking heads are measured against: head pose, mouth, lids, landmarks and mattes of every frame are known.
The **head's frame** has its origin between the ears at the height of the eyes; x goes to the right of a picture taken from
the front (the person's left), y to the back, z up. The world's frame is the head's at rest. From chin to crown it is 0.76 of
a unit, and a picture is 1.24 units high.
"""
